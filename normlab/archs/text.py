"""Networks for tokens, a transformer and a bag of words: the embedding's scale and layer norm are choices."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from normlab.config import NonNegativeFloat, PositiveFloat, PositiveInt
from normlab.data.tokens import PAD
from normlab.errors import ConfigError, DataError

LayerNorm = Literal["none", "after_embedding", "pre", "post"]
NormType = Literal["layer", "rms"]


def make_norm(kind: NormType, width: int, eps: float) -> nn.Module:
    """Normalization of each token's features, [..., width].

    ``layer``: (x - mean)/sqrt(var + eps) (Ba et al. 2016, arXiv:1607.06450). ``rms``: x/sqrt(mean(x^2) + eps) (Zhang &
    Sennrich 2019, arXiv:1910.07467). Both with trained gains; ``layer`` also with offsets.
    """
    return nn.LayerNorm(width, eps) if kind == "layer" else nn.RMSNorm(width, eps)


def draw_embedding(vocabulary: int, width: int, std: float | Literal["fan_in"]) -> nn.Embedding:
    """An embedding with normal weights of this standard deviation.

    ``fan_in`` is 1/sqrt(width), at which the vector of a token has length 1: the default of flax's ``nn.Embed``,
    ``variance_scaling(1.0, "fan_in", out_axis=0)``. PyTorch's own default is 1, GPT-2's 0.02.
    """
    embedding = nn.Embedding(vocabulary, width)
    nn.init.normal_(embedding.weight, std=width**-0.5 if std == "fan_in" else std)
    return embedding


def sinusoids(length: int, width: int) -> Tensor:
    """Sines and cosines of the position, at wavelengths from 2 pi to 20,000 pi, [length, width].

    Vaswani et al. 2017, arXiv:1706.03762, section 3.5, with the sines first. The mean square of a position is 1/2.

    >>> sinusoids(2, 4)
    tensor([[0.0000, 0.0000, 1.0000, 1.0000],
            [0.8415, 0.0100, 0.5403, 0.9999]])
    """
    rates = 10_000.0 ** (-torch.arange(0, width, 2) / width)
    angles = torch.arange(length)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], 1)


def read_tokens(inputs: Tensor, vocabulary: int) -> Tensor:
    """Token ids int64 [B, T] from inputs [B, 1, T], whose type a normalization may have changed to floats.

    Raises:
        DataError: for a number that is no token of the vocabulary; not in an exported network.
    """
    tokens = inputs[:, 0].long()
    if not torch.compiler.is_compiling():  # a graph cannot raise
        wrong = (tokens != inputs[:, 0]) | (tokens < 0) | (tokens >= vocabulary)
        if wrong.any():
            value = inputs[:, 0][wrong][0].item()
            raise DataError(
                f"{value:g} is no token: a vocabulary of {vocabulary:,} has the whole numbers 0 to {vocabulary - 1:,}"
            )
    return tokens


def mean_over_texts(features: Tensor, is_padding: Tensor) -> Tensor:
    """Mean of [B, T, width] over the places where bool [B, T] is False."""
    kept = (~is_padding)[..., None].to(features.dtype)
    return (features * kept).sum(1) / kept.sum(1).clamp(min=1)


class Block(nn.Module):
    """Self-attention and a perceptron, each added to what goes in.

    ``pre`` normalizes what goes into each of the two, ``post`` each sum (Xiong et al. 2020, arXiv:2002.04745).
    """

    def __init__(self, width: int, heads: int, hidden: int, place: LayerNorm, kind: NormType, eps: float) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))
        self.pre, self.post = (
            nn.ModuleList(make_norm(kind, width, eps) if place == which else nn.Identity() for _ in range(2))
            for which in ("pre", "post")
        )

    def forward(self, x: Tensor, is_padding: Tensor) -> Tensor:
        """[B, T, width] and bool [B, T] to [B, T, width]."""
        y = self.pre[0](x)
        x = self.post[0](x + self.attention(y, y, y, key_padding_mask=is_padding, need_weights=False)[0])
        return self.post[1](x + self.mlp(self.pre[1](x)))


class TextTransformer(nn.Module):
    """Tokens, embedded, plus positions, through transformer blocks; the mean over the text, and a linear layer.

    Args:
        shape: 1, T: tokens of a text.
        classes: number of outputs.
        vocabulary: number of different tokens.
        width: features of a token; a multiple of ``heads``.
        depth: blocks.
        heads: of attention.
        mlp_ratio: hidden features of a block's perceptron, as a multiple of ``width``.
        embedding_std: standard deviation of the embedding's weights; see :func:`draw_embedding`.
        positions: ``learned``, ``sinusoidal`` (fixed, see :func:`sinusoids`), or ``none``.
        position_std: root mean square of the positions at the start. GPT-2 starts learned ones at 0.01, half of its
            embedding's standard deviation; the sinusoids of Vaswani et al. have 0.71.
        layer_norm: ``none``; ``after_embedding``, once, before the blocks; ``pre``, before attention and perceptron of
            each block, and once after the last; ``post``, after each sum.
        add_positions: with ``after_embedding``, ``before_norm``, as BERT does, or ``after_norm``.
        norm_type: ``layer`` or ``rms``; see :func:`make_norm`.
        norm_eps: under the root, in the square of the features' units; GPT-2 has 1e-5.
    """

    position: Tensor | None

    def __init__(
        self,
        shape: tuple[int, ...],
        classes: int,
        vocabulary: int,
        *,
        width: PositiveInt = 64,
        depth: PositiveInt = 2,
        heads: PositiveInt = 4,
        mlp_ratio: PositiveInt = 2,
        embedding_std: PositiveFloat | Literal["fan_in"] = 0.02,
        positions: Literal["learned", "sinusoidal", "none"] = "learned",
        position_std: PositiveFloat = 0.02,
        layer_norm: LayerNorm = "pre",
        add_positions: Literal["before_norm", "after_norm"] = "before_norm",
        norm_type: NormType = "layer",
        norm_eps: NonNegativeFloat = 1e-5,
    ) -> None:
        super().__init__()
        if width % heads or width % 2:
            raise ConfigError(f"arch.width={width}: expected an even multiple of arch.heads={heads}")
        if add_positions == "after_norm" and (layer_norm != "after_embedding" or positions == "none"):
            raise ConfigError(
                f"arch.add_positions=after_norm needs arch.layer_norm=after_embedding and positions, "
                f"not arch.layer_norm={layer_norm} and arch.positions={positions}"
            )
        self.vocabulary, self.layer_norm, self.add_positions = vocabulary, layer_norm, add_positions
        self.embedding = draw_embedding(vocabulary, width, embedding_std)
        if positions == "learned":
            self.position = nn.Parameter(position_std * torch.randn(shape[1], width))
        elif positions == "sinusoidal":
            self.register_buffer("position", position_std * math.sqrt(2) * sinusoids(shape[1], width))
        else:
            self.position = None
        is_after = layer_norm == "after_embedding"
        self.embedding_norm = make_norm(norm_type, width, norm_eps) if is_after else nn.Identity()
        self.blocks = nn.ModuleList(
            Block(width, heads, mlp_ratio * width, layer_norm, norm_type, norm_eps) for _ in range(depth)
        )
        self.final_norm = make_norm(norm_type, width, norm_eps) if layer_norm == "pre" else nn.Identity()
        self.head = nn.Linear(width, classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """Token ids [B, 1, T], T at most that of ``shape``, to [B, classes]."""
        return self.head(mean_over_texts(*self.features(inputs)))

    def features(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """The features of each token after the last block and norm, [B, T, width], and which are padding, [B, T]."""
        tokens = read_tokens(inputs, self.vocabulary)
        is_padding = tokens == PAD
        x = self.embedding(tokens)
        if self.position is None:
            x = self.embedding_norm(x)
        elif self.add_positions == "after_norm":
            x = self.embedding_norm(x) + self.position[: x.shape[1]]
        else:
            x = self.embedding_norm(x + self.position[: x.shape[1]])
        # A text of padding only would make attention divide 0 by 0; its first place is then read as a token.
        is_padding = is_padding & (torch.arange(x.shape[1], device=x.device) > 0)
        for block in self.blocks:
            x = block(x, is_padding)
        return self.final_norm(x), is_padding


class Bag(nn.Module):
    """The mean of a text's embedded tokens, and a linear layer: the order of the tokens does not count.

    Joulin et al. 2017, "Bag of tricks for efficient text classification", arXiv:1607.01759, without n-grams.

    Args:
        shape: 1, T: tokens of a text.
        classes: number of outputs.
        vocabulary: number of different tokens.
        width: features of a token.
        embedding_std: standard deviation of the embedding's weights; see :func:`draw_embedding`.
        layer_norm: ``none``, or ``after_embedding``, of each token before the mean.
        norm_type: ``layer`` or ``rms``; see :func:`make_norm`.
        norm_eps: under the root, in the square of the features' units.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        classes: int,
        vocabulary: int,
        *,
        width: PositiveInt = 64,
        embedding_std: PositiveFloat | Literal["fan_in"] = 0.02,
        layer_norm: Literal["none", "after_embedding"] = "none",
        norm_type: NormType = "layer",
        norm_eps: NonNegativeFloat = 1e-5,
    ) -> None:
        super().__init__()
        self.vocabulary, self.layer_norm = vocabulary, layer_norm
        self.embedding = draw_embedding(vocabulary, width, embedding_std)
        self.embedding_norm = make_norm(norm_type, width, norm_eps) if layer_norm != "none" else nn.Identity()
        self.head = nn.Linear(width, classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """Token ids [B, 1, T] to [B, classes]."""
        tokens = read_tokens(inputs, self.vocabulary)
        return self.head(mean_over_texts(self.embedding_norm(self.embedding(tokens)), tokens == PAD))
