"""Predicted stable rates against real runs."""

import math

import pandas as pd
import pytest

from normlab import stability


@pytest.mark.slow
def test_the_linear_model_is_stable_up_to_its_threshold(here, capsys):
    stability.main(["data=planted", "norms=unit,feature", "momenta=0,0.9", "steps=300", "out=out"])
    frame = pd.read_csv(here / "out/stability.csv")
    assert frame.scheme.tolist() == ["unit", "unit", "feature", "feature"]
    assert frame.ratio.tolist() == pytest.approx([1] * 4, abs=0.01)
    assert (frame.stable_at < frame.measured).all()
    assert (frame.measured < frame.unstable_at).all()
    feature = frame[frame.scheme == "feature"]
    assert feature.predicted.tolist() == pytest.approx([2.0, 3.8], rel=1e-5)  # lambda_max is 1
    assert "ratio" in capsys.readouterr().out
    assert (here / "out/rates.png").stat().st_size > 1000


@pytest.mark.slow
def test_a_network_has_its_threshold_predicted_from_its_curvature(here):
    arguments = ["data=digits", "data.limit=100", "arch=mlp", "arch.width=8", "norms=feature", "momenta=0"]
    stability.main([*arguments, "steps=40", "resolution=0.2", "out=out"])
    row = pd.read_csv(here / "out/stability.csv").iloc[0]
    assert row.predicted == pytest.approx(2 / row.lambda_max)
    assert math.isfinite(row.measured)
    assert row.measured > 0
    made = len(list((here / "runs").glob("digits-mlp-*")))
    stability.main([*arguments, "steps=40", "resolution=0.2", "out=out"])
    assert len(list((here / "runs").glob("digits-mlp-*"))) == made  # every run was taken from its record


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["data=digits", "arch.width=3"], "which arch? arch.width is given, but not arch=NAME"),
        (["data=digits", "momenta=1"], "momenta.0=1: should be less than 1"),
        (["arch=cnn"], "which data?"),
        (["data=digits", "arch=cnn", "momenta=0,0.9"], "momenta: use 0 for a network"),
    ],
)
def test_mistakes_end_with_one_line(here, capsys, arguments, message):
    with pytest.raises(SystemExit) as end:
        stability.main(arguments)
    assert end.value.code == 2
    assert message in capsys.readouterr().err
