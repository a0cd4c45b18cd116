"""Series and recordings of unequal lengths as one tensor: padded, repeated, cropped or refused, and counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor

from normlab.errors import DataError

TooShort = Literal["zeros", "repeat", "error"]
TooLong = Literal["crop", "error"]


def equal_lengths(
    sequences: Sequence[Tensor],
    names: Sequence[str],
    length: int,
    too_short: TooShort,
    too_long: TooLong,
    option: str,
) -> tuple[Tensor, tuple[str, ...]]:
    """Sequences as one tensor, with a note for each way of changing them.

    >>> import torch
    >>> x, notes = equal_lengths([torch.arange(2.0)[None], torch.arange(5.0)[None]], "ab", 4, "repeat", "crop", "")
    >>> x.tolist(), notes
    ([[[0.0, 1.0, 0.0, 1.0]], [[0.0, 1.0, 2.0, 3.0]]], ('1 of 2 too short: repeated', '1 of 2 too long: cropped'))

    Args:
        sequences: N of them, [C, T] each, with one C.
        names: of the sequences, for messages.
        length: T of the result.
        too_short: ``zeros`` puts zeros at the end; ``repeat`` starts again from the beginning, which keeps level and
            spectrum; ``error`` refuses.
        too_long: ``crop`` keeps the beginning; ``error`` refuses.
        option: by which a user chooses the length, for messages.

    Returns:
        [N, C, length], and the notes.

    Raises:
        DataError: naming the first sequence that is refused.
    """
    output = sequences[0].new_zeros(len(sequences), len(sequences[0]), length)
    short = long = 0
    for place, (sequence, name) in enumerate(zip(sequences, names, strict=True)):
        own = sequence.shape[1]
        short, long = short + (own < length), long + (own > length)
        if own < length and too_short == "error":
            raise DataError(
                f"{name}: has {own} samples, others {length}: choose data.too_short=zeros or repeat, or {option}"
            )
        if own > length and too_long == "error":
            raise DataError(f"{name}: has {own} samples, more than {length}: choose data.too_long=crop, or {option}")
        if own < length and too_short == "repeat":
            sequence = sequence.repeat(1, -(-length // own))
        kept = min(sequence.shape[1], length)
        output[place, :, :kept] = sequence[:, :kept]
    how = {"zeros": "zeros at the end", "repeat": "repeated", "error": ""}[too_short]
    notes = [f"{short:,} of {len(sequences):,} too short: {how}"] * bool(short)
    notes += [f"{long:,} of {len(sequences):,} too long: cropped"] * bool(long)
    return output, tuple(notes)
