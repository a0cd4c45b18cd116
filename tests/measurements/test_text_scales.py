"""Measurements of scales in networks for texts, against autograd by hand and formulas."""

import math

import pytest
import torch
import torch.nn.functional as F

from normlab.data import dataset
from normlab.errors import DataError
from normlab.measurements import text_scales as scales

DATA = {"name": "sms_like", "messages": 200, "length": 12}


def test_the_lengths_of_embeddings_are_those_of_the_formula():
    for row in scales.embedding_lengths(stds=(0.002, 0.02, 1.0), width=256, tokens=500):
        assert row["length"] == pytest.approx(row["embedding_std"] * 16, rel=0.01)
        assert row["gain"] == pytest.approx(row["predicted_gain"], rel=0.01)


def test_the_gradient_of_a_block_is_that_of_a_loss_on_the_first_token():
    data = dataset(**DATA)
    body = scales.transformer(data, 0, depth=2, width=8, heads=2)
    inputs, labels = data.train.inputs[:2], data.train.labels[:2]
    expected = torch.zeros(2, dtype=torch.float64)
    for text, label in zip(inputs, labels, strict=True):
        scores = body.head(body.features(text[None])[0][0, 0])
        loss = F.cross_entropy(scores, label)
        error = torch.autograd.grad(loss, scores, retain_graph=True)[0].norm()
        body.zero_grad()
        loss.backward()
        expected += torch.tensor([math.log(b.mlp[2].weight.grad.norm() / error) / 2 for b in body.blocks])
    assert scales.log_gradients(body, inputs, labels) == pytest.approx(expected.numpy(), rel=1e-4)


def test_pre_norm_gradients_fall_as_the_root_of_the_depth_and_post_norm_ones_do_not():
    post, pre = scales.gradients_by_depth(data=DATA, depths=(2, 8), width=32, texts=4, seeds=range(4))
    assert post["slope"] == pytest.approx(0, abs=0.2)
    assert pre["slope"] == pytest.approx(-0.5, abs=0.2)
    assert pre["slope_low"] < pre["slope"] < pre["slope_high"]
    assert pre["ratio"] > 1
    assert "ratio" not in post


def test_each_block_has_a_gradient():
    rows = scales.gradients_by_block(data=DATA, depth=3, width=16, layer_norms=("pre", "none"), texts=2, seeds=(0, 1))
    assert [(row["layer_norm"], row["block"]) for row in rows] == [(n, b) for n in ("pre", "none") for b in (1, 2, 3)]
    assert all(row["gradient_norm"] > 0 for row in rows)


def test_scales_along_the_network_start_as_they_are_drawn_and_move_with_training():
    rows = scales.scales_by_layer(
        data=DATA,
        arch={"width": 32, "heads": 2, "depth": 1, "position_std": 0.3},
        embedding_stds=(0.4,),
        layer_norms=("none", "after_embedding"),
        optimizer="adam",
        rate=0.01,
        epochs=1,
        seeds=(0,),
    )
    rms = {(row["layer_norm"], row["when"], row["layer"]): row["rms"] for row in rows}
    assert rms["none", "start", "tokens"] == pytest.approx(0.4, rel=0.1)
    assert rms["none", "start", "stream 0"] == pytest.approx(0.5, rel=0.1)
    assert rms["after_embedding", "start", "stream 0"] == pytest.approx(1, rel=0.01)
    assert {row["layer"]: row["order"] for row in rows} == {"tokens": 0, "stream 0": 1, "stream 1": 2, "scores": 3}
    assert rms["none", "end", "scores"] != pytest.approx(rms["none", "start", "scores"], rel=0.05)


def test_images_have_no_tokens_to_measure():
    with pytest.raises(DataError, match="digits: expected texts"):
        scales.texts_of({"name": "digits"})
