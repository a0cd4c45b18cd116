"""The report on texts, against counts by hand."""

import json
import shlex

import pytest

from normlab import inspect
from normlab.errors import NormlabError
from normlab.inspection import texts

ROWS = [("ham", f"hello friend number {place}") for place in range(45)] + [("spam", f"win {n} now") for n in range(5)]


def write(folder, rows=ROWS, header=("kind", "message"), name="some.tsv"):
    path = folder / name
    path.write_text("".join("\t".join(row) + "\n" for row in [header, *rows]), encoding="utf-8")
    return path


def test_classes_lengths_and_vocabulary_are_those_of_the_file(tmp_path):
    label, content = texts.inspect([str(write(tmp_path))])
    assert label == "some.tsv"
    assert content["columns"] == {"label": "kind", "text": "message"}
    assert [(row["class"], row["texts"], row["mean_tokens"]) for row in content["classes"]] == [
        ("ham", 45, 4.0),
        ("spam", 5, 3.0),
    ]
    assert content["classes"][0]["share"] == pytest.approx(0.9)
    assert content["tokens"] == {"mean": 3.9, "median": 4.0, "p95": 4.0, "p99": 4.0, "largest": 4}
    assert content["cut"] == 0
    # Of the training texts: hello, friend, number, win and now; each number is there once, or twice in both classes.
    assert content["vocabulary"]["kept"] in range(5, 11)
    assert (
        content["vocabulary"]["different_in_training"]
        == content["vocabulary"]["kept"] + content["vocabulary"]["only_once"]
    )
    assert content["unknown"]["test"] == pytest.approx(1 / 4, abs=0.1)
    json.dumps(content)


def test_the_report_says_what_to_mind(tmp_path):
    _, content = texts.inspect([str(write(tmp_path))])
    told = texts.text_of("some.tsv", content)
    assert "who always answers 'ham' is right on 90.0%" in told
    assert "'spam' has 5 texts" in told
    assert "data.length=4 saves time" in told
    assert "+norm=raw is the only scheme" in told
    _, content = texts.inspect(
        ["data=text", f"data.root={write(tmp_path)}", "data.label=kind", "data.text=message", "data.length=2"]
    )
    assert content["cut"] == 1
    assert any("100.0% of the texts are cut at data.length=2; data.length=4" in one for one in content["advice"])


def test_the_column_of_labels_is_the_one_with_fewer_values(tmp_path):
    turned = write(tmp_path, [(text, label) for label, text in ROWS], ("message", "kind"))
    assert texts.two_columns(turned) == {"label": "kind", "text": "message"}
    sentences = [("very good" if n % 2 else "not good", f"text number {n}") for n in range(10)]
    assert texts.two_columns(write(tmp_path, sentences)) == {"label": "kind", "text": "message"}


@pytest.mark.parametrize(
    ("rows", "header", "name"),
    [
        ([("1.5", "2"), ("2.5", "3")], ("x", "y"), "numbers.tsv"),
        ([("ham", "a b", "3")], ("kind", "message", "more"), "three.tsv"),
        (ROWS, ("kind", "message"), "commas.csv"),
        ([], ("kind", "message"), "empty.tsv"),
    ],
)
def test_another_file_is_no_file_of_texts(tmp_path, rows, header, name):
    assert texts.inspect([str(write(tmp_path, rows, header, name))]) is None


def test_a_file_without_names_is_refused_with_the_command_that_reads_it(tmp_path):
    path = write(tmp_path, ROWS[1:], ROWS[0])
    with pytest.raises(NormlabError, match=r"'ham' is in the first line and in its column") as refusal:
        texts.inspect([str(path)])
    command = str(refusal.value).partition("normlab.inspect ")[2].partition(";")[0]
    assert texts.inspect(shlex.split(command))[1]["texts"] == len(ROWS)


def test_other_data_are_left_to_others():
    assert texts.inspect(["data=digits"]) is None
    assert texts.inspect(["some/folder"]) is None


def test_the_command_prints_text_or_json(tmp_path, capsys):
    path = str(write(tmp_path))
    inspect.main([path])
    assert capsys.readouterr().out.startswith("some.tsv: 50 texts in 2 classes")
    inspect.main([path, "--json"])
    assert json.loads(capsys.readouterr().out)["kind"] == "text"


def test_data_by_name_and_pieces_of_words():
    label, content = texts.inspect(["data=sms_like", "data.messages=300", "data.tokens=bpe", "data.vocabulary=100"])
    assert (label, content["texts"]) == ("sms_like", 300)
    assert content["columns"] == {}
    assert content["vocabulary"]["kept"] == 98


def test_a_mistake_is_one_line(tmp_path):
    with pytest.raises(NormlabError, match=r"data\.lenght") as refusal:
        texts.inspect([str(write(tmp_path)), "data.lenght=3"])
    assert "\n" not in str(refusal.value)
    with pytest.raises(NormlabError, match="one file of texts at a time"):
        texts.inspect(["data=text", str(write(tmp_path)), str(write(tmp_path, name="other.tsv"))])
