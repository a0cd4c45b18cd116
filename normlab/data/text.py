"""Labeled texts: a file with a column of labels and a column of texts, or generated messages."""

from __future__ import annotations

import codecs
import csv
import io
import random
from pathlib import Path

import torch

from normlab.config import NonNegativeInt, PositiveInt
from normlab.data.first_bytes import likely_encoding, require_text
from normlab.data.folder import find_file
from normlab.data.splits import Part, Source, require_unlike
from normlab.data.tokens import Pieces, Texts, Tokenization
from normlab.errors import DataError

DELIMITERS = {".tsv": "\t", ".csv": ","}
Column = str | int  # a number where the file has no header


def text(
    *,
    root: Path | None = None,
    label: Column = "label",
    text: Column = "text",
    header: bool = True,
    quotes: bool | None = None,
    encoding: str = "utf-8",
    skip_empty: bool = False,
    tokens: Pieces = "words",
    vocabulary: PositiveInt = 4000,
    min_count: PositiveInt = 2,
    lowercase: bool = True,
    length: PositiveInt = 64,
) -> Source:
    """Texts and their labels from a file, a line each: ``.tsv`` (between tabs) or ``.csv`` (between commas).

    Texts that are the same but for spaces and, with ``lowercase``, capital letters are one group: never in two splits.

    Args:
        root: the file; a relative path is looked up in the working directory, then below NORMLAB_DATA.
        label: column of the labels: its name, or without a header its number, from 1.
        text: column of the texts.
        header: whether the first line names the columns.
        quotes: whether fields stand in double quotes where they hold a delimiter or a line break; None: in ``.csv``.
        encoding: of the file; Python's name.
        skip_empty: leave out and count lines whose text is empty; False: refuse the file.
        tokens: see :class:`normlab.data.tokens.Tokenization`, here and below.
        vocabulary: largest number of different tokens.
        min_count: of a token in the training texts.
        lowercase: change all letters to small ones.
        length: tokens of a text.

    Raises:
        DataError: if the file is missing or cannot be read; the message names the line.
    """
    if root is None:
        raise DataError("data=text needs data.root=FILE.tsv or FILE.csv, with a column of labels and a column of texts")
    how = Tokenization(tokens, vocabulary, min_count, lowercase, length)
    path = find_file(root, "a file of labels and texts, .tsv or .csv")
    labels, texts, notes = read_texts(path, label, text, header, quotes, encoding, skip_empty)
    return make_source(labels, texts, how, notes)


def read_texts(
    path: Path,
    label: Column = "label",
    text: Column = "text",
    header: bool = True,
    quotes: bool | None = None,
    encoding: str = "utf-8",
    skip_empty: bool = False,
) -> tuple[list[str], list[str], list[str]]:
    """The labels, the texts, and notes of what was left out; see :func:`text` for the arguments.

    Raises:
        DataError: naming the line, what stands there and what was expected.
    """
    if path.suffix.lower() not in DELIMITERS:
        raise DataError(f"{path.name}: expected a file that ends in {' or '.join(DELIMITERS)}")
    quotes = path.suffix.lower() == ".csv" if quotes is None else quotes
    rows = _rows(path, _decoded(path, encoding), DELIMITERS[path.suffix.lower()], quotes)
    blank = [line for line, row in rows if not any(row)]
    rows = [(line, row) for line, row in rows if any(row)]
    if not rows:
        raise DataError(f"{path.name}: the file is empty")
    columns = rows.pop(0)[1] if header else [str(place + 1) for place in range(len(rows[0][1]))]
    at_label, at_text = (_place(path, columns, name, key, header) for name, key in ((label, "label"), (text, "text")))
    if at_label == at_text:
        raise DataError(f"data.label={label} and data.text={text} are the same column: name two")
    labels, texts, empty = [], [], []
    for line, row in rows:
        if len(row) != len(columns):
            hint = "a text holds the delimiter? Then put it in quotes, with data.quotes=true"
            raise DataError(f"{path.name}, line {line}: {len(row)} columns, expected {len(columns)}; {hint}")
        if not row[at_text].strip():
            empty.append(line)
        elif not row[at_label].strip():
            raise DataError(f"{path.name}, line {line}: the label is empty; fill it in, or remove the line")
        else:
            labels.append(row[at_label])
            texts.append(row[at_text])
    if empty and not skip_empty:
        count = f"{len(empty)} texts are" if len(empty) > 1 else "the text is"
        raise DataError(f"{path.name}, line {empty[0]}: {count} empty; data.skip_empty=true leaves out such lines")
    if not texts:
        raise DataError(f"{path.name}: no texts below the header line; a file without a header needs data.header=false")
    notes = [f"{len(lines):,} {what}" for lines, what in ((blank, "blank lines"), (empty, "empty texts")) if lines]
    return labels, texts, [f"left out: {note}" for note in notes]


def _decoded(path: Path, encoding: str) -> str:
    try:
        codecs.lookup(encoding)
    except LookupError:
        raise DataError(f"data.encoding={encoding}: no such encoding; for example utf-8, latin-1, utf-16") from None
    require_text(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path.name}: cannot be read ({error.strerror})") from None
    try:
        decoded = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        wrong = content[error.start : error.end].hex(" ")
        raise DataError(
            f"{path.name}, line {line}: the byte {wrong} is not {encoding}; name the file's encoding, "
            f"such as data.encoding={likely_encoding(path)}, or save the file as UTF-8"
        ) from None
    decoded = decoded.removeprefix("\ufeff")  # which some programs write at the start of a file in UTF-8
    if "\0" in decoded:
        line = decoded.count("\n", 0, decoded.index("\0")) + 1
        raise DataError(
            f"{path.name}, line {line}: a NUL character; the file is no text, or has another encoding "
            f"(data.encoding=utf-16)"
        )
    return decoded


def _rows(path: Path, content: str, delimiter: str, quotes: bool) -> list[tuple[int, list[str]]]:
    """The number of the line on which each row ends, and its fields."""
    if not quotes:
        # Not str.splitlines, which also breaks at characters that occur inside texts.
        lines = content.replace("\r\n", "\n").split("\n")
        if lines[-1] == "":
            lines.pop()
        return [(number, line.split(delimiter)) for number, line in enumerate(lines, 1)]
    rows = []
    limit = csv.field_size_limit(2**31 - 1)
    reader = csv.reader(io.StringIO(content, newline=""), delimiter=delimiter, strict=True)
    try:
        for row in reader:
            rows.append((reader.line_num, row))  # noqa: PERF401 (the count of lines belongs to each step)
    except csv.Error as error:
        raise DataError(
            f"{path.name}, line {reader.line_num}: {error}; if fields are not quoted: data.quotes=false"
        ) from None
    finally:
        csv.field_size_limit(limit)
    return rows


def _place(path: Path, columns: list[str], name: Column, key: str, header: bool) -> int:
    if columns.count(str(name)) > 1:
        raise DataError(f"{path.name}: {columns.count(str(name))} columns are called {name}: rename all but one")
    if str(name) not in columns:
        known = ", ".join(column if len(column) <= 30 else column[:27] + "..." for column in columns[:10])
        hint = "; if the first line is no header: data.header=false data.label=1 data.text=2" if header else ""
        raise DataError(f"{path.name}: there is no column data.{key}={name}; the columns are: {known}{hint}")
    return columns.index(str(name))


def make_source(labels: list[str], texts: list[str], how: Tokenization, notes: list[str]) -> Source:
    """Labeled texts as a data source; equal texts are one group.

    Raises:
        DataError: if there is only one class, or two labels differ only in capital letters or in spaces around them.
    """
    classes = tuple(sorted(set(labels)))
    require_unlike(classes)
    if len(classes) < 2:
        raise DataError(f"only one class, {classes[0]!r}; a classifier needs texts of at least two")
    place = {name: label for label, name in enumerate(classes)}
    groups: dict[str, int] = {}
    group_of = [groups.setdefault(_comparable(one, how.lowercase), len(groups)) for one in texts]
    repeated = len(texts) - len(groups)
    if repeated:
        contradicted = len({(group, label) for group, label in zip(group_of, labels, strict=True)}) - len(groups)
        more = f", {contradicted:,} of them with another label" if contradicted else ""
        notes = [*notes, f"{repeated:,} texts repeat another{more}; equal texts stay in one split"]
    part = Part(Texts(tuple(texts), how), torch.tensor([place[label] for label in labels]))
    return Source(classes, part, notes=tuple(notes), kind="text", groups=torch.tensor(group_of) if repeated else None)


def _comparable(text: str, lowercase: bool) -> str:
    return " ".join((text.lower() if lowercase else text).split())


# Words of generated messages, the most frequent first.
COMMON = """
    i you to the a and it is in me my for your of have on that be are do not we at so or will with can if just but get
    up out no now go know what there when this all from one
"""
PRIVATE = """
    home later ok lol dinner sleep mum class work bus tonight sorry love meeting lunch wait come miss tomorrow think
    good morning night feel car door rain movie friend brother study exam tired shopping pick train happy weekend thanks
"""
ADVERTISING = """
    free win prize claim urgent call cash offer mobile txt reply stop award guaranteed service customer bonus line code
    ringtone voucher selected holiday collect latest camera entry weekly contact operator credit draw landline
"""


def sms_like(
    *,
    messages: PositiveInt = 1500,
    source_seed: NonNegativeInt = 0,
    tokens: Pieces = "words",
    vocabulary: PositiveInt = 4000,
    min_count: PositiveInt = 2,
    lowercase: bool = True,
    length: PositiveInt = 32,
) -> Source:
    """Generated messages in two classes, a fifth of them ``spam``, in the manner of short messages on a telephone.

    The words of a message are drawn independently, from everyday words, the words of its own class and those of the
    other class, in the shares 5 : 3 : 1; the first words of a list are the most frequent ones. A long number, which is
    new in nearly every message, takes the place of one word of ten in ``spam``, of one of fifty in ``ham``. Two of five
    messages of ``spam`` and one of ten of ``ham`` end with an exclamation mark. The classes overlap: no classifier is
    right on all messages.

    Args:
        messages: their number.
        source_seed: of the draw.
        tokens: see :class:`normlab.data.tokens.Tokenization`, here and below.
        vocabulary: largest number of different tokens.
        min_count: of a token in the training texts.
        lowercase: change all letters to small ones.
        length: tokens of a text.
    """
    draw = random.Random(source_seed)
    common, private, advertising = COMMON.split(), PRIVATE.split(), ADVERTISING.split()
    labels, texts = [], []
    for _ in range(messages):
        is_spam = draw.random() < 0.2
        own, other = (advertising, private) if is_spam else (private, advertising)
        size = 10 + int(15 * draw.random()) if is_spam else 4 + int(16 * draw.random())
        words = []
        for _ in range(size):
            if draw.random() < (0.1 if is_spam else 0.02):
                words.append(str(10**9 + int(9 * 10**9 * draw.random())))
            else:
                (pool,) = draw.choices((common, own, other), (5, 3, 1))
                words += draw.choices(pool, [1 / (1 + rank) for rank in range(len(pool))])
        labels.append("spam" if is_spam else "ham")
        end = "!" if draw.random() < (0.4 if is_spam else 0.1) else "."
        texts.append(" ".join(words).capitalize() + end)
    return make_source(labels, texts, Tokenization(tokens, vocabulary, min_count, lowercase, length), [])
