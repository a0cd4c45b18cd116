"""The command that prints theory for every scheme."""

import pandas as pd
import pytest

from normlab import conditioning
from tests.conftest import OF_IMAGES


def test_the_table_of_all_schemes(here, capsys):
    conditioning.main(["data=digits", "data.limit=300"])
    frame = pd.read_csv(here / "runs/conditioning/digits/conditioning.csv")
    assert frame.scheme.tolist() == OF_IMAGES
    assert (frame.condition_number >= 1).all()
    assert (frame.stable_rate * frame.lambda_max).tolist() == pytest.approx([2] * len(frame))
    spectra = pd.read_csv(here / "runs/conditioning/digits/spectra.csv.gz")
    assert spectra["unit"].max() == pytest.approx(frame.set_index("scheme").lambda_max["unit"], rel=1e-8)
    assert (
        "python -m normlab.conditioning data=digits data.limit=300"
        in (here / "runs/conditioning/digits/conditioning.md").read_text()
    )
    assert "condition number" in capsys.readouterr().out


@pytest.mark.slow
def test_measured_iterations_stand_beside_predicted_ones(here):
    conditioning.main(["data=planted", "norms=dataset_mean,feature,learned", "steps=1000", "out=out"])
    frame = pd.read_csv(here / "out/conditioning.csv").set_index("scheme")
    exact = frame.drop("learned")
    assert (exact["measured_iterations_to_0.1"] == exact["iterations_to_0.1"]).all()
    assert frame["measured_iterations_to_0.01"]["feature"] == frame["iterations_to_0.01"]["feature"]
    assert frame["measured_iterations_to_0.01"]["dataset_mean"] == float("inf")
    assert frame["iterations_to_0.01"]["dataset_mean"] > 1000
    assert (exact.curve_deviation < 1e-4).all()
    assert frame.loc["learned"][["measured_iterations_to_0.1", "curve_deviation"]].isna().all()


@pytest.mark.slow
def test_a_scheme_that_would_not_get_there_is_checked_on_fewer_steps(here):
    conditioning.main(["data=planted", "norms=raw,feature", "steps=100", "check=7", "out=out"])
    frame = pd.read_csv(here / "out/conditioning.csv").set_index("scheme")
    assert frame.measured_steps.to_dict() == {"raw": 7, "feature": 100}
    assert frame["iterations_to_0.1"]["raw"] > 100
    assert frame.curve_deviation["raw"] < 1e-4
    assert "> 7" in (here / "out/conditioning.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "which data? Add data=NAME"),
        (["data=digts"], "data=digts: no such choice; did you mean digits?"),
        (["data=digits", "norms=zcaa"], "norms=zcaa: no such choice"),
        (["data=digits", "eps=2"], "eps.0=2: should be less than 1"),
        (["data=digits", "bais=false"], "bais: unknown key; did you mean bias?"),
        (["digits"], "digits: expected KEY=VALUE"),
    ],
)
def test_mistakes_end_with_one_line(here, capsys, arguments, message):
    with pytest.raises(SystemExit) as end:
        conditioning.main(arguments)
    assert end.value.code == 2
    err = capsys.readouterr().err
    assert message in err
    assert len(err.splitlines()) == 1
