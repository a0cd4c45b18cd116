"""Floating point and integers: which formulas are exact, which values overflow, how much 8 bits lose.

Claims A15, A19 and A20.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, Literal

import torch
from torch import Tensor

from normlab.archs.layers import first_layer
from normlab.config import data_label
from normlab.data import dataset
from normlab.measurements.registry import measurement
from normlab.measurements.starts import fitted, network_at_start, normalized

DTYPES = {
    "float64": torch.float64,
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}
_INTEGERS = {2: torch.int16, 4: torch.int32, 8: torch.int64}

# Two formulas for one map. Each takes x = 0..255 and a function that makes constants, as floats or as fractions.
Number = Any
Form = Callable[[Number, Callable[[int, int], Number]], Number]
FORMS: dict[str, tuple[Form, Form]] = {
    "x/127.5 - 1, (x/255 - 0.5)/0.5": (
        lambda x, c: x / c(255, 2) - c(1, 1),
        lambda x, c: (x / c(255, 1) - c(1, 2)) / c(1, 2),
    ),
    "(x/255 - 0)/1, x/255": (
        lambda x, c: (x / c(255, 1) - c(0, 1)) / c(1, 1),
        lambda x, c: x / c(255, 1),
    ),
    "x * (1/255), x/255": (
        lambda x, c: x * (c(1, 1) / c(255, 1)),
        lambda x, c: x / c(255, 1),
    ),
}


def ulps_apart(first: Tensor, second: Tensor) -> Tensor:
    """Distance of two float tensors, elementwise, counted in numbers of their type, int64; 0 and -0 are one number.

    The bits of a float, read as an integer, count the floats of its sign in order (IEEE 754).

    >>> ulps_apart(torch.tensor([1.0, -0.0]), torch.tensor([1 + 2**-23, 0.0]))
    tensor([1, 0])
    """
    places = []
    for values in (first, second):
        bits = values.view(_INTEGERS[values.element_size()]).to(torch.int64)
        lowest = -(2 ** (8 * values.element_size() - 1))
        places.append(torch.where(bits < 0, lowest - bits, bits))
    return (places[0] - places[1]).abs()


@measurement
def formula_differences(*, dtypes: Sequence[str] = tuple(DTYPES)) -> list[dict[str, Any]]:
    """Differences between two formulas for one normalization, over all 256 values of a pixel.

    Returns:
        A row for each pair and type; ``exact`` is the type of fractions. ``different``: number of values at which the
        two formulas differ; ``ulps``: their largest distance, counted in numbers of the type; ``epsilons``: their
        largest distance in units of the type's epsilon, the gap above 1 (in exact arithmetic, the plain difference).
    """
    rows = []
    for pair, forms in FORMS.items():
        exact = [[form(Fraction(x), Fraction) for x in range(256)] for form in forms]
        gaps = [abs(one - other) for one, other in zip(*exact, strict=True)]
        rows.append(
            {
                "pair": pair,
                "dtype": "exact",
                "different": sum(gap != 0 for gap in gaps),
                "ulps": 0,
                "epsilons": float(max(gaps)),
            }
        )
        for name in dtypes:
            first, second = (_computed(form, DTYPES[name]) for form in forms)
            distance = (first.double() - second.double()).abs().max().item()
            rows.append(
                {
                    "pair": pair,
                    "dtype": name,
                    "different": int((first != second).sum()),
                    "ulps": int(ulps_apart(first, second).max()),
                    "epsilons": distance / torch.finfo(DTYPES[name]).eps,
                }
            )
    return rows


def _computed(form: Form, dtype: torch.dtype) -> Tensor:
    """The formula with every operation rounded to the type; its constants, but 1/255, are exact."""
    return form(torch.arange(256).to(dtype), lambda p, q: torch.tensor(p / q, dtype=dtype))


@measurement
def exponentials(
    *, arguments: Sequence[float] = (10.0, 100.0, 1000.0), dtypes: Sequence[str] = tuple(DTYPES)
) -> list[dict[str, Any]]:
    """Arguments at which exp leaves the range of a type.

    Returns:
        A row for each type and argument: ``largest``, the logarithm of the type's largest number; ``overflows``, 1 if
        exp(argument), rounded to the type, is infinite.
    """
    rows = []
    for name in dtypes:
        dtype = DTYPES[name]
        largest = torch.tensor(torch.finfo(dtype).max, dtype=torch.float64).log().item()
        for argument in arguments:
            exponential = torch.tensor(argument, dtype=dtype).exp()
            rows.append(
                {"dtype": name, "argument": argument, "largest": largest, "overflows": int(exponential.isinf().item())}
            )
    return rows


@measurement
def overflowing_outputs(
    *,
    data: dict[str, Any],
    arch: dict[str, Any],
    norms: Sequence[str] = ("raw", "unit", "inception", "dataset"),
    dtypes: Sequence[str] = ("float32", "float16", "bfloat16"),
    images: int = 256,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Overflows in a network at its start, computed in one type throughout, with the same weights in every row.

    Returns:
        A row for each scheme and type. ``input`` and ``output``: the largest absolute normalized pixel and class
        score; as shares: ``input_exp``, pixels whose plain exp is infinite; ``first_layer``, outputs of the first
        layer that are not finite; ``scores``, scores that are not finite; ``score_exp``, scores whose plain exp is not
        finite; ``softmax``, scores whose softmax is not finite (computed in the type, from differences to the largest
        score, as in libraries).
    """
    loaded = dataset(**data)
    rows = []
    for name in norms:
        norm = fitted(loaded, name)
        with torch.no_grad():
            x = norm(loaded.train.images[:images])
        for type_name in dtypes:
            dtype = DTYPES[type_name]
            body = network_at_start(loaded, norm, arch, seed).body.to(memory_format=torch.contiguous_format)
            body = body.to(dtype).eval()
            first: list[Tensor] = []
            first_layer(body).register_forward_hook(lambda _, __, output, first=first: first.append(output))
            with torch.no_grad():
                pixels = x.to(dtype)
                scores = body(pixels)
                softmax = torch.softmax(scores, 1)
            rows.append(
                {
                    "data": data_label(data),
                    "arch": arch["name"],
                    "norm": name,
                    "dtype": type_name,
                    "input": pixels.abs().max().item(),
                    "output": scores.abs().max().item(),
                    "input_exp": _not_finite(pixels.exp()),
                    "first_layer": _not_finite(first[0]),
                    "scores": _not_finite(scores),
                    "score_exp": _not_finite(scores.exp()),
                    "softmax": _not_finite(softmax),
                }
            )
    return rows


def _not_finite(values: Tensor) -> float:
    return (~values.isfinite()).double().mean().item()


Mode = Literal["affine", "min-max", "symmetric"]
MODES: tuple[Mode, ...] = ("affine", "min-max", "symmetric")


def quantized(values: Tensor, low: float, high: float, *, bits: int = 8, mode: Mode = "affine") -> Tensor:
    """Values rounded to the integers of a few bits and back, q -> S (q - Z) (Jacob et al. 2018, eq. 1), float64.

    ``affine`` spreads all 2^bits levels over [low, high], widened to contain 0, with an integer zero-point Z, so that 0
    is exact. ``min-max`` allows any real Z, so that both ends are exact. ``symmetric`` has Z = 0 and spreads 2^bits - 1
    levels over [-m, m], with m the larger of |low| and |high|.

    >>> quantized(torch.tensor([0.2, 0.4, 1.0]), 0.2, 1.0, bits=1, mode="min-max").tolist()
    [0.2, 0.2, 1.0]

    Args:
        values: of any shape.
        low: smallest value of the range.
        high: largest value of the range, above ``low``.
        bits: at least 1, or 2 if symmetric.
        mode: see above.
    """
    values = values.double()
    if mode == "symmetric":
        most = 2 ** (bits - 1) - 1
        scale = max(-low, high) / most
        return scale * (values / scale).round().clamp(-most, most)
    levels = 2**bits - 1
    if mode == "min-max":
        scale = (high - low) / levels
        return low + scale * ((values - low) / scale).round().clamp(0, levels)
    low, high = min(low, 0.0), max(high, 0.0)
    scale = (high - low) / levels
    zero = round(-low / scale)
    return scale * ((values / scale + zero).round().clamp(0, levels) - zero)


@measurement
def quantization_errors(
    *,
    data: dict[str, Any],
    norms: Sequence[str] = ("raw", "unit", "inception", "imagenet", "dataset", "per_image", "zca"),
    bits: int = 8,
) -> list[dict[str, Any]]:
    """The error of the input tensor by quantization, with ranges from training images and errors on test images.

    Returns:
        A row for each scheme, mode (see :func:`quantized`) and range (of the whole ``tensor``, or of each ``channel``):
        ``error``, the root mean square error as a share of the standard deviation of all inputs; ``error_to_range``, as
        a share of the whole range; ``advantage``, the error of ``raw`` in the same mode and range minus this one:
        positive where the scheme is better.

    Raises:
        ConfigError: for an unknown scheme.
        DataError: from a scheme that cannot be fitted on these images.
    """
    loaded = dataset(**data)
    rows = []
    raw: dict[tuple[str, str], float] = {}
    for name in dict.fromkeys(["raw", *norms]):
        norm = fitted(loaded, name)
        train, test = (normalized(norm, part.images).transpose(0, 1) for part in (loaded.train, loaded.test))
        for mode in MODES:
            for part in ("tensor", "channel"):
                pieces = zip(train, test, strict=True) if part == "channel" else [(train, test)]
                squares = torch.cat(
                    [
                        (quantized(b, a.min().item(), a.max().item(), bits=bits, mode=mode) - b).square().flatten()
                        for a, b in pieces
                    ]
                )
                rms = squares.mean().sqrt()
                error = (rms / test.std(correction=0)).item()
                advantage = raw.setdefault((mode, part), error) - error
                if name in norms:
                    rows.append(
                        {
                            "data": data_label(data),
                            "norm": name,
                            "bits": bits,
                            "mode": mode,
                            "range": part,
                            "error": error,
                            "error_to_range": (rms / (test.max() - test.min())).item(),
                            "advantage": advantage,
                        }
                    )
    return rows
