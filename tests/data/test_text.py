"""Texts from files: what is read, what is refused, and tokens whose vocabulary is that of the training texts."""

import re

import pytest
import torch

from normlab.data import dataset
from normlab.data.text import read_texts
from normlab.data.tokens import PAD, UNKNOWN, Encoded, Texts, Tokenization, encode, encode_splits, learn, restore
from normlab.errors import NormlabError

LINES = [("ham" if place % 3 else "spam", f"message {place} of {'word ' * (place % 4)}end") for place in range(60)]
GOOD = "label\ttext\n" + "".join(f"{label}\t{text}\n" for label, text in LINES)


def write(folder, content, name="messages.tsv"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def load(path, **options):
    return dataset("text", root=path, **options)


REFUSED = {
    "no file": (
        None,
        {},
        "data.root=.*absent.tsv: there is no file .*absent.tsv: name it; or set the variable NORMLAB_DATA",
    ),
    "an empty file": ("", {}, "the file is empty"),
    "a header only": ("label\ttext\n", {}, "no texts below the header line.*data.header=false"),
    "another column": (
        "class\ttext\nham\ta\n",
        {},
        "no column data.label=label; the columns are: class, text; .*data.header=false",
    ),
    "no column of texts": (GOOD, {"text": "message"}, "no column data.text=message; the columns are: label, text"),
    "one column twice": ("label\ttext\ttext\nham\ta\tb\n", {}, "2 columns are called text"),
    "label and text in one column": (GOOD, {"label": "text"}, "data.label=text and data.text=text are the same column"),
    "one class": ("label\ttext\n" + "ham\ta\n" * 9, {}, "only one class, 'ham'"),
    "labels that look alike": (
        "label\ttext\nham\ta\nHam \tb\n",
        {},
        "'Ham ' and 'ham' differ only in spaces or capitals",
    ),
    "an empty label": ("label\ttext\nham\ta\n \tb\n", {}, "line 3: the label is empty"),
    "empty texts": ("label\ttext\nham\t \nspam\tb\nham\t\n", {}, "line 2: 2 texts are empty; data.skip_empty=true"),
    "a tab inside a text": ("label\ttext\nham\ta\tb\n", {}, "line 2: 3 columns, expected 2; .*data.quotes=true"),
    "a quote that stays open": (
        'label\ttext\nham\t"a\nspam\tb\n',
        {"quotes": True},
        "line 3: unexpected end of data.*data.quotes=false",
    ),
    "not UTF-8": (
        b"label\ttext\nham\ta\nspam\tcaf\xe9\n",
        {},
        "line 3: the byte e9 is not utf-8; .*data.encoding=latin-1",
    ),
    "UTF-16": ("label\ttext\nham\ta\n".encode("utf-16-le"), {}, "line 1: a NUL character.*data.encoding=utf-16"),
    "a NUL character": ("label\ttext\nham\ta\0b\n", {}, "line 2: a NUL character"),
    "no such encoding": (GOOD, {"encoding": "utf-9"}, "data.encoding=utf-9: no such encoding"),
    "a class of one text": (
        "label\ttext\n" + "ham\ta b\n" * 1 + "spam\ta b c\nspam\tb c\nspam\tc\n",
        {"min_count": 1},
        "class 'ham' (has|occurs)",
    ),
    "no frequent token": (GOOD, {"min_count": 1000}, "data.min_count=1000: no token occurs so often"),
    "no room in the vocabulary": (GOOD, {"vocabulary": 2}, "data.vocabulary=2: padding and the unknown token take 2"),
    "length 0": (GOOD, {"length": 0}, "data.length=0: .*greater than 0"),
    "no such tokens": (GOOD, {"tokens": "letters"}, "data.tokens=letters: .*'words' or 'bpe'"),
    "another kind of file": (GOOD, {"name": "messages.pdf"}, "messages.pdf: expected a file that ends in .tsv or .csv"),
    "a folder": (GOOD, {"name": ""}, "a folder; expected a file of labels and texts"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused_in_one_line(case, tmp_path, monkeypatch):
    monkeypatch.delenv("NORMLAB_DATA", raising=False)
    content, options, message = REFUSED[case]
    options = dict(options)
    name = options.pop("name", "absent.tsv" if content is None else "messages.tsv")
    path = tmp_path / name if content is None or not name else write(tmp_path, content, name)
    with pytest.raises(NormlabError) as refusal:
        load(path, **options)
    assert re.search(message, str(refusal.value)), str(refusal.value)
    assert len(str(refusal.value).splitlines()) == 1


def test_data_text_without_a_file_is_refused():
    with pytest.raises(NormlabError, match=r"data=text needs data.root=FILE.tsv"):
        dataset("text")


@pytest.mark.parametrize(
    ("name", "content", "options"),
    [
        ("a.tsv", 'label\ttext\nham\tHe said "no"\nspam\tb, c\n', {}),
        ("a.tsv", '\ufefflabel\ttext\r\nham\tHe said "no"\r\nspam\tb, c\r\n', {}),
        ("a.csv", 'text,label\n"He said ""no""",ham\n"b, c",spam\n', {}),
        ("a.tsv", 'label\ttext\nham\t"He said ""no"""\nspam\tb, c\n', {"quotes": True}),
        ("a.tsv", 'ham\tHe said "no"\nspam\tb, c\n', {"header": False, "label": 1, "text": 2}),
        ("a.tsv", 'label\ttext\nham\tHe said "no"\nspam\tb, c\n'.encode("utf-16"), {"encoding": "utf-16"}),
        ("a.tsv", 'label\ttext\nham\tHe said "no"\n\nspam\tb, c\nspam\t \n', {"skip_empty": True}),
    ],
)
def test_every_form_of_a_file_gives_the_same_labels_and_texts(name, content, options, tmp_path):
    labels, texts, notes = read_texts(write(tmp_path, content, name), **options)
    assert (labels, texts) == (["ham", "spam"], ['He said "no"', "b, c"])
    assert notes == (["left out: 1 blank lines", "left out: 1 empty texts"] if options.get("skip_empty") else [])


def test_a_quoted_text_may_span_lines_and_a_line_separator_inside_a_text_ends_none(tmp_path):
    labels, texts, _ = read_texts(write(tmp_path, 'text,label\n"one\ntwo",ham\nthree,spam\n', "a.csv"))
    assert (labels, texts) == (["ham", "spam"], ["one\ntwo", "three"])
    _, texts, _ = read_texts(write(tmp_path, "label\ttext\nham\tone\u2028two\x0bthree\n"))
    assert texts == ["one\u2028two\x0bthree"]


def test_the_vocabulary_is_that_of_the_training_texts_only():
    how = Tokenization(min_count=1, length=4)
    splits = {"train": Texts(("red red green", "green blue"), how), "test": Texts(("red black white red", "blue"), how)}
    encoded, tokenizer, notes = encode_splits(splits)
    # Two of each of red and green, in the order of code points; then blue.
    assert tokenizer.get_vocab() == {"[PAD]": PAD, "[UNK]": UNKNOWN, "green": 2, "red": 3, "blue": 4}
    assert encoded["train"].ids.tolist() == [[[3, 3, 2, PAD]], [[2, 4, PAD, PAD]]]
    assert encoded["test"].ids.tolist() == [[[3, UNKNOWN, UNKNOWN, 3]], [[4, PAD, PAD, PAD]]]
    assert encoded["test"].unknown == pytest.approx(2 / 5)
    assert encoded["train"].ids.dtype == torch.int32
    assert notes == ["vocabulary of 5 tokens from the training texts; unknown: 0.0% of training, 40.0% of test"]


def test_what_is_cut_is_counted():
    how = Tokenization(min_count=1, length=2)
    encoded, _, notes = encode_splits({"train": Texts(("a b c", "a b"), how), "test": Texts(("a b c c",), how)})
    assert isinstance(encoded["train"], Encoded)
    assert (encoded["train"].cut, encoded["test"].cut) == (1, 1)
    assert notes[1] == "cut to data.length=2 tokens: 1 of 2 training texts, 1 of 1 test texts; the longest has 4"


@pytest.mark.parametrize("tokens", ["words", "bpe"])
def test_a_tokenizer_survives_its_json_and_a_text_cannot_hold_the_padding(tokens):
    texts = Texts(("[PAD] a [UNK]", "Ça va?", "a b"), Tokenization(tokens, vocabulary=60, min_count=1))
    tokenizer = learn(texts)
    again = restore(tokenizer.to_str())
    ids = encode(tokenizer, texts.texts, 12).ids
    assert torch.equal(ids, encode(again, texts.texts, 12).ids)
    assert ids[0, 0, 0] > UNKNOWN
    assert not (ids == UNKNOWN).any()
    assert learn(texts).to_str() == tokenizer.to_str()


def test_the_digest_of_texts_depends_on_their_order_and_borders():
    how = Tokenization()
    digests = {Texts(texts, how).digest for texts in (("a", "b"), ("b", "a"), ("ab", ""), ("a\n1\nb",))}
    assert len(digests) == 4
    assert Texts(("a", "b"), Tokenization(length=3)).digest == Texts(("a", "b"), how).digest
