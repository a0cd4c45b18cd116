"""The network that a run trains: a normalization, then an architecture."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from normlab.archs.layers import Shape, first_layer
from normlab.config import Arch
from normlab.data.tokens import encode, restore
from normlab.errors import ConfigError, DataError, first_line
from normlab.inputs import Target
from normlab.norms import Front, Normalization

if TYPE_CHECKING:
    from normlab.data import Dataset


class Network(nn.Module):
    """Inputs as stored in, scores out: the normalization is the first layer.

    Attributes:
        norm: the scheme, fitted.
        body: the architecture.
        input_shape: C and positions of the inputs; C, H, W of images.
        input_type: of the inputs, see :mod:`normlab.inputs`.
        normalized_shape: of the body's input; None: measured by applying the scheme to one input.
        classes: names of the outputs.
        tokenizer: of texts, as JSON text; see :attr:`normlab.data.Dataset.tokenizer`.
        target: of a regression, how its labels are standardized.
        forecasts: whether the output is a later value of the input, whose normalization is then undone.
        front: the settings of the front end that the scheme holds, of recordings.
    """

    image_size: int | None = None  # to which images were resized, of a loaded network; None: they were not

    def __init__(
        self,
        norm: Normalization,
        arch: Arch,
        input_shape: Shape,
        classes: tuple[str, ...],
        normalized_shape: Shape | None = None,
        input_type: torch.dtype = torch.uint8,
        tokenizer: str | None = None,
        target: Target | None = None,
        front: Front | None = None,
        forecasts: bool = False,
    ) -> None:
        super().__init__()
        self.norm, self.input_shape, self.classes, self.input_type = norm, input_shape, classes, input_type
        self.tokenizer, self.target, self.front, self.forecasts = tokenizer, target, front, forecasts
        vocabulary = _vocabulary(arch, tokenizer)
        if normalized_shape is None:
            with torch.no_grad():
                normalized_shape = tuple(norm(torch.zeros(1, *input_shape, dtype=input_type)).shape[1:])
        self.normalized_shape = normalized_shape
        self.body: nn.Module = arch.build(normalized_shape, len(classes), *vocabulary)
        if arch.first_layer_scale != 1:
            first_layer(self.body).weight.data *= arch.first_layer_scale
        self._try(arch.name)
        self.channels_last = bool(getattr(self.body, "channels_last", False))
        if self.channels_last:
            self.body.to(memory_format=torch.channels_last)

    @classmethod
    def for_data(cls, norm: Normalization, arch: Arch, data: Dataset) -> Network:
        """The network for a data set: what it takes and gives is what the data have.

        Raises:
            ConfigError: if the architecture cannot take such inputs.
        """
        return cls(
            norm,
            arch,
            data.shape,
            data.classes,
            input_type=data.input_type,
            tokenizer=data.tokenizer,
            target=data.target,
            front=data.front,
            forecasts=data.forecasts,
        )

    def _try(self, name: str) -> None:
        """Refuse images that the architecture cannot take, before training starts."""
        training = self.body.training
        try:
            with torch.no_grad():
                self.body.eval()(torch.zeros(1, *self.normalized_shape))
        except (RuntimeError, ValueError, AssertionError, IndexError) as error:
            shape = "x".join(map(str, self.normalized_shape))
            raise ConfigError(f"arch={name} cannot take images of {shape}: {first_line(error)}") from error
        self.body.train(training)

    def forward(self, inputs: Tensor) -> Tensor:
        """[B, C, *positions] to scores [B, classes]; of a regression, to numbers in the unit of the labels, [B, 1].

        Raises:
            DataError: for inputs of another type, whose range may be another too.
        """
        scores = self.scores(inputs)
        return scores if self.target is None else self.target.restored(scores)

    def scores(self, inputs: Tensor) -> Tensor:
        """What the loss takes: scores [B, classes]; of a regression, standardized numbers [B, 1].

        Raises:
            DataError: for inputs of another type, whose range may be another too.
        """
        if inputs.dtype != self.input_type:
            expected, given = (str(dtype).removeprefix("torch.") for dtype in (self.input_type, inputs.dtype))
            raise DataError(f"this network takes inputs of {expected}, not {given}")
        if self.channels_last and inputs.ndim == 4:
            # Rearranged as stored, because float32 would move four times as many bytes as uint8.
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        # The statistics need full precision; mixed precision is for the body only.
        device = inputs.device.type
        with torch.autocast(device, enabled=False) if torch.is_autocast_enabled(device) else nullcontext():
            normalized = self.norm(inputs)
        scores = self.body(normalized)
        if not self.forecasts:
            return scores
        assert self.target is not None
        return self.target.standardized(self.norm.denormalize(scores[..., None], inputs)[..., 0])

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Texts as the tokens that this network was trained on, int32 [N, 1, T].

        Raises:
            DataError: if the network takes no texts, or a text holds no token.
        """
        if self.tokenizer is None:
            raise DataError("this network takes no texts")
        return encode(restore(self.tokenizer), texts, self.input_shape[1]).ids


def _vocabulary(arch: Arch, tokenizer: str | None) -> tuple[int, ...]:
    """What a network for texts takes beyond shape and classes: the number of different tokens.

    Raises:
        ConfigError: for a network that takes tokens without texts, or the other way round.
    """
    takes_tokens = arch.takes("vocabulary")
    if takes_tokens and tokenizer is None:
        raise ConfigError(f"arch={arch.name} takes texts: choose such data, as data=sms_like, sms or text")
    if tokenizer is not None and not takes_tokens:
        raise ConfigError(f"arch={arch.name} takes no texts: use arch=text_transformer or arch=bag")
    return () if tokenizer is None else (restore(tokenizer).get_vocab_size(),)
