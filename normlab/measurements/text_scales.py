"""Scales in networks for texts: printed starts measured again (X1, X2), and activations from start to end (D03)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from normlab.archs.text import TextTransformer, draw_embedding, make_norm
from normlab.config import PositiveFloat, PositiveInt, data_label
from normlab.data import Dataset, Loader, dataset
from normlab.data.tokens import PAD
from normlab.errors import DataError
from normlab.measurements.registry import measurement
from normlab.measurements.starts import first_batch
from normlab.statistics import mean_interval
from normlab.theory.scale_freedom import norm_gain


def texts_of(data: dict[str, Any]) -> Dataset:
    """A data set of texts.

    Raises:
        DataError: if it holds something else.
    """
    loaded = dataset(**data)
    if loaded.kind != "text":
        raise DataError(f"{data_label(data)}: expected texts, as in data=sms_like")
    return loaded


def transformer(data: Dataset, seed: int, **options: Any) -> TextTransformer:
    """A transformer for these texts with the initial weights of a seed."""
    torch.manual_seed(seed)
    return TextTransformer(data.shape, len(data.classes), data.tokens, **options)


@measurement
def gradients_by_depth(
    *,
    data: dict[str, Any],
    depths: Sequence[int] = (3, 6, 12),
    layer_norms: Sequence[str] = ("post", "pre"),
    width: PositiveInt = 64,
    embedding_std: PositiveFloat = 0.02,
    texts: PositiveInt = 16,
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
) -> list[dict[str, Any]]:
    """The gradient of the last block's perceptron at the start, against the number of blocks.

    Xiong et al. 2020 (arXiv:2002.04745) derive that it is large in post-norm networks of any depth, and falls with the
    root of the depth in pre-norm ones. Why the root: a pre-norm network sums its branches, so that what goes into the
    last norm grows as the root of the depth L, and this norm divides the gradient by that; a post-norm network divides
    by a constant after each branch.

    Args:
        data: of texts; see :func:`normlab.dataset`.
        depths: L, numbers of blocks.
        layer_norms: places of the norm, ``post`` first.
        width: features of a token.
        embedding_std: of the embedding, and of the positions.
        texts: whose gradients are measured, each by itself; the geometric mean counts.
        seeds: of the initial weights.

    Returns:
        A row for each place: ``slope`` of the logarithm of the norm of the gradient in the second layer of the last
        perceptron against the logarithm of L, 0 or -1/2 in theory, with its 95% interval over seeds; and ``ratio``, the
        first place's gradient over this one's in the deepest network, in the geometric mean, with its interval.

    Raises:
        DataError: if the data are no texts.
    """
    loaded = texts_of(data)
    inputs, labels = first_batch(loaded, texts)
    logs = np.zeros((len(layer_norms), len(seeds), len(depths)))
    for index, (layer_norm, seed, depth) in zip(
        np.ndindex(logs.shape), itertools.product(layer_norms, seeds, depths), strict=True
    ):
        options = {"depth": depth, "width": width, "embedding_std": embedding_std, "position_std": embedding_std}
        logs[index] = log_gradients(transformer(loaded, seed, layer_norm=layer_norm, **options), inputs, labels)[-1]
    rows = []
    for place, layer_norm in enumerate(layer_norms):
        slope = mean_interval([float(np.polyfit(np.log(depths), one, 1)[0]) for one in logs[place]])
        ratio = mean_interval(logs[0, :, -1] - logs[place, :, -1]) if place else None
        rows.append(
            {
                "data": data_label(data),
                "layer_norm": layer_norm,
                "depths": ", ".join(map(str, depths)),
                "seeds": len(seeds),
                "slope": slope.estimate,
                "slope_low": slope.low,
                "slope_high": slope.high,
                **(
                    {}
                    if ratio is None
                    else {
                        "ratio": math.exp(ratio.estimate),
                        "ratio_low": math.exp(ratio.low),
                        "ratio_high": math.exp(ratio.high),
                    }
                ),
            }
        )
    return rows


def log_gradients(body: TextTransformer, inputs: Tensor, labels: Tensor) -> np.ndarray:
    """Logarithm of the norm of the gradient in the second layer of each block's perceptron, mean over texts, [blocks].

    The scores are those of a text's first token alone, as in the paper: a mean over tokens would grow with the depth,
    because tokens become more alike. Each text by itself, because in a sum over texts the gradients of two classes
    cancel, by chance more or less; and for an error of length 1 in the scores, softmax minus label, because an
    untrained network is wrong by chance, too.
    """
    weights = [next(block.get_submodule("mlp.2").parameters()) for block in body.blocks]
    logs = np.zeros(len(weights))
    for text, label in zip(inputs.split(1), labels.split(1), strict=True):
        scores = body.head(body.features(text)[0][:, 0])
        error = scores.detach().softmax(1) - F.one_hot(label, scores.shape[1])
        gradients = torch.autograd.grad(scores, weights, error / error.norm())
        logs += [math.log(gradient.norm().item()) / len(inputs) for gradient in gradients]
    return logs


@measurement
def gradients_by_block(
    *,
    data: dict[str, Any],
    depth: PositiveInt = 12,
    layer_norms: Sequence[str] = ("none", "after_embedding", "pre", "post"),
    width: PositiveInt = 64,
    embedding_std: PositiveFloat = 0.02,
    texts: PositiveInt = 16,
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
) -> list[dict[str, Any]]:
    """The gradient of each block's perceptron at the start: ``layer_norm``, ``block`` (from 1), ``gradient_norm``.

    Args:
        data: of texts; see :func:`normlab.dataset`.
        depth: number of blocks.
        layer_norms: places of the norm.
        width: features of a token.
        embedding_std: of the embedding, and of the positions.
        texts: whose gradients are measured, each by itself; the geometric mean counts.
        seeds: of the initial weights; the row has the geometric mean over them.

    Raises:
        DataError: if the data are no texts.
    """
    loaded = texts_of(data)
    inputs, labels = first_batch(loaded, texts)
    rows = []
    for layer_norm in layer_norms:
        logs = np.zeros((len(seeds), depth))
        for row, seed in enumerate(seeds):
            options = {"depth": depth, "width": width, "embedding_std": embedding_std, "position_std": embedding_std}
            logs[row] = log_gradients(transformer(loaded, seed, layer_norm=layer_norm, **options), inputs, labels)
        about = {"data": data_label(data), "layer_norm": layer_norm, "depth": depth}
        rows += [
            {**about, "block": block, "gradient_norm": math.exp(value)} for block, value in enumerate(logs.mean(0), 1)
        ]
    return rows


@measurement
def embedding_lengths(
    *, stds: Sequence[float] = (0.02, 1.0), width: PositiveInt = 768, tokens: PositiveInt = 2000, seed: int = 0
) -> list[dict[str, Any]]:
    """The length of a token's vector at the start, and what layer norm makes of it.

    GPT-2 draws its embedding with a deviation of 0.02 and its positions with 0.01, in 768 features, with 1e-5 under the
    root of its layer norm (openai/gpt-2, src/model.py); PyTorch's ``nn.Embedding`` draws with 1.

    Args:
        stds: standard deviations of the embedding.
        width: features of a token.
        tokens: different ones.
        seed: of the draw.

    Returns:
        A row for each deviation: ``length``, the mean over tokens; ``predicted``, std sqrt(width); ``gain``, the root
        mean square after layer norm; ``predicted_gain``, see :func:`normlab.theory.scale_freedom.norm_gain`.
    """
    rows = []
    for std in stds:
        torch.manual_seed(seed)
        weight = draw_embedding(tokens, width, std).weight.detach()
        normalized = make_norm("layer", width, 1e-5)(weight).detach()
        rows.append(
            {
                "embedding_std": std,
                "width": width,
                "length": weight.norm(dim=1).mean().item(),
                "predicted": std * math.sqrt(width),
                "gain": normalized.square().mean().sqrt().item(),
                "predicted_gain": norm_gain(std),
            }
        )
    return rows


@measurement
def scales_by_layer(
    *,
    data: dict[str, Any],
    arch: dict[str, Any],
    embedding_stds: Sequence[float],
    layer_norms: Sequence[str],
    optimizer: str,
    rate: PositiveFloat,
    epochs: PositiveInt = 8,
    batch_size: PositiveInt = 32,
    texts: PositiveInt = 256,
    seeds: Sequence[int] = (0, 1, 2),
) -> list[dict[str, Any]]:
    """The scale of activations from the embedding to the scores, before and after training.

    Args:
        data: of texts; see :func:`normlab.dataset`.
        arch: options of the transformer that all rows share.
        embedding_stds: standard deviations of the embedding.
        layer_norms: places of the norm.
        optimizer: ``adam``, or ``sgd`` with momentum 0.9.
        rate: at the start; it falls to 0 along a cosine.
        epochs: of training on the cross-entropy.
        batch_size: of training.
        texts: of training, on which the activations are measured.
        seeds: of weights and order.

    Returns:
        A row for each deviation, place, ``when`` (start or end) and ``layer``: ``rms``, the root mean square of the
        layer's output over texts, places with a token, and features, in the geometric mean over seeds. Layers:
        ``tokens``, the embedding; ``stream 0``, what goes into the first block; ``stream 1`` and on, what comes out of
        each block; ``scores``. And ``order``, of the layer, from 0.

    Raises:
        DataError: if the data are no texts, or training diverges.
    """
    loaded = texts_of(data)
    inputs, _ = first_batch(loaded, texts)
    rows = []
    for std, layer_norm in itertools.product(embedding_stds, layer_norms):
        logs: dict[tuple[str, str], list[float]] = {}
        for seed in seeds:
            body = transformer(loaded, seed, **arch, embedding_std=std, layer_norm=layer_norm)
            for when in ("start", "end"):
                if when == "end":
                    descend(body, loaded, optimizer, rate, epochs, batch_size, seed)
                for layer, rms in stream_scales(body, inputs).items():
                    logs.setdefault((when, layer), []).append(math.log(rms))
        about = {"data": data_label(data), "optimizer": optimizer, "embedding_std": std, "layer_norm": layer_norm}
        order = {layer: place for place, layer in enumerate(dict.fromkeys(layer for _, layer in logs))}
        rows += [
            {**about, "when": when, "layer": layer, "order": order[layer], "rms": math.exp(float(np.mean(values)))}
            for (when, layer), values in logs.items()
        ]
    return rows


@torch.no_grad()
def stream_scales(body: TextTransformer, inputs: Tensor) -> dict[str, float]:
    """Root mean square of the activations along a transformer, without the places of padding.

    Args:
        body: the network.
        inputs: token ids, [B, 1, T].
    """
    is_token = inputs[:, 0] != PAD
    scales: dict[str, float] = {}

    def watch(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def hook(_: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
            if name == "stream 1":
                scales["stream 0"] = given[0][is_token].double().square().mean().sqrt().item()
            scales[name] = output[is_token].double().square().mean().sqrt().item()

        return hook

    hooks = [body.embedding.register_forward_hook(watch("tokens"))]
    hooks += [block.register_forward_hook(watch(f"stream {place}")) for place, block in enumerate(body.blocks, 1)]
    scores = body(inputs)
    for hook in hooks:
        hook.remove()
    return {**scales, "scores": scores.double().square().mean().sqrt().item()}


def descend(
    body: nn.Module, data: Dataset, optimizer: str, rate: float, epochs: int, batch_size: int, seed: int
) -> None:
    """Train a network in place on the cross-entropy, at a rate that falls to 0 along a cosine.

    Raises:
        DataError: if the loss is not finite.
    """
    parameters = list(body.parameters())
    steps: torch.optim.Optimizer = (
        torch.optim.Adam(parameters, rate) if optimizer == "adam" else torch.optim.SGD(parameters, rate, momentum=0.9)
    )
    loader = Loader(data.train, batch_size, shuffle_seed=seed)
    total = epochs * len(loader)
    fall = torch.optim.lr_scheduler.LambdaLR(steps, lambda step: 0.5 * (1 + math.cos(math.pi * step / total)))
    for loader.epoch in range(epochs):
        for inputs, labels in loader:
            loss = F.cross_entropy(body(inputs), labels)
            if not loss.isfinite():
                raise DataError(f"rate {rate:g}: training diverged; give a smaller rate")
            steps.zero_grad()
            loss.backward()
            steps.step()
            fall.step()
