"""The command that looks at a network at its start."""

import pandas as pd
import pytest

import normlab
from normlab import curvature


@pytest.mark.slow
def test_the_linear_model_agrees_with_its_exact_theory(here, capsys):
    curvature.main(["data=digits", "data.limit=200", "images=1000", "arch=linear", "norms=raw,feature", "out=out"])
    frame = pd.read_csv(here / "out/curvature.csv").set_index("scheme")
    images = normlab.dataset("digits", limit=200).train.images
    for name in ("raw", "feature"):
        assert frame.lambda_max[name] == pytest.approx(normlab.linear_hessian(images, name).lambda_max, rel=2e-3)
    density = pd.read_csv(here / "out/density.csv.gz")
    assert set(density.scheme) == {"raw", "feature"}
    assert (here / "out/density.png").stat().st_size > 1000
    assert "2/lambda_max" in capsys.readouterr().out


def test_layers_of_a_vit(here):
    curvature.main(
        ["data=digits", "data.limit=50", "arch=vit", "arch.depth=1", "norms=unit", "density=false", "out=out"]
    )
    layers = pd.read_csv(here / "out/layers.csv")
    assert layers.name.tolist() == ["embed", "blocks.0.self_attn", "blocks.0.linear1", "blocks.0.linear2", "head.1"]
    assert (layers.activation_rms > 0).all()


@pytest.mark.slow
def test_a_scheme_that_does_not_fit_is_named(here, capsys):
    curvature.main(
        ["data=digits", "data.limit=50", "data.image_size=128", "arch=mlp", "norms=unit,zca", "density=false"]
    )
    out = capsys.readouterr().out
    assert "\nunit " in out
    assert "\nzca: " in out
