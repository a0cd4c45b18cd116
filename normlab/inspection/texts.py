"""Statistics of labeled texts: classes, lengths, vocabulary, what would be unknown, what is repeated."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tabulate import tabulate
from tokenizers import Tokenizer

from normlab.commandline.arguments import parsed, written
from normlab.config import Data, Section, choices, data_label, defaults, parse_group
from normlab.data.splits import Source, split
from normlab.data.text import DELIMITERS
from normlab.data.tokens import SPECIAL, Texts, encode, learn
from normlab.errors import ConfigError, DataError

UNEVEN = 0.8  # share of the largest class from which accuracy alone says little
LONG = 0.05  # share of cut texts that is worth a sentence
UNKNOWN_SHARE = 0.1  # of the test texts' tokens
EVIDENCE = "results/text_scales in normlab's repository"


def inspect(arguments: Sequence[str]) -> tuple[str, dict[str, Any]] | None:
    """The label of some texts and the report on them, or None if the arguments name no texts.

    Args:
        arguments: a file of labels and texts; or ``data=text``, ``data=sms`` or ``data=sms_like`` with keys of that
            source, and in place of ``data.root`` also the file alone.

    Raises:
        NormlabError: if the texts cannot be read, or a key is unknown.
    """
    files = [
        one for one in arguments if "=" not in one and Path(one).suffix.lower() in DELIMITERS and Path(one).is_file()
    ]
    pairs = [one for one in arguments if one not in files]
    name = next((pair.partition("=")[2] for pair in pairs if pair.lstrip("+").startswith("data=")), None)
    if name in choices("data"):
        if not str(defaults("data", name)["_target_"]).startswith("normlab.data.text."):
            return None
        named = []
    elif name is None and len(files) == 1 and (columns := two_columns(Path(files[0]))):
        named = [
            "data=text",
            *(f"data.{key}={written(column)}" for key, column in columns.items()),
            "data.skip_empty=true",
        ]
    else:
        return None
    if len(files) > 1:
        raise ConfigError(f"one file of texts at a time: {files[0]} or {files[1]}")
    # In quotes no sign of a path means more than itself.
    named += [f"data.root='{file}'" for file in files]
    _, groups = parsed([*named, *pairs], Section)
    config = parse_group("data", groups["data"])
    return (Path(files[0]).name if files else data_label(groups["data"])), inspect_texts(config.build(), config)


def two_columns(path: Path) -> dict[str, str] | None:
    """The columns ``label`` and ``text`` of a file with a header and two columns between tabs; None for another file.

    In the column of texts at least half of the values hold more than one word; the column of labels has fewer different
    values. The report names both.

    Raises:
        DataError: if the first line holds no names: one of them is a value of its column, too.
    """
    if path.suffix.lower() != ".tsv":
        return None
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            rows = [line.rstrip("\r\n").split("\t") for line in file]
    except OSError:
        return None
    rows = [row for row in rows if any(row)]
    if len(rows) < 2 or any(len(row) != 2 for row in rows[:100]):
        return None
    names, pairs = rows[0], [row for row in rows[1:] if len(row) == 2]
    columns = list(zip(*pairs, strict=True))
    has_words = [sum(len(value.split()) > 1 for value in column) >= len(column) / 2 for column in columns]
    if not any(has_words):
        return None
    text = has_words.index(True) if sum(has_words) == 1 else max((0, 1), key=lambda place: len(set(columns[place])))
    for name, values in zip(names, columns, strict=True):
        if name in values:
            root = shlex.quote(f"data.root={path}")
            raise DataError(
                f"{path.name}: {name!r} is in the first line and in its column, too; if the file has no names of "
                f"columns: python -m normlab.inspect data=text {root} data.header=false data.label={2 - text} "
                f"data.text={text + 1}; else rename the column"
            )
    return {"label": names[1 - text], "text": names[text]}


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
        "columns": {key: str(getattr(config, key)) for key in ("label", "text") if hasattr(config, key)},
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
    text = [f"{label}: {content['texts']:,} texts in {len(content['classes'])} classes"]
    if columns := content["columns"]:
        text.append(f"labels in the column {columns['label']!r}, texts in {columns['text']!r}")
    text += [*content["notes"], ""]
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
        f"95% have at most {tokens['p95']:.0f}, 99% at most {tokens['p99']:.0f}, the longest {tokens['largest']:,}",
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
