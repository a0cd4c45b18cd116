"""Statistics of labeled texts: classes, lengths, vocabulary, what would be unknown, what is repeated."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tabulate import tabulate
from tokenizers import Tokenizer

from normlab.config import Data, defaults, parse_group
from normlab.data.splits import Source, split
from normlab.data.text import read_texts
from normlab.data.tokens import SPECIAL, Texts, encode, learn
from normlab.errors import DataError

UNEVEN = 0.8  # share of the largest class from which accuracy alone says little
LONG = 0.05  # share of cut texts that is worth a sentence
UNKNOWN_SHARE = 0.1  # of the test texts' tokens
EVIDENCE = "results/text_scales in normlab's repository"


def two_columns(path: Path, **options: Any) -> tuple[str, str]:
    """The names of the columns of labels and of texts in a file of two columns: labels have fewer different values.

    Args:
        path: of the file.
        options: of :func:`normlab.data.text.read_texts`, without ``label`` and ``text``.

    Raises:
        DataError: unless the file has two columns, one of which repeats its values.
    """
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        names = file.readline().rstrip("\r\n").split("\t")
    if len(names) != 2:
        raise DataError(
            f"{path.name}: {len(names)} columns; name those of labels and of texts: "
            f"data=text data.root={path.name} data.label=COLUMN data.text=COLUMN"
        )
    first, second, _ = read_texts(path, names[0], names[1], skip_empty=True, **options)
    distinct = len(set(first)), len(set(second))
    if distinct[0] == distinct[1]:
        raise DataError(
            f"{path.name}: {names[0]} and {names[1]} have {distinct[0]:,} different values each, so that neither looks "
            f"like a label: name them with data=text data.root={path.name} data.label=COLUMN data.text=COLUMN"
        )
    return (names[0], names[1]) if distinct[0] < distinct[1] else (names[1], names[0])


def config_of_file(path: Path) -> Data:
    """The data source of a file of two columns, between tabs; empty texts are left out and counted.

    Raises:
        DataError: if there is no such file, or it has no column of labels.
    """
    if not path.is_file():
        raise DataError(f"{path}: there is no such file")
    label, text = two_columns(path)
    values = defaults("data", "text") | {"root": str(path), "label": label, "text": text, "skip_empty": True}
    return parse_group("data", values)


def inspect_texts(source: Source, config: Data) -> dict[str, Any]:
    """The whole report, as JSON types; lengths in tokens, shares in 0..1.

    Args:
        source: of texts.
        config: of the data, for the split and the length.
    """
    parts = split(source, config.validation, config.test, config.limit, config.split_seed)
    texts = {name: part.pictures for name, part in parts.items()}
    train = texts["train"]
    assert isinstance(train, Texts)
    everything = [one for part in texts.values() if isinstance(part, Texts) for one in part.texts]
    labels = torch.cat([part.labels for part in parts.values()])
    tokenizer = learn(train)
    encoded = {
        name: encode(tokenizer, part.texts, train.how.length) for name, part in texts.items() if isinstance(part, Texts)
    }
    sizes = torch.cat([part.sizes for part in encoded.values()])
    counts = torch.bincount(labels, minlength=len(source.classes))
    words = count_tokens(tokenizer, train)
    content: dict[str, Any] = {
        "kind": "text",
        "texts": len(everything),
        "classes": [
            {
                "class": name,
                "texts": int(counts[label]),
                "share": counts[label].item() / len(labels),
                "mean_tokens": sizes[labels == label].double().mean().item(),
                "median_tokens": sizes[labels == label].double().quantile(0.5).item(),
            }
            for label, name in enumerate(source.classes)
        ],
        "tokens": {
            "mean": sizes.double().mean().item(),
            **{
                name: float(np.quantile(sizes.numpy(), q))
                for name, q in (("median", 0.5), ("p95", 0.95), ("p99", 0.99))
            },
            "largest": int(sizes.max()),
        },
        "length": train.how.length,
        "cut": (sizes > train.how.length).double().mean().item(),
        "vocabulary": {
            "different_in_training": len(words),
            "only_once": sum(count == 1 for count in words.values()),
            "kept": tokenizer.get_vocab_size() - len(SPECIAL),
            "most": train.how.vocabulary,
            "min_count": train.how.min_count,
        },
        "unknown": {name: part.unknown for name, part in encoded.items()},
        "notes": list(source.notes),
    }
    return content | {"advice": advice(content), "evidence": EVIDENCE}


def count_tokens(tokenizer: Tokenizer, texts: Texts) -> Counter[str]:
    """How often each token occurs, also those that the vocabulary leaves out; of ``bpe``, each word."""
    counts: Counter[str] = Counter()
    for text in texts.texts:
        normal = tokenizer.normalizer.normalize_str(text)
        counts.update(word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(normal))
    return counts


def advice(content: dict[str, Any]) -> list[str]:
    """What follows for a run, in sentences."""
    sentences = [
        "Token ids are names, not quantities: +norm=raw is the only scheme for texts. What input normalization is to "
        "images, the standard deviation of the embedding (arch.embedding_std) and layer norm (arch.layer_norm) are to "
        "texts."
    ]
    largest = max(content["classes"], key=lambda row: row["share"])
    smallest = min(content["classes"], key=lambda row: row["share"])
    if largest["share"] >= UNEVEN:
        sentences.append(
            f"The classes are uneven: who always answers {largest['class']!r} is right on {largest['share']:.1%}. "
            f"Compare accuracies with this number, and count the errors of each class."
        )
    if smallest["texts"] < 30:
        sentences.append(
            f"The class {smallest['class']!r} has {smallest['texts']} texts: a difference between schemes will be lost "
            f"in its noise."
        )
    if content["cut"] > LONG:
        sentences.append(
            f"{content['cut']:.1%} of the texts are cut at data.length={content['length']}; "
            f"data.length={round(content['tokens']['p95'])} keeps 95% of them whole."
        )
    elif content["tokens"]["largest"] < content["length"] / 2:
        sentences.append(
            f"data.length={content['length']} pads every text: the longest has {content['tokens']['largest']} tokens, "
            f"and data.length={content['tokens']['largest']} saves time."
        )
    if content["unknown"]["test"] > UNKNOWN_SHARE:
        sentences.append(
            f"{content['unknown']['test']:.1%} of the test texts' tokens are unknown: a larger data.vocabulary, a "
            f"smaller data.min_count or data.tokens=bpe makes them fewer."
        )
    return sentences


def text_of(label: str, content: dict[str, Any]) -> str:
    """The report as text for people."""
    tokens, vocabulary = content["tokens"], content["vocabulary"]
    text = [f"{label}: {content['texts']:,} texts in {len(content['classes'])} classes", *content["notes"], ""]
    rows = [
        [
            row["class"],
            f"{row['texts']:,}",
            f"{row['share']:.1%}",
            f"{row['mean_tokens']:.1f}",
            f"{row['median_tokens']:g}",
        ]
        for row in content["classes"]
    ]
    text.append(tabulate(rows, ["class", "texts", "share", "mean tokens", "median"], disable_numparse=True))
    unknown = ", ".join(f"{share:.1%} of {name}" for name, share in content["unknown"].items())
    text += [
        "",
        f"tokens of a text: mean {tokens['mean']:.1f}, median {tokens['median']:g}, "
        f"95% have at most {tokens['p95']:g}, 99% at most {tokens['p99']:g}, the longest {tokens['largest']:,}",
        f"cut at data.length={content['length']}: {content['cut']:.1%} of the texts",
        f"vocabulary: {vocabulary['different_in_training']:,} different in the training texts, "
        f"{vocabulary['only_once']:,} of them only once; {vocabulary['kept']:,} kept "
        f"(data.min_count={vocabulary['min_count']}, data.vocabulary={vocabulary['most']})",
        f"unknown tokens: {unknown}",
        "",
        *content["advice"],
        f"Evidence: {content['evidence']}.",
    ]
    return "\n".join(text)
