"""The inspection of a table: its statistics, its advice, and the lines that it gives."""

import json
import shlex

import numpy as np
import pandas as pd
import pytest
from scipy.stats import iqr, skew
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_wine
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from normlab.commandline.arguments import parsed
from normlab.config import Section, parse_group
from normlab.data import load
from normlab.inspection.tables import describe, report

PASTED = {f.__name__: f for f in (make_column_transformer, make_pipeline, SimpleImputer, OneHotEncoder, StandardScaler)}


@pytest.fixture
def table(here):
    """A table with one column of each kind, and its frame."""
    generator = np.random.default_rng(0)
    income = generator.lognormal(10, 1, 80)
    income[5] = 1e7
    frame = pd.DataFrame(
        {
            "customer_id": [f"c{i * 7}" for i in range(80)],
            "age": generator.normal(40, 12, 80).round(1),
            "income": income,
            "city": generator.choice(["Bern", "Basel"], 80),
            "since": pd.date_range("2020-01-01", periods=80).strftime("%d.%m.%Y"),
            "planet": 3,
            "nothing": np.nan,
            "mixed": ["?" if i == 9 else str(i / 7) for i in range(80)],
            "churn": generator.integers(0, 2, 80),
        }
    )
    frame.loc[[2, 3], "age"] = np.nan
    frame.to_csv(here / "customers.csv", index=False)
    return frame


def test_the_statistics_are_those_of_numpy_and_scipy(look, table):
    status, out, _ = look("customers.csv", "data.target=churn", "--json")
    assert status == 0
    content = json.loads(out)
    rows = {row["column"]: row for row in content["columns"]}
    assert list(rows) == list(table)
    for name in ("age", "income"):
        values, row = table[name].dropna().to_numpy(), rows[name]
        expected = [
            values.mean(),
            values.std(),
            np.median(values),
            iqr(values),
            values.min(),
            values.max(),
            skew(values),
        ]
        keys = ("mean", "std", "median", "iqr", "smallest", "largest", "skew")
        assert [row[key] for key in keys] == pytest.approx(expected)
    low, high = np.quantile(table.income, [0.25, 0.75])
    far = ((table.income < low - 3 * (high - low)) | (table.income > high + 3 * (high - low))).sum()
    assert rows["income"]["outliers"] == far > 0
    assert rows["age"]["missing"] == 2
    assert content["complete_rows"] == 0  # one column has no values
    kinds = {name: row["kind"] for name, row in rows.items()}
    assert kinds == {
        "customer_id": "row names",
        "age": "numbers",
        "income": "numbers",
        "city": "categories",
        "since": "dates",
        "planet": "numbers",
        "nothing": "empty",
        "mixed": "mixed",
        "churn": "numbers",
    }
    assert rows["planet"]["constant"]


def test_the_conditioning_is_that_of_scikit_learns_scalers(look, table):
    content = json.loads(look("customers.csv", "data.target=churn", "--json")[1])
    shown = {row["scheme"]: row["condition_number"] for row in content["conditioning"]}
    age = table.age.fillna(table.age.median())
    city = pd.get_dummies(table.city, dtype=float)
    for name, scale in (("raw", lambda v: v), ("standard", lambda v: (v - v.mean(0)) / v.std(0))):
        columns = scale(np.column_stack([age, table.income, city]))
        x = np.column_stack([columns, np.ones(80)])
        eigenvalues = np.linalg.eigvalsh(x.T @ x / 80)
        # One eigenvalue is 0: the two columns of the city add up to the bias.
        assert shown[name] == pytest.approx(eigenvalues[-1] / eigenvalues[1], rel=1e-4)
    assert set(shown) == {"raw", "standard", "robust", "min_max_dataset", "max_abs", "quantile", "power"}


def test_the_advice_names_what_it_follows_from(look, table):
    status, out, err = look("customers.csv", "data.target=churn")
    assert (status, err) == (0, "")
    for words in (
        "80 rows, 9 columns",
        "differ by a factor of",
        "(income and age)",
        "Far values",
        "Missing values in age (2)",
        "Constant, so without information: planet",
        "Dates are no features: since",
        "Columns that number or name the rows are no features: customer_id",
        "Numbers with texts among them are no features: mixed",
        "Columns without values are no features: nothing",
    ):
        assert words in out
    assert "churn (target)" in out
    assert "follow from others" not in out  # the columns of the city add up to the bias, as those of every category


def test_a_column_that_follows_from_others_is_told():
    generator = np.random.default_rng(0)
    frame = pd.DataFrame(generator.normal(size=(60, 2)), columns=["a", "b"])
    frame["city"] = generator.choice(["Bern", "Basel", "Chur"], 60)
    assert not any("follow from others" in sentence for sentence in report(frame)["advice"])
    told = report(frame.assign(c=frame.a + frame.b))["advice"]
    assert any("the Hessian has rank 5, and would have 6 with a bias if none did" in sentence for sentence in told)


def test_the_lines_are_valid(look, table, here):
    lines = json.loads(look("customers.csv", "data.target=churn", "--json")[1])["lines"]
    transformer = eval(lines["scikit-learn"], dict(PASTED))
    x = transformer.fit_transform(table)
    assert x.shape == (80, 4)
    assert x[:, 1].mean() == pytest.approx(0)
    assert x[:, 1].std() == pytest.approx(1)
    command = lines["normlab"].split(" ", 3)[3]
    given = [word for word in shlex.split(command) if word.startswith("data")]
    data = load(parse_group("data", parsed(given, Section)[1]["data"]))
    assert data.columns == ("age", "income", "city=Basel", "city=Bern")


def test_the_command_to_paste_reads_the_file_as_it_was_read_here(call, look, here):
    """A file of a European spreadsheet, in a folder and with columns that need quotes in the shell and in Hydra."""
    generator = np.random.default_rng(0)
    lines = ["größe;gewicht, kg;2. wert;no;nummer;class one"]
    for row in range(80):
        values = ";".join(f"{value:.3f}".replace(".", ",") for value in generator.normal(size=3))
        lines.append(f"{values};{row % 9};{row};{'ab'[row % 2]}")
    (here / "it's mine").mkdir()
    (here / "it's mine" / "eu.csv").write_text("\n".join(lines), encoding="latin-1")
    keys = [
        "data.delimiter=;",
        "data.decimal=,",
        "data.encoding=latin-1",
        'data.target="class one"',
        'data.drop=["no"]',
    ]
    status, out, err = look("it's mine/eu.csv", *keys, "--json")
    assert status == 0, err
    words = shlex.split(json.loads(out)["lines"]["normlab"])
    assert words[:3] == ["python", "-m", "normlab"]
    status, out, err = call(*words[3:], "trainer.max_epochs=1", "logger=none")
    assert status == 0, err
    assert "left out by data.drop: no, nummer" in out + err
    assert "target 'class one': 2 classes" in out + err


def test_a_bundled_table(look):
    status, out, _ = look("data=wine", "--json")
    assert status == 0
    rows = {row["column"]: row for row in json.loads(out)["columns"]}
    wine = load_wine()
    assert rows["proline"]["mean"] == pytest.approx(wine.data[:, 12].mean())
    assert len(rows) == 13


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no.csv"], "there is no file"),
        (["customers.csv", "data.target=chrun"], "did you mean 'churn'"),
        (["customers.csv", "data.colour=red"], "unknown key"),
        (["customers.csv", "customers.csv"], "one table at a time"),
        (["data=table"], "which table?"),
        (["customers.csv", "data.drop=[weight]"], "data.drop=weight: customers.csv has no such column"),
    ],
)
def test_mistakes_end_in_one_line(look, table, arguments, message):
    status, out, err = look(*arguments)
    assert (status, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_the_documented_form_of_a_delimiter_and_the_one_of_the_message_are_read(look, here):
    (here / "eu.csv").write_text("a;b;y\n" + "".join(f"1,{i};2,{3 * i % 7};{i % 2}\n" for i in range(60)))
    status, _, err = look("eu.csv")
    assert status == 2
    advised = next(word for word in shlex.split(err) if word.startswith("data.delimiter"))
    for arguments in (["data.delimiter=;", "data.decimal=,"], [advised, "data.decimal=,"]):
        status, out, _ = look("eu.csv", "data.target=y", *arguments, "--json")
        assert status == 0
        assert [row["kind"] for row in json.loads(out)["columns"]] == ["numbers"] * 3


def test_a_table_of_text_alone():
    frame = pd.DataFrame({"a": ["x", "y"] * 5, "b": pd.date_range("2020", periods=10)})
    content = report(frame[["b"]])
    assert content["conditioning"] == []
    assert content["lines"]["scikit-learn"] == ""
    assert report(frame)["conditioning"][0]["columns"] == 2


def test_infinite_values_are_counted():
    row = describe(pd.Series([1.0, np.inf, 3.0, -np.inf], name="x"))
    assert (row["infinite"], row["mean"]) == (2, 2.0)
