"""What the schemes gather of inputs in one pass: sums, extremes, values, second moments; each is exact for integers.

A summary has an entry for each of the statistics that it is for: it keeps the dimensions of the inputs, those that were
summed up with a length of 1, so that an entry broadcasts against the inputs. Summaries of parts add up with ``+``.

8- and 16-bit integers are summed as integers. For int32 and float32 the mean, counted from one of the numbers, and the
centered sum of squares are kept in float64 and merged by the formula of Chan, Golub & LeVeque 1983, "Algorithms for
computing the sample variance", eq. 2.1, which is as accurate as two passes: relative errors stay below 1e-12.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from normlab.errors import DataError
from normlab.inputs import EXACT_TYPES, comparable

MAX_KEPT_VALUES = 2**27  # of int32 and float32 inputs, for percentiles; sorting them takes 2 GiB
MAX_COUNTED_LEVELS = 2**25  # entries of a histogram, 0.25 GiB


def image_sums(images: Tensor) -> tuple[Tensor, Tensor]:
    """Sum of x and of x^2 over the positions of each sample and channel.

    Args:
        images: integers of up to 16 bits, [B, C, *positions].

    Returns:
        Two int64 tensors [B, C], exact.
    """
    sums = Sums.of(images, range(2, images.ndim))
    return sums.first.flatten(1), sums.second.flatten(1)


def mean_and_std(
    count: int | Tensor, total: Tensor, squares: Tensor, black: float | Tensor = 0, span: float | Tensor = 255
) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (ddof 0) in units of u = (x - black)/span, from exact sums of x and x^2.

    The sums are first shifted, as integers, by the integer part of the mean. So no digits cancel, and a constant input
    gives a standard deviation of exactly zero.

    >>> x = torch.tensor([0, 255, 255, 0])
    >>> mean_and_std(4, x.sum(), (x * x).sum())
    (tensor(0.5000, dtype=torch.float64), tensor(0.5000, dtype=torch.float64))

    Args:
        count: n, how many numbers were summed.
        total: int64, sum of x.
        squares: int64, sum of x^2.
        black: see :mod:`normlab.inputs`; the default is that of 8 bits.
        span: white - black.
    """
    n = torch.as_tensor(count, device=total.device)
    whole = torch.div(total, n, rounding_mode="floor")
    rest = total - n * whole  # sum of (x - whole), in 0..n-1
    centered_squares = squares - 2 * whole * total + n * whole * whole  # sum of (x - whole)^2
    mean = (whole + rest / n.to(torch.float64) - black) / span
    offset = rest.to(torch.float64) / n
    variance = centered_squares.to(torch.float64) / n - offset * offset
    return mean, variance.clamp(min=0).sqrt() / span


@dataclass(frozen=True)
class Sums:
    """What the mean and the variance of some numbers follow from.

    Attributes:
        count: how many numbers each entry sums; a tensor that broadcasts where it differs.
        first: int64, sum of x; of int32 and float32 inputs, float64, mean of x - start.
        second: int64, sum of x^2; of int32 and float32 inputs, float64, sum of (x - mean)^2.
        start: one of the numbers, from which float64 means are counted, so that none of their digits are lost.
    """

    count: int | Tensor
    first: Tensor
    second: Tensor
    start: Tensor

    @classmethod
    def of(cls, inputs: Tensor, dims: Sequence[int]) -> Sums:
        """Sums over these dimensions of inputs [B, C, *positions]."""
        dims = tuple(dims)
        count = math.prod([inputs.shape[dim] for dim in dims])  # a list, which every release of torch can export
        x, start = cls._wide(inputs, dims)
        if x.dtype.is_floating_point:
            mean = x.mean(dims, keepdim=True) if dims else x
            squares = (x - mean).square()
            return cls(count, mean, squares.sum(dims, keepdim=True) if dims else squares, start)
        # A square of 8 bits is below 2^16, and as many of them as this fit into 32 bits.
        short = 2**31 // 255**2 if inputs.dtype == torch.uint8 else 0
        return cls(count, exact_sum(x, dims, short), exact_sum(x * x, dims, short), start)

    @classmethod
    def sliding(cls, inputs: Tensor, begin: Tensor, end: Tensor) -> Sums:
        """Sums over a window of the last dimension for each of its places.

        Of floats, by differences of cumulative sums: a variance errs by about 1e-16 T times the largest squared
        distance to the first place.

        Args:
            inputs: [B, C, *positions], T places in the last dimension.
            begin: of the window for each place, int64 [T].
            end: one past its last place, int64 [T].
        """
        x, start = cls._wide(inputs, (inputs.ndim - 1,))
        x = x if x.dtype.is_floating_point else x.to(torch.int64)

        def within(values: Tensor) -> Tensor:
            cumulative = torch.cat([torch.zeros_like(values[..., :1]), values.cumsum(-1)], -1)
            return cumulative[..., end] - cumulative[..., begin]

        count, total, squares = end - begin, within(x), within(x * x)
        if not x.dtype.is_floating_point:
            return cls(count, total, squares, start)
        mean = total / count
        return cls(count, mean, (squares - count * mean * mean).clamp(min=0), start)

    @staticmethod
    def _wide(inputs: Tensor, dims: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """The inputs in a type that holds their squares, and what was subtracted: of floats, the first number.

        So equal numbers become zeros, and their variance is exactly 0.
        """
        if inputs.dtype in EXACT_TYPES:
            x = inputs.to(torch.int64 if inputs.dtype == torch.uint16 else torch.int32)
            return x, x.new_zeros(())
        x = inputs.to(torch.float64)
        start = x
        for dim in dims:
            start = start.narrow(dim, 0, 1)
        return x - start, start

    @property
    def is_exact(self) -> bool:
        """Whether these are sums of integers."""
        return not self.first.dtype.is_floating_point

    def pooled(self, dim: int) -> Sums:
        """The sums of all numbers along a dimension of the entries, which keeps a length of 1."""
        count = self.count * self.first.shape[dim]
        second = self.second.sum(dim, keepdim=True)
        if self.is_exact:
            return Sums(count, self.first.sum(dim, keepdim=True), second, self.start)
        start = self.start.narrow(dim, 0, 1)
        means = (self.start - start) + self.first
        mean = means.mean(dim, keepdim=True)
        return Sums(count, mean, second + (means - mean).square().sum(dim, keepdim=True) * self.count, start)

    @classmethod
    def cat(cls, parts: Sequence[Sums]) -> Sums:
        """The entries of sums of equal counts, one after the other along the first dimension."""
        first, second = (torch.cat([getattr(part, name) for part in parts]) for name in ("first", "second"))
        exact = parts[0].is_exact
        return cls(parts[0].count, first, second, parts[0].start if exact else torch.cat([p.start for p in parts]))

    def __getitem__(self, index: Tensor) -> Sums:
        start = self.start if self.is_exact else self.start[index]
        return Sums(self.count, self.first[index], self.second[index], start)

    def __add__(self, other: Sums) -> Sums:
        """The sums of both sets of numbers."""
        count = self.count + other.count
        if self.is_exact:
            return Sums(count, self.first + other.first, self.second + other.second, self.start)
        apart = (other.start - self.start) + other.first - self.first
        mean = self.first + apart * (other.count / count)
        between = apart.square() * (self.count * other.count / count)
        return Sums(count, mean, self.second + other.second + between, self.start)

    def mean_and_std(self, black: float | Tensor, span: float | Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation (ddof 0), float64, in units of u = (x - black)/span."""
        if self.is_exact:
            return mean_and_std(self.count, self.first, self.second, black, span)
        return (self.start - black + self.first) / span, (self.second / self.count).sqrt() / span


def exact_sum(x: Tensor, dims: tuple[int, ...], short: int) -> Tensor:
    """The sum over some dimensions, which keep a length of 1, int64.

    Args:
        x: integers.
        dims: rising.
        short: how many numbers can be summed in 32 bits, which is six times as fast as in 64; 0: none, not even one.
    """
    inner, count = len(dims), 1
    while inner and count * x.shape[dims[inner - 1]] <= short:
        inner, count = inner - 1, count * x.shape[dims[inner - 1]]
    if short and dims[inner:]:
        x = x.sum(dims[inner:], keepdim=True, dtype=torch.int32)
    return x.sum(dims[:inner], keepdim=True, dtype=torch.int64) if dims[:inner] else x.to(torch.int64)


@dataclass(frozen=True)
class Extremes:
    """The smallest and the largest of some numbers."""

    low: Tensor
    high: Tensor

    @classmethod
    def of(cls, inputs: Tensor, dims: Sequence[int]) -> Extremes:
        """Over these dimensions of inputs [B, C, *positions]."""
        x, dims = comparable(inputs), tuple(dims)
        if not dims:
            return cls(x, x)
        if dims == tuple(range(dims[0], x.ndim)):  # several times faster over one dimension than over many
            rows = x.reshape(*x.shape[: dims[0]], -1)
            ends = (end.reshape(*end.shape, *[1] * len(dims)) for end in torch.aminmax(rows, dim=-1))
            return cls(*ends)
        return cls(x.amin(dims, keepdim=True), x.amax(dims, keepdim=True))

    def __add__(self, other: Extremes) -> Extremes:
        return Extremes(torch.minimum(self.low, other.low), torch.maximum(self.high, other.high))

    def in_u(self, black: float | Tensor, span: float | Tensor) -> tuple[Tensor, Tensor]:
        """Both, float64, in units of u = (x - black)/span."""
        return (self.low.to(torch.float64) - black) / span, (self.high.to(torch.float64) - black) / span


@dataclass(frozen=True)
class Values:
    """All values of some numbers: of 8- and 16-bit integers how often each level occurs, of others the numbers.

    Attributes:
        shape: of the entries.
        lowest: the level that the first column of ``counts`` counts.
        counts: int64 [entries, levels], or None.
        kept: float32 or float64 [entries, n] each.
        ignores: whether infinity among the kept stands for a number that does not count.
    """

    shape: tuple[int, ...]
    lowest: int = 0
    counts: Tensor | None = None
    kept: tuple[Tensor, ...] = ()
    ignores: bool = False

    @classmethod
    def of(cls, inputs: Tensor, dims: Sequence[int], ignore: float | None = None) -> Values:
        """Over these dimensions of inputs [B, C, *positions].

        Args:
            inputs: finite.
            dims: with 0, the summary is for more batches to come, and integers are counted.
            ignore: a value that does not count, in units of x.

        Raises:
            DataError: if more than MAX_KEPT_VALUES numbers would have to be kept.
        """
        dims = tuple(dims)
        others = [dim for dim in range(inputs.ndim) if dim not in dims]
        shape = tuple(1 if dim in dims else inputs.shape[dim] for dim in range(inputs.ndim))
        rows = inputs.permute(*others, *dims).reshape(math.prod(shape), -1)
        if 0 in dims and inputs.dtype in EXACT_TYPES:
            limits = torch.iinfo(inputs.dtype)
            levels = limits.max - limits.min + 1
            if len(rows) * levels <= MAX_COUNTED_LEVELS:
                places = rows.to(torch.int64) + (
                    torch.arange(len(rows), device=rows.device)[:, None] * levels - limits.min
                )
                counts = torch.bincount(places.flatten(), minlength=len(rows) * levels).reshape(-1, levels)
                if ignore is not None and ignore.is_integer() and limits.min <= ignore <= limits.max:
                    counts[:, int(ignore) - limits.min] = 0
                return cls(shape, limits.min, counts)
        numbers = rows.to(torch.float64 if inputs.dtype == torch.int32 else torch.float32)
        if ignore is not None:
            numbers = numbers.masked_fill(numbers == ignore, math.inf)
        return cls(shape, kept=(numbers,), ignores=ignore is not None)._checked()

    def _checked(self) -> Values:
        if (count := sum(part.numel() for part in self.kept)) > MAX_KEPT_VALUES:
            raise DataError(
                f"exact percentiles of these inputs keep every value in memory, and {count:,} are more than "
                f"{MAX_KEPT_VALUES:,}: give data.limit=N, or inputs of 8 or 16 bits, of which the levels are counted"
            )
        return self

    def __add__(self, other: Values) -> Values:
        if self.counts is not None and other.counts is not None:
            return replace(self, counts=self.counts + other.counts)
        return replace(self, kept=self.kept + other.kept)._checked()

    def levels(self) -> tuple[Tensor, Tensor]:
        """Distinct or repeated values in rising order, float64 [entries or 1, L], and how often each counts, [.., L].

        Raises:
            DataError: if an entry has no value that counts.
        """
        if self.counts is not None:
            values = torch.arange(self.counts.shape[1], dtype=torch.float64, device=self.counts.device) + self.lowest
            values, weights = values[None], self.counts
        else:
            values = torch.cat(self.kept, 1).sort(1).values
            weights = (values.isfinite() if self.ignores else torch.ones_like(values)).to(torch.int64)
        if not weights.any(1).all():
            raise DataError("no value is left besides norm.ignore: statistics need at least one")
        return values, weights

    def quantiles(self, shares: Tensor, black: float | Tensor = 0, span: float | Tensor = 1) -> Tensor:
        """Quantiles with linear interpolation between ranks, numpy's default, float64 [K, *shape], in units of u.

        Hyndman & Fan 1996, "Sample quantiles in statistical packages", definition 7. NaN among the numbers gives NaN.

        Args:
            shares: [K], 0 to 1.
            black: see :meth:`Sums.mean_and_std`.
            span: white - black.
        """
        values, weights = self.levels()
        upto = weights.cumsum(1)  # [entries, L]
        rank = (upto[:, -1:] - 1) * shares.to(values.device, torch.float64)  # [entries, K]
        low = rank.floor()

        def at(position: Tensor) -> Tensor:
            column = torch.searchsorted(upto, position.to(torch.int64), right=True).clamp(max=values.shape[1] - 1)
            return values.expand(len(upto), -1).gather(1, column).to(torch.float64)

        below, above = at(low), at(torch.minimum(low + 1, upto[:, -1:] - 1))
        x = below + (above - below) * (rank - low)
        if self.counts is None:
            x = torch.where(values[:, -1:].isnan(), math.nan, x)  # NaN is sorted last
        return ((x - black) / span).T.reshape(len(shares), *self.shape)

    def mean_and_std(self, black: float | Tensor, span: float | Tensor) -> tuple[Tensor, Tensor]:
        """See :meth:`Sums.mean_and_std`; [*shape] each."""
        values, weights = self.levels()
        count = weights.sum(1)
        if self.counts is not None:
            whole = values.to(torch.int64)
            pair = mean_and_std(count, (weights * whole).sum(1), (weights * whole * whole).sum(1), black, span)
        else:
            start = values[:, :1].to(torch.float64)
            offsets = torch.where(weights > 0, values - start, 0.0)
            offset = offsets.sum(1, keepdim=True) / count[:, None]
            squares = (torch.where(weights > 0, offsets - offset, 0.0)).square().sum(1)
            pair = ((start + offset)[:, 0] - black) / span, (squares / count).sqrt() / span
        return pair[0].reshape(self.shape), pair[1].reshape(self.shape)


class SecondMoment:
    """Mean and covariance of D features over rows of inputs [N, D].

    Rows of uint8 are shifted by 128, so that a product is at most 2^14 and the sum of 1,024 of them at most 2^24: a
    float32 matrix product over such a block is exact, and twice as fast as one in float64. Rows of another type are
    shifted by their first row and multiplied in float64: products of 16-bit integers are exact below 2^53.
    """

    BLOCK = 1024

    def __init__(self, rows: Tensor) -> None:
        self.rows = 0
        self.shift = torch.full(rows.shape[1:], 128.0).double() if rows.dtype == torch.uint8 else rows[0].double().cpu()
        self.total = torch.zeros(rows.shape[1], dtype=torch.float64)
        self.products = torch.zeros(0, dtype=torch.float64)  # [D, D] as soon as a block is full
        self._waiting = [rows.cpu()]

    def __iadd__(self, other: SecondMoment) -> SecondMoment:
        """Take in the rows of another, which has not been added up yet."""
        self._waiting += other._waiting
        if sum(map(len, self._waiting)) >= self.BLOCK:
            self._flush()
        return self

    def _flush(self) -> None:
        if not self._waiting:
            return
        if not len(self.products):
            self.products = torch.zeros(len(self.total), len(self.total), dtype=torch.float64)
        for block in torch.cat(self._waiting).split(self.BLOCK):
            is_short = block.dtype == torch.uint8
            centered = block.to(torch.float32) - 128 if is_short else block.to(torch.float64) - self.shift
            self.products += centered.T @ centered
            self.total += centered.sum(0)
            self.rows += len(block)
        self._waiting = []

    def statistics(self, black: float | Tensor = 0, span: float | Tensor = 255) -> tuple[Tensor, Tensor]:
        """Mean [D] and covariance [D, D] (ddof 0), float64, in units of u = (x - black)/span and of u^2."""
        self._flush()
        mean = self.total / self.rows
        covariance = self.products / self.rows - torch.outer(mean, mean)
        return (mean + self.shift - black) / span, covariance / span**2
