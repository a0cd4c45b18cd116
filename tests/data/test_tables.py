"""Tables: files as users have them, what is refused, and what is filled, encoded and planted."""

import gzip
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn import datasets
from sklearn.datasets import load_diabetes, load_wine
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OneHotEncoder

from normlab.config import choose
from normlab.data import dataset, load
from normlab.data.splits import Part, fill_missing, split
from normlab.data.tables import plant_outliers, read_frame, row_identifier, table
from normlab.errors import DataError
from normlab.inspection.tables import inspect


@pytest.fixture
def wines(tmp_path):
    """The wine table as a CSV file with its class by name, and the frame."""
    bunch = load_wine(as_frame=True)
    frame = bunch.data.assign(grower=bunch.target.map(dict(enumerate(["Anna", "Bruno", "Carla"]))))
    path = tmp_path / "wines.csv"
    frame.to_csv(path, index=False)
    return path, frame


def written(tmp_path, text, name="t.csv", encoding="utf-8"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
    return path


def rows(*columns, count=12):
    """A CSV of so many rows; a column is its name and a function of the row."""
    names = ",".join(name for name, _ in columns)
    return "\n".join([names, *(",".join(str(f(i)) for _, f in columns) for i in range(count))]) + "\n"


X, Y = ("x", lambda i: i * 0.37 % 1), ("y", lambda i: i % 2)
REFUSED = {
    "no target": (rows(X, Y), {"target": None}, "which column is to be predicted"),
    "unknown target": (rows(X, ("price", Y[1])), {"target": "prise"}, "did you mean 'price'"),
    "unknown dropped column": (rows(X, Y), {"drop": ("z",)}, "data.drop=z: t.csv has no such column; it has x, y"),
    "a column of text": (rows(X, ("note", lambda i: f"wrote {i * i}"), Y), {"most_categories": 5}, "is text with 12"),
    "a text among numbers": (rows(("x", lambda i: "n/a?" if i == 3 else i / 7), Y), {}, "'n/a?' in row 5 is no number"),
    "marks of thousands": (rows(("x", lambda i: f'"{1 + i % 3},000"'), Y), {}, "'1,000' in row 2 is no number"),
    "marks among numbers": (rows(("x", lambda i: f'"{i},000"' if i > 8 else i / 7), Y), {}, "without a mark of thous"),
    "decimal commas": (rows(("x", lambda i: f'"0,{i % 3}"'), Y), {}, "data.decimal=',' reads decimal commas"),
    "infinite": (rows(("x", lambda i: "inf" if i == 4 else i / 7), Y), {}, "'x' is infinite in row 6"),
    "empty file": ("", {}, "the file is empty"),
    "only blank lines": ("\n\n", {}, "no columns"),
    "names only": ("x,y\n", {}, "no rows"),
    "one row": ("x,y\n1,0\n", {}, "one row only"),
    "one class": (rows(X, ("y", lambda i: 1)), {}, "only one class, '1'"),
    "duplicate names": (rows(X, ("x", X[1]), Y), {}, "2 columns are called 'x'"),
    "another delimiter": (rows(X, Y).replace(",", ";"), {}, "data.delimiter=';'"),
    "tabs in .csv": (rows(X, Y).replace(",", "\t"), {}, r"data.delimiter='\t'"),
    "wrong encoding": (rows(("größe", X[1]), Y).encode("latin-1"), {}, "data.encoding=latin-1"),
    "UTF-16": (rows(X, Y).encode("utf-16"), {}, "data.encoding=utf-16"),
    "gzip": (gzip.compress(rows(X, Y).encode()), {}, "t.csv: a file that is compressed by gzip; unpack it, or let"),
    "a pointer": (
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{0:064}\nsize 9\n",
        {},
        "pointer of Git LFS",
    ),
    "unknown encoding": (rows(X, Y), {"encoding": "klingon"}, "no such encoding"),
    "nothing in a column": (rows(X, ("z", lambda i: ""), Y), {"missing": "mean"}, "'z' has no values at all"),
    "missing values": (rows(X, ("z", lambda i: "" if i == 2 else i / 3), Y), {}, "missing values in z (1)"),
    "missing everywhere": (
        rows(("x", lambda i: "" if i % 2 else i / 3), ("z", lambda i: i / 3 if i % 2 else ""), Y),
        {"missing": "drop"},
        "leaves no row",
    ),
    "dates": (rows(X, ("day", lambda i: f"2024-01-{i + 1:02}"), Y), {}, "'day' holds dates"),
    "dates with dots": (rows(X, ("day", lambda i: f"{i + 1}.3.2024 12:00"), Y), {}, "'day' holds dates"),
    "numbers of rows": (rows(("case", lambda i: 100 + i), X, Y), {}, "'case' numbers or names the rows"),
    "names of rows": (rows(("patient_id", lambda i: f"p{i * i}"), X, Y), {}, "data.keep='[patient_id]'"),
    "no name": (rows(("", lambda i: i), X, Y), {}, "column 1 has no name"),
    "no names": ("1.5,2\n3.5,4\n5.5,6\n", {}, "the first line holds numbers"),
    "no names, but words": ("5.1,3,a\n4.9,2,b\n4.7,3,a\n", {}, "numbers, such as 5.1: add a line with the names"),
    "no names, but whole numbers": ("39,State,a\n50,Own,b\n38,State,a\n", {}, "'State' is the name of a column and"),
    "a header again": ("x,y\n1.5,0\nx,y\n2.5,1\n", {}, "its value in row 3: if the first line is a row, add a line"),
    "rows of other lengths": ("x,y\n1,0\n2,1,7\n3,0\n", {}, "not readable as a table"),
    "no feature": (rows(Y), {}, "no column but the target"),
    "labels of two spellings": (
        rows(X, ("y", lambda i: "Yes" if i == 2 else ("yes", "no")[i % 2])),
        {},
        "the labels 'Yes' and 'yes' differ only in",
    ),
    "labels of two codings": (
        rows(X, ("y", lambda i: "caf\u00e9" if i == 2 else ("cafe\u0301", "no")[i % 2])),
        {},
        r"differ only in the code points of a letter",
    ),
    "one target": (rows(X, ("y", lambda i: 2.5)), {}, "one value, 2.5, in every row"),
    "target of dates": (rows(X, ("y", lambda i: f"2024-01-{i + 1:02}")), {}, "the target 'y' holds dates"),
    "text as a number": (rows(X, ("y", lambda i: "ab"[i % 2])), {"task": "regression"}, "the target 'y' is text"),
    "too coarse": (rows(("t", lambda i: 1.7e9 + i * i / 9), Y), {}, "subtract an offset"),
    "too large": (rows(("t", lambda i: (i + 0.5) * 1e300), Y), {}, "above 3e38"),
    "the target as a group": (rows(X, ("y", lambda i: i % 4)), {"group": "y"}, "data.group=y: the column to predict"),
    "two groups": (rows(X, ("who", lambda i: i % 2), Y), {"group": "who"}, "2 different values"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_used_is_refused_in_one_line(tmp_path, what):
    text, options, message = REFUSED[what]
    path = written(tmp_path, text)
    with pytest.raises(DataError) as refusal:
        table(**{"root": path, "target": "y", **options})
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_files_that_are_none(tmp_path, monkeypatch):
    monkeypatch.delenv("NORMLAB_DATA", raising=False)
    with pytest.raises(DataError, match="there is no file"):
        table(root=tmp_path / "no.csv", target="y")
    with pytest.raises(DataError, match="a folder; expected one file of a table"):
        table(root=tmp_path, target="y")
    with pytest.raises(DataError, match=r"a table ends in \.csv"):
        table(root=written(tmp_path, "x,y\n1,2\n", "t.xlsx"), target="y")


def test_a_file_gives_the_rows_of_the_table(wines):
    path, frame = wines
    loaded = dataset("table", root=path, target="grower")
    assert (loaded.kind, loaded.task, loaded.classes) == ("tables", "classification", ("Anna", "Bruno", "Carla"))
    assert loaded.columns == tuple(frame.columns[:-1])
    inputs = torch.cat([split.inputs for split in loaded.splits.values()])
    labels = torch.cat([split.labels for split in loaded.splits.values()])
    expected = np.column_stack([frame.drop(columns="grower").to_numpy(np.float32), frame.grower.factorize()[0]])
    given = np.column_stack([inputs.numpy(), labels.numpy()])
    assert sorted(map(tuple, given)) == sorted(map(tuple, expected))
    assert {name: len(split) for name, split in loaded.splits.items()} == {"train": 114, "validation": 28, "test": 36}


def test_the_same_table_in_other_files_has_the_same_content(wines, tmp_path):
    path, frame = wines
    content = choose("data", "table", root=path, target="grower").build().content
    frame.to_csv(tmp_path / "a.tsv", index=False, sep="\t")
    frame.to_csv(tmp_path / "b.csv", index=False, sep=";", decimal=",", encoding="utf-16")
    with gzip.open(tmp_path / "c.csv.gz", "wt") as file:
        frame.to_csv(file, index=False)
    others = [("a.tsv", {}), ("b.csv", {"delimiter": ";", "decimal": ",", "encoding": "utf-16"}), ("c.csv.gz", {})]
    for name, options in others:
        assert table(root=tmp_path / name, target="grower", **options).content == content


def test_parquet(wines, tmp_path):
    pytest.importorskip("pyarrow")
    path, frame = wines
    frame.to_parquet(tmp_path / "w.parquet")
    assert table(root=tmp_path / "w.parquet", target="grower").content == table(root=path, target="grower").content
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(DataError, match="not readable as Parquet"):
        table(root=tmp_path / "broken.parquet", target="grower")
    frame.assign(day=pd.Timestamp("2024-01-01")).to_parquet(tmp_path / "day.parquet")
    with pytest.raises(DataError, match="'day' holds dates"):
        table(root=tmp_path / "day.parquet", target="grower")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"bytes": b"x", "path": "a.png"}, "holds images or recordings"),
        ({"x": 1, "y": 2}, "holds fields of their own"),
        ([0.5, 1.5, 2.5], "holds arrays of 3 values"),
        (b"abc", "holds bytes"),
    ],
)
def test_a_column_of_parquet_that_holds_more_than_one_value_is_refused_until_it_is_dropped(tmp_path, value, message):
    pytest.importorskip("pyarrow")
    frame = pd.DataFrame({"x": np.arange(20) ** 2 / 7, "more": [None, *[value] * 19], "y": [0, 1] * 10})
    frame.to_parquet(tmp_path / "t.parquet")
    for look in (table, lambda **options: inspect([str(options["root"]), "data.target=y"])):
        with pytest.raises(DataError, match=rf"column 'more' {message} \(row 2\).*data.drop='\[more\]' leaves"):
            look(root=tmp_path / "t.parquet", target="y")
    assert table(root=tmp_path / "t.parquet", target="y", drop=("more",)).columns == ("x",)


def test_the_index_of_a_parquet_file_is_a_column(tmp_path):
    pytest.importorskip("pyarrow")
    frame = pd.DataFrame({"x": np.arange(20) ** 2 / 7, "y": [0, 1] * 10})
    frame.set_index("x").to_parquet(tmp_path / "named.parquet")
    assert table(root=tmp_path / "named.parquet", target="y").columns == ("x",)
    frame.set_index(["x", "y"]).assign(z=1.5).to_parquet(tmp_path / "two.parquet")
    assert table(root=tmp_path / "two.parquet", target="y").columns == ("x", "z")
    frame[frame.index % 3 > 0].to_parquet(tmp_path / "chosen.parquet")  # an index without a name, with gaps
    with pytest.raises(DataError, match=r"'index' numbers or names the rows: data.drop='\[index\]' leaves it out"):
        table(root=tmp_path / "chosen.parquet", target="y")
    pd.concat([frame, frame]).to_parquet(tmp_path / "joined.parquet")
    with pytest.raises(DataError, match="its index has no name and holds a value twice"):
        table(root=tmp_path / "joined.parquet", target="y")
    frame.to_parquet(tmp_path / "plain.parquet")
    assert list(read_frame(tmp_path / "plain.parquet")) == ["x", "y"]


def test_exact_decimals_of_a_parquet_file_are_numbers(tmp_path):
    pytest.importorskip("pyarrow")
    prices = [None, *(Decimal(i % 7) / 4 for i in range(19))]
    pd.DataFrame({"price": prices, "y": [0, 1] * 10}).to_parquet(tmp_path / "t.parquet")
    source = table(root=tmp_path / "t.parquet", target="y", missing="drop")
    assert source.columns == ("price",)
    assert source.train.pictures[:, 0].tolist() == [float(price) for price in prices[1:]]


def test_a_bundled_table_is_that_of_the_library():
    wine, loaded = load_wine(), dataset("wine", validation=0.1)
    assert loaded.columns == tuple(wine.feature_names)
    assert loaded.classes == ("class_0", "class_1", "class_2")
    inputs = torch.cat([split.inputs for split in loaded.splits.values()])
    assert sorted(inputs[:, 12].tolist()) == sorted(wine.data[:, 12].astype(np.float32).tolist())
    diabetes, numbers = load_diabetes(scaled=False), dataset("diabetes")
    assert (numbers.task, numbers.classes) == ("regression", ("progression",))
    labels = torch.cat([split.labels for split in numbers.splits.values()])
    assert sorted(labels.tolist()) == sorted(diabetes.target.tolist())
    assert numbers.target.mean == pytest.approx(numbers.train.labels.double().mean().item())
    assert numbers.target.std == pytest.approx(numbers.train.labels.double().std(correction=0).item())
    assert dataset("diabetes", standardize_target=False).target == (0.0, 1.0)
    assert dataset("wine").target is None


def test_categories_are_one_hot_as_in_scikit_learn(tmp_path):
    generator = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "color": generator.choice(["red", "white", "rosé"], 60),
            "dry": generator.choice([True, False], 60),
            "sugar": generator.normal(size=60),
            "y": np.tile([0, 1], 30),
        }
    )
    path = tmp_path / "t.csv"
    frame.to_csv(path, index=False)
    source = table(root=path, target="y")
    assert source.columns == ("color=red", "color=rosé", "color=white", "dry", "sugar")
    expected = np.column_stack(
        [OneHotEncoder(sparse_output=False).fit_transform(frame[["color"]]), frame.dry, frame.sugar]
    )
    assert source.train.pictures.numpy() == pytest.approx(expected.astype(np.float32))
    assert any("3 categories" in note for note in source.notes)


@pytest.mark.parametrize("how", ["mean", "median"])
def test_missing_values_are_filled_by_the_training_rows_alone(tmp_path, how):
    generator = np.random.default_rng(1)
    values = generator.lognormal(size=(90, 3))
    values[generator.random((90, 3)) < 0.2] = np.nan
    frame = pd.DataFrame(values, columns=["a", "b", "c"]).assign(y=np.tile([0, 1], 45).astype(object))
    frame.loc[[3, 8], "y"] = None
    path = tmp_path / "t.csv"
    frame.to_csv(path, index=False)
    filled = dataset("table", root=path, target="y", missing=how, validation=0.25)
    assert sum(map(len, filled.splits.values())) == 88
    assert any("2 of 90 rows left out, because they have no target" in note for note in filled.notes)
    # The same rows in the same splits, before they were filled.
    raw = choose("data", "table", root=path, target="y", missing=how, validation=0.25).build()
    parts = split(raw, 0.25, 0.2, None, 0)
    imputer = SimpleImputer(strategy=how).fit(parts["train"].pictures.double())
    for name, part in parts.items():
        assert part.pictures.isnan().any()
        expected = imputer.transform(part.pictures.double()).astype(np.float32)
        assert filled.splits[name].inputs.numpy() == pytest.approx(expected)


def test_rows_with_missing_values_are_dropped_and_counted(tmp_path):
    text = rows(("x", lambda i: "" if i in (2, 5) else i * 0.37 % 1), ("y", lambda i: i % 2), count=30)
    source = table(root=written(tmp_path, text), target="y", missing="drop")
    assert len(source.train) == 28
    assert any("2 of 30 rows left out for missing values in x (2)" in note for note in source.notes)


def test_a_column_without_training_values_is_refused():
    lacks, has = torch.tensor([[1.0, torch.nan], [2.0, torch.nan]]), torch.tensor([[1.0, 5.0], [2.0, 7.0]])
    parts = {name: Part(values, torch.tensor([0, 1])) for name, values in (("train", lacks), ("test", has))}
    with pytest.raises(DataError, match="'rare' has no value among the training rows"):
        fill_missing(parts, "mean", ("x", "rare"))


@pytest.mark.parametrize(
    ("values", "task", "expected"),
    [
        (lambda i: i % 7, "auto", "classification"),
        (lambda i: i % 7, "regression", "regression"),
        (lambda i: i, "auto", "regression"),
        (lambda i: i % 7 + 0.5, "auto", "regression"),
        (lambda i: f"kind {i % 3}", "auto", "classification"),
        (lambda i: i % 2 == 0, "auto", "classification"),
        (lambda i: float(i % 3), "auto", "classification"),
        (lambda i: (i % 3) / 2, "classification", "classification"),
    ],
)
def test_the_task_follows_a_rule_that_is_told(tmp_path, values, task, expected):
    source = table(root=written(tmp_path, rows(X, ("y", values), count=60)), target="y", task=task)
    assert source.task == expected
    assert source.train.labels.dtype == (torch.float32 if expected == "regression" else torch.int64)
    assert any(note.startswith("target 'y': ") for note in source.notes)


def test_spaces_behind_a_group_make_no_group_of_their_own(tmp_path):
    text = rows(X, ("patient", lambda i: f"p{i // 4}{' ' * (i % 2)}"), Y, count=40)
    groups = table(root=written(tmp_path, text), target="y", group="patient").groups
    assert groups.tolist() == np.unique([f"p{i // 4}" for i in range(40)], return_inverse=True)[1].tolist()


def test_a_column_that_may_be_a_group_is_told(tmp_path):
    """Also one that is left out, as texts of many values are to be."""
    text = rows(X, ("PatientID", lambda i: f"p{i // 4}"), ("site", lambda i: i % 5), Y, count=40)
    path = written(tmp_path, text)
    for options in ({}, {"drop": ("PatientID",)}):
        (note,) = (note for note in table(root=path, target="y", **options).notes if "GROUPS" in note)
        assert note.startswith("GROUPS: column 'PatientID' has 10 values in 40 rows, and a split may put rows of one")
        assert note.endswith("data.group=PatientID keeps them together")
    for drop in ((), ("PatientID",)):  # a group is no feature in any case
        source = table(root=path, target="y", group="PatientID", drop=drop)
        assert not any("GROUPS" in note for note in source.notes)
        assert len(source.groups.unique()) == 10


def test_groups_stay_together(tmp_path):
    text = rows(X, ("patient", lambda i: i // 5), ("y", lambda i: i % 2), count=100)
    source = table(root=written(tmp_path, text), target="y", group="patient", missing="drop")
    assert source.columns == ("x",)
    loaded = load(choose("data", "table", root=tmp_path / "t.csv", target="y", group="patient"))
    patients = {f"{i * 0.37 % 1:.4f}": i // 5 for i in range(100)}
    of = {
        name: {patients[f"{value:.4f}"] for value in split.inputs[:, 0].tolist()}
        for name, split in loaded.splits.items()
    }
    assert not of["train"] & of["test"]
    assert not of["train"] & of["validation"]
    assert not of["validation"] & of["test"]


def test_identifiers():
    def column(name, values):
        return row_identifier(pd.Series(values, name=name))

    assert column("Unnamed: 0", range(5))
    assert column("customer_id", ["a7", "b1", "c3"])
    assert column("CustomerID", ["a7", "b1", "c3"])
    assert column("userId", [7, 9, 4])
    assert not column("Fluid", [7, 9, 4])
    assert column("n", range(7, 27))
    assert not column("n", [*range(7, 26), 40])
    assert not column("fluid", [0.1, 0.2, 0.3])
    assert not column("id", [1, 1, 2])
    assert not column("id", [1.5, 2.5, 3.25])
    assert not column("n", range(5))  # too few rows to call it a pattern


def test_planted_outliers_are_as_many_and_as_far_as_asked():
    values = np.random.default_rng(0).normal(size=(200, 5)) * [1, 10, 100, 1, 1] + 7
    planted, (note,) = plant_outliers(values, 0.03, 30.0, seed=1)
    changed = planted != values
    assert changed.sum() == 30
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75], axis=0)
    assert (np.abs(planted - middle) / (high - low))[changed] == pytest.approx(30)
    assert "30 outliers planted" in note
    assert plant_outliers(values, 0.0, 30.0, 1)[0] is values
    contents = {choose("data", "wine", outliers=share).build().content for share in (0.0, 0.02, 0.03)}
    assert len(contents) == 3


def test_without_a_network_the_download_says_what_to_do(tmp_path, monkeypatch):
    def refuse(**_):
        raise OSError("no route to host")

    monkeypatch.setattr(datasets, "fetch_california_housing", refuse)
    with pytest.raises(DataError, match=r"no route to host.*data=diabetes"):
        choose("data", "california_housing", root=tmp_path).build()


@pytest.mark.parametrize("names", ["0,1,y", "2019,2020,y", "1e,kind,y"])
def test_whole_numbers_are_names_of_columns(tmp_path, names):
    lines = [f"{i * 0.37 % 1:.3f},{'ab'[i % 2]},{i % 2}" for i in range(12)]
    assert list(read_frame(written(tmp_path, "\n".join([names, *lines])))) == names.split(",")


def test_a_tab_may_be_written_as_a_shell_leaves_it(tmp_path):
    path = written(tmp_path, rows(X, Y).replace(",", "\t"))
    assert list(read_frame(path, delimiter=r"\t")) == ["x", "y"]


def test_quoted_fields_keep_their_delimiters(tmp_path):
    frame = read_frame(written(tmp_path, 'x,"kind, exactly",y\n1.5,"a, b",0\n2.5,"c",1\n'))
    assert list(frame.columns) == ["x", "kind, exactly", "y"]
    assert frame["kind, exactly"].tolist() == ["a, b", "c"]
