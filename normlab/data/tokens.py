"""Texts cut into tokens: the vocabulary comes from the training texts, and what was cut or unknown is counted."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from torch import Tensor

from normlab.errors import DataError

PAD, UNKNOWN = 0, 1  # ids of the two special tokens, which come first in every vocabulary
SPECIAL = ("[PAD]", "[UNK]")

Pieces = Literal["words", "bpe"]


@dataclass(frozen=True)
class Tokenization:
    """How texts become tokens.

    Attributes:
        tokens: ``words``, runs of letters and digits or of other signs, without spaces; ``bpe``, pieces of words by
            byte-pair encoding (Sennrich et al. 2016, arXiv:1508.07909).
        vocabulary: largest number of different tokens, with padding and the unknown token.
        min_count: a token (of ``bpe``, a pair of pieces) that is rarer in the training texts is left out.
        lowercase: change all letters to small ones first.
        length: tokens of a text; what is longer is cut at the end, what is shorter is padded.
    """

    tokens: Pieces = "words"
    vocabulary: int = 4000
    min_count: int = 2
    lowercase: bool = True
    length: int = 64


@dataclass(frozen=True)
class Texts:
    """Texts that are not cut into tokens yet."""

    texts: tuple[str, ...]
    how: Tokenization

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, places: Sequence[int]) -> Texts:
        """The texts at these positions."""
        return Texts(tuple(self.texts[place] for place in places), self.how)

    @property
    def digest(self) -> str:
        """Hash of the texts in their order, without the way to cut them."""
        digest = hashlib.blake2b(digest_size=16)
        for text in self.texts:
            encoded = text.encode()
            digest.update(f"{len(encoded)}\n".encode() + encoded)
        return digest.hexdigest()


@dataclass(frozen=True)
class Encoded:
    """Texts as tokens.

    Attributes:
        ids: int32 [N, 1, T], filled up with ``PAD``.
        sizes: tokens of each text before it was cut, int64 [N].
        unknown: share of the tokens in ``ids`` that are not in the vocabulary.
    """

    ids: Tensor
    sizes: Tensor
    unknown: float

    @property
    def cut(self) -> int:
        """Number of texts that were cut."""
        return int((self.sizes > self.ids.shape[2]).sum())


def learn(texts: Texts) -> Tokenizer:
    """The tokenizer of these texts, which are to be training texts only.

    The more frequent token comes first, and of equally frequent ones the earlier in the order of code points, so that
    the same texts give the same ids.

    Raises:
        DataError: if no token is frequent enough, or the vocabulary has no room for any.
    """
    how = texts.how
    if how.vocabulary <= len(SPECIAL):
        raise DataError(
            f"data.vocabulary={how.vocabulary}: padding and the unknown token take {len(SPECIAL)}; give more"
        )
    model = (
        models.WordLevel(unk_token=SPECIAL[UNKNOWN])
        if how.tokens == "words"
        else models.BPE(unk_token=SPECIAL[UNKNOWN])
    )
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), *([normalizers.Lowercase()] * how.lowercase)])
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    kind = trainers.WordLevelTrainer if how.tokens == "words" else trainers.BpeTrainer
    trainer = kind(
        vocab_size=how.vocabulary, min_frequency=how.min_count, special_tokens=list(SPECIAL), show_progress=False
    )
    tokenizer.train_from_iterator(texts.texts, trainer)
    _take_as_text(tokenizer)
    if tokenizer.get_vocab_size() <= len(SPECIAL):
        raise DataError(
            f"data.min_count={how.min_count}: no token occurs so often in {len(texts):,} training texts; lower it"
        )
    return tokenizer


def restore(saved: str) -> Tokenizer:
    """The tokenizer of a checkpoint, from its JSON text."""
    tokenizer = Tokenizer.from_str(saved)
    _take_as_text(tokenizer)
    return tokenizer


def _take_as_text(tokenizer: Tokenizer) -> None:
    # Otherwise a message that says "[PAD]" would hold the padding.
    tokenizer.encode_special_tokens = True


def encode(tokenizer: Tokenizer, texts: Sequence[str], length: int) -> Encoded:
    """Texts as tokens.

    Raises:
        DataError: for a text without a token.
    """
    ids = torch.full((len(texts), 1, length), PAD, dtype=torch.int32)
    sizes = torch.zeros(len(texts), dtype=torch.int64)
    for row, encoding in enumerate(tokenizer.encode_batch_fast(list(texts))):
        tokens = encoding.ids
        if not tokens:
            raise DataError(f"the text {texts[row]!r} holds no token: remove it")
        sizes[row] = len(tokens)
        ids[row, 0, : len(tokens)] = torch.tensor(tokens[:length], dtype=torch.int32)
    return Encoded(ids, sizes, ((ids == UNKNOWN).sum() / (ids != PAD).sum()).item())


def encode_splits(splits: Mapping[str, Texts]) -> tuple[dict[str, Encoded], Tokenizer, list[str]]:
    """All splits as tokens of the vocabulary of ``train``.

    Returns:
        The tokens of each split, the tokenizer, and notes: the size of the vocabulary, what is unknown, what was cut.
    """
    train = splits["train"]
    tokenizer = learn(train)
    encoded = {name: encode(tokenizer, texts.texts, texts.how.length) for name, texts in splits.items()}
    return encoded, tokenizer, list(_notes(encoded, tokenizer, train.how))


def _notes(encoded: Mapping[str, Encoded], tokenizer: Tokenizer, how: Tokenization) -> Sequence[str]:
    shares = ", ".join(f"{part.unknown:.1%} of {_NAMES[name]}" for name, part in encoded.items())
    notes = [f"vocabulary of {tokenizer.get_vocab_size():,} tokens from the training texts; unknown: {shares}"]
    if any(part.cut for part in encoded.values()):
        counts = ", ".join(
            f"{part.cut:,} of {len(part.sizes):,} {_NAMES[name]} texts" for name, part in encoded.items()
        )
        longest = max(int(part.sizes.max()) for part in encoded.values())
        notes.append(f"cut to data.length={how.length} tokens: {counts}; the longest has {longest:,}")
    return notes


_NAMES = {"train": "training", "validation": "validation", "test": "test"}
