"""Which rescalings of a text network's weights leave its outputs as they are, and what they change in training.

Layer norm divides the scale of its input out: LN(c x) = LN(x) for c > 0, up to eps. So a network with layer norm
computes the same function for many weights. Whether the scale of the embedding E alone is such a free choice depends on
where the norm stands and on where the positions P are added:

    LN(E) + P           free: E.
    LN(E + P)           E and P together; E alone is not: E against P decides how much a token says of its place.
    pre                 E, P and what every branch adds to them, together: x + F(LN(x)) compares x with F.
    post                E and P, with the weights of the first attention, which sees them before any norm.
    none                all weights, up to those of the head.

A function that does not change with the scale of a weight w has a gradient orthogonal to w, of a size that goes as
1/|w| (van Laarhoven 2017, arXiv:1706.05350; Arora et al. 2019, arXiv:1812.03981). The scale of w then is no matter of
the function, but sets the rate at which w turns: descent from c w with the rate c^2 eta is c times the descent from w
with the rate eta, and Adam from c w with the rate c eta is c times Adam from w with the rate eta. So layer norm after
the embedding makes the outputs free of the embedding's standard deviation, not the training.
"""

from __future__ import annotations

import math
from typing import Literal

from torch import nn

from normlab.archs.text import Bag, TextTransformer


def norm_gain(std: float, eps: float = 1e-5) -> float:
    """Root mean square of what layer norm makes of features with this standard deviation: std / sqrt(std^2 + eps).

    Below sqrt(eps), 0.0032 for the usual eps, layer norm scales by 1/sqrt(eps) and no longer normalizes.

    >>> [round(norm_gain(std), 3) for std in (0.002, 0.02, 0.2, 1.0)]
    [0.535, 0.988, 1.0, 1.0]

    Args:
        std: of the features of one token, above 0 unless ``eps`` is.
        eps: under the root.
    """
    return std / math.sqrt(std**2 + eps)


def free_scaling(body: nn.Module) -> dict[str, int]:
    """The smallest rescaling that contains the embedding and leaves the outputs as they are: exponents by parameter.

    For every c > 0, multiplying each named parameter by c to the power of its exponent changes no output, exactly where
    no norm is in the way, up to ``norm_eps`` where one is. Parameters that are not named stay as they are.

    >>> free_scaling(TextTransformer((1, 5), 2, 9, layer_norm="after_embedding", add_positions="after_norm"))
    {'embedding.weight': 1}
    >>> free_scaling(Bag((1, 5), 2, 9))
    {'embedding.weight': 1, 'head.weight': -1}

    Args:
        body: of ``arch=text_transformer`` or ``arch=bag``.

    Raises:
        TypeError: for another network.
    """
    scaling = {"embedding.weight": 1}
    if isinstance(body, Bag):
        return scaling if body.layer_norm == "after_embedding" else scaling | {"head.weight": -1}
    if not isinstance(body, TextTransformer):
        raise TypeError(f"expected a TextTransformer or a Bag, not {type(body).__name__}")
    if body.layer_norm == "after_embedding" and body.add_positions == "after_norm":
        return scaling
    if body.position is not None:  # a buffer, if the positions are sinusoids
        scaling["position"] = 1
    if body.layer_norm == "pre":
        for block in range(len(body.blocks)):
            scaling |= _branch(block, "attention.out_proj") | _branch(block, "mlp.2")
    elif body.layer_norm == "post":
        scaling |= _first_attention(0)
    elif body.layer_norm == "none":
        for block in range(len(body.blocks)):
            scaling |= _first_attention(block) | {f"blocks.{block}.mlp.0.weight": -1} | _branch(block, "mlp.2")
        scaling["head.weight"] = -1
    return scaling


def _branch(block: int, layer: str) -> dict[str, int]:
    return {f"blocks.{block}.{layer}.weight": 1, f"blocks.{block}.{layer}.bias": 1}


def _first_attention(block: int) -> dict[str, int]:
    """What keeps queries, keys and values when the input grows by c, and makes the output grow by c."""
    return {f"blocks.{block}.attention.in_proj_weight": -1} | _branch(block, "attention.out_proj")


def rate_factor(exponent: int, factor: float, optimizer: Literal["sgd", "adam"]) -> float:
    """By what a parameter's learning rate is to be multiplied after a free scaling, so that training is the same.

    c^(2a) under (stochastic) gradient descent, with momentum or without; c^a under Adam with eps = 0; without weight
    decay.

    >>> rate_factor(1, 0.02, "sgd"), rate_factor(1, 0.02, "adam")
    (0.0004, 0.02)

    Args:
        exponent: a, of the parameter in the scaling.
        factor: c, above 0.
        optimizer: that trains the network.
    """
    return factor ** (2 * exponent if optimizer == "sgd" else exponent)
