"""Series of .ts, .npy and .csv files: what is read, and what is refused."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from normlab import dataset
from normlab.data.lengths import equal_lengths
from normlab.data.series import read_csv, read_ts
from normlab.errors import DataError

HEADER = "@problemName toy\n@timeStamps false\n@univariate false\n@classLabel true low high\n@data\n"
needs_aeon = pytest.mark.skipif(importlib.util.find_spec("aeon") is None, reason="needs normlab[series]")


def rows(count=12, steps=4):
    return "".join(
        f"{','.join(str(i + t) for t in range(steps))}:{','.join([str(-i)] * steps)}:{'low' if i % 2 else 'high'}\n"
        for i in range(count)
    )


def test_a_ts_file(here):
    Path("toy_TRAIN.ts").write_text(HEADER + rows())
    Path("toy_TEST.ts").write_text("# a comment\n" + HEADER + rows(4))
    data = dataset("series", root="toy_TRAIN.ts")
    assert data.kind == "series"
    assert data.classes == ("high", "low")
    assert data.shape == (2, 4)
    assert len(data.test) == 4
    assert data.test.inputs[3].tolist() == [[3, 4, 5, 6], [-3] * 4]
    assert data.test.labels.tolist() == [0, 1, 0, 1]
    assert len(data.train) + len(data.validation) == 12
    assert dataset("series", root=".").content == data.content  # the folder of the pair
    assert dataset("series", root="toy_TEST.ts").content == data.content


def test_an_array_and_a_table_hold_the_same_series(here):
    x = np.random.default_rng(0).standard_normal((30, 3, 5)).astype(np.float32)
    y = np.arange(30) % 3
    np.save("x.npy", x)
    np.save("x_labels.npy", y)
    lines = ["id,time,label,a,b,c"]
    for i in range(30):  # rows come in any order
        lines += [f"s{i},{t},{y[i]}," + ",".join(repr(float(v)) for v in x[i, :, t]) for t in reversed(range(5))]
    Path("long.csv").write_text("\n".join(lines))
    array, table = dataset("series", root="x.npy"), dataset("series", root="long.csv")
    assert array.content == table.content
    assert torch.equal(array.train.inputs, table.train.inputs)
    assert array.classes == ("0", "1", "2")


def test_unequal_lengths_are_refused_unless_they_are_chosen_to_be_changed(here):
    Path("toy.ts").write_text(HEADER + rows(12, 4) + rows(4, 2))
    with pytest.raises(DataError, match=r"line 18: has 2 samples, others 4: choose data.too_short=zeros or repeat"):
        dataset("series", root="toy.ts")
    data = dataset("series", root="toy.ts", too_short="repeat")
    assert "series 4 of 16 too short: repeated" in data.notes
    with pytest.raises(DataError, match=r"line 6: has 4 samples, more than 3: choose data.too_long=crop"):
        dataset("series", root="toy.ts", too_short="repeat", length=3)
    data = dataset("series", root="toy.ts", too_short="zeros", too_long="crop", length=3)
    assert data.shape == (2, 3)


def test_equal_lengths():
    sequences = [torch.tensor([[1.0, 2, 3]]), torch.tensor([[4.0, 5, 6, 7, 8]])]
    padded, _ = equal_lengths(sequences, "ab", 5, "zeros", "error", "")
    assert padded[:, 0].tolist() == [[1, 2, 3, 0, 0], [4, 5, 6, 7, 8]]
    repeated, _ = equal_lengths(sequences, "ab", 5, "repeat", "error", "")
    assert repeated[0, 0].tolist() == [1, 2, 3, 1, 2]
    assert equal_lengths(sequences[:1], "a", 3, "error", "error", "")[1] == ()


def test_a_level_that_32_bits_cannot_hold_is_told(here):
    x = np.random.default_rng(0).standard_normal((30, 1, 5)) + 1e6
    np.save("x.npy", x)
    np.save("x_labels.npy", np.arange(30) % 2)
    assert any("rounding to 32 bits" in note for note in dataset("series", root="x.npy").notes)


def written(name, content):
    """What writes a file."""
    return lambda: Path(name).write_bytes(content) if isinstance(content, bytes) else Path(name).write_text(content)


def saved(array, labels=None):
    """What writes an array and its labels."""

    def write():
        np.save("x.npy", array)
        if labels is not None:
            np.save("x_labels.npy", labels)

    return write


CSV = "id,time,label,a\n"
NINE = np.zeros((9, 1, 4))


def timed(*times):
    """What writes two series with these times, whose values count up."""
    rows = [f"{i},{time},{'xy'[i]},{place + 10 * i}\n" for i in range(2) for place, time in enumerate(times)]
    return written("x.csv", CSV + "".join(rows))


REFUSED = {  # what is written, data.root, and the message
    "no file": (lambda: None, "none.ts", "none.ts: no such file"),
    "no root": (lambda: None, None, "data=series needs data.root=FILE"),
    "another ending": (written("x.mat", "x"), "x.mat", "ends in .ts, .npy or .csv"),
    "a folder without series": (lambda: Path("f").mkdir(), "f", "expected one file NAME_TRAIN.ts"),
    "no training file": (written("x_TEST.ts", HEADER + rows()), "x_TEST.ts", "its training file x_TRAIN.ts is missing"),
    "no labels": (written("x.ts", HEADER.replace("true low high", "false") + rows()), "x.ts", "has no labels"),
    "a regression": (
        written("x.ts", HEADER.replace("@classLabel true low high", "@targetlabel true")),
        "x.ts",
        "numbers to",
    ),
    "time stamps": (written("x.ts", HEADER.replace("Stamps false", "Stamps true")), "x.ts", "interpolate them"),
    "a word": (written("x.ts", HEADER + "1,two:3,4:low\n"), "x.ts", "line 6: could not convert"),
    "no data": (written("x.ts", "@problemName x\n"), "x.ts", "no series in it"),
    "not text": (written("x.ts", b"\xff\xfe\x00"), "x.ts", "not a text file"),
    "no header": (written("x.ts", "1,2,3\n"), "x.ts", "expected a line @KEY"),
    "a missing value": (
        written("x.ts", HEADER + rows() + "1,2,?,4:1,2,3,4:low\n"),
        "x.ts",
        "line 18: the value of channel 1 at step 3 is missing",
    ),
    "a channel too few": (written("x.ts", HEADER + rows() + "1,2,3,4:low\n"), "x.ts", "18: has 1 channels, others 2"),
    "channels of two lengths": (written("x.ts", HEADER + "1,2,3:1,2:low\n"), "x.ts", "line 6: .* have 2 and 3 values"),
    "one class": (written("x.ts", HEADER + rows().replace("high", "low")), "x.ts", "only one class, 'low'"),
    "two dimensions": (saved(NINE[:, 0]), "x.npy", r"\[N, C, T\], got \[9, 4\]; series"),
    "no labels beside": (saved(NINE), "x.npy", "its labels are missing"),
    "labels too few": (saved(NINE, np.zeros(8)), "x.npy", r"one label for each of 9 series, got \[8\]"),
    "labels that are numbers": (saved(NINE, np.linspace(0, 1, 9)), "x.npy", "not whole"),
    "an array of text": (saved(np.full((9, 1, 4), "a"), np.zeros(9)), "x.npy", "got an array of <U1"),
    "a pickle": (saved(np.array([{}, None])), "x.npy", "cannot be read as a NumPy array"),
    "infinity": (saved(NINE + np.inf, np.arange(9) % 2), "x.npy", "series 0: the value of channel 1 at step 1"),
    "no such column": (written("x.csv", "key,time,label,a\n"), "x.csv", "no column 'id'"),
    "no channel": (written("x.csv", "id,time,label\n1,2,3\n"), "x.csv", "no column besides"),
    "a column of text": (written("x.csv", CSV + "1,1,x,blue\n"), "x.csv", "'a' is not numeric"),
    "a time twice": (written("x.csv", CSV + "1,1,x,3\n1,1,x,4\n"), "x.csv", "the time 1 occurs twice"),
    "no id": (written("x.csv", CSV + "1,1,x,3\n,2,x,4\n"), "x.csv", "row 3: no id"),
    "no time": (written("x.csv", CSV + "1,1,x,3\n1,,x,4\n"), "x.csv", "row 3: no time"),
    "two labels": (written("x.csv", CSV + "1,1,x,3\n1,2,y,4\n"), "x.csv", "one label in all"),
    "labels of two spellings": (
        written("x.ts", HEADER + rows().replace("low", "Low", 1)),
        "x.ts",
        "the labels 'Low' and 'low' differ only in",
    ),
    "no rows": (written("x.csv", CSV), "x.csv", "a table without rows"),
    "the index of pandas": (written("x.csv", "," + CSV + "0,1,1,x,3\n1,1,2,x,4\n"), "x.csv", "column 1 has no name"),
    "numbers of rows": (written("x.csv", "row," + CSV + "0,1,1,x,3\n1,1,2,x,4\n"), "x.csv", "'row' numbers or names"),
    "a name twice": (written("x.csv", "id,time,label,a,a\n1,1,x,3,4\n"), "x.csv", "2 columns are called 'a'"),
    "a row too long": (written("x.csv", CSV + "1,1,x,3,9\n1,2,x,4,9\n"), "x.csv", "cannot be read as a CSV table"),
    "hours": (timed("8:00", "9:00", "10:00"), "x.csv", "row 2: the time '8:00' cannot be sorted; write .* and 08:00"),
    "numbered times": (timed("t1", "t2", "t10"), "x.csv", "row 2: the time 't1' cannot be sorted"),
    "dates with dots": (timed("30.1.2024", "31.1.2024", "1.2.2024"), "x.csv", "row 2: the time '30.1.2024'"),
    "American dates": (timed("1/2/2024", "2/2/2024", "10/2/2024"), "x.csv", "row 2: the time '1/2/2024'"),
    "no such day": (timed("2024-02-28", "2024-02-29", "2024-02-30"), "x.csv", "row 4: the time '2024-02-30'"),
    "dates and hours": (timed("2024-01-01", "08:00", "2024-01-02"), "x.csv", "row 3: the time '08:00'"),
    "one time zone": (timed("2024-01-01T08:00", "2024-01-01T09:00Z", "2024-01-02"), "x.csv", "row 3: the time"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_is_refused_in_one_line(here, case):
    write, root, message = REFUSED[case]
    write()
    with pytest.raises(DataError, match=message) as error:
        dataset("series", root=root)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "times",
    [
        ("08:00", "09:00", "10:00"),
        ("2023-12-31", "2024-01-01", "2024-01-02 12:30"),
        ("2024-01-01T10:00+02:00", "2024-01-01T09:00Z", "2024-01-01T09:30+00:00"),
        ("8", "9", "10"),
        ("1e2", "3e2", "20e2"),
    ],
)
def test_steps_are_in_the_order_of_their_times(here, times):
    timed(*times)()
    header, *rows = Path("x.csv").read_text().splitlines()
    series = read_csv(Path("x.csv"), "id", "time", "label").series
    Path("x.csv").write_text("\n".join([header, *reversed(rows)]))
    turned = read_csv(Path("x.csv"), "id", "time", "label").series
    assert [one.tolist() for one in series] == [[[0, 1, 2]], [[10, 11, 12]]]
    assert [one.tolist() for one in turned] == [[[10, 11, 12]], [[0, 1, 2]]]


@pytest.mark.parametrize(
    ("times", "told"),
    [
        (("1", "2", "5"), "from 1 to 3"),
        (("0.5", "1.5", "3.5"), "from 1 to 2"),
        (("2024-01-01", "2024-01-02", "2024-01-04"), "from 1 days 00:00:00 to 2 days 00:00:00"),
        (("2", "4", "6"), None),
        (("0.1", "0.2", "0.30000004"), None),
        (("08:00", "08:30", "09:00"), None),
    ],
)
def test_uneven_steps_are_told(here, times, told):
    timed(*times)()
    notes = read_csv(Path("x.csv"), "id", "time", "label").notes
    expected = f"the steps of time are uneven in 2 of 2 series (id 0: {told})"
    assert (any(expected in note for note in notes)) if told else notes == []


def test_a_space_behind_an_id_makes_no_series_of_its_own(here):
    lines = [f"{i}{' ' * (t % 2)},{t},{'uv'[i % 2]},{10 * i + t}" for i in range(12) for t in range(4)]
    Path("x.csv").write_text("\n".join(["id,time,label,a", *lines]))
    data = dataset("series", root="x.csv")
    assert sum(map(len, data.splits.values())) == 12
    assert data.shape == (1, 4)


def test_an_array_with_more_channels_than_steps_is_told(here):
    np.save("x.npy", np.random.default_rng(0).standard_normal((30, 128, 9)))
    np.save("x_labels.npy", np.arange(30) % 2)
    assert any("[30, 128, 9] is taken as [N, C, T]" in note for note in dataset("series", root="x.npy").notes)


def test_capitals_in_an_ending_and_a_mark_of_byte_order(here):
    Path("toy.ts").write_text(HEADER + rows())
    Path("Toy.TS").write_text(HEADER + rows(), encoding="utf-8-sig")
    assert dataset("series", root="Toy.TS").content == dataset("series", root="toy.ts").content
    lines = [f"{i},{t},{'ab'[i % 2]},{i * t}" for i in range(12) for t in range(4)]
    Path("X.CSV").write_text("\n".join(["id,time,label,a", *lines]))
    assert dataset("series", root="X.CSV").shape == (1, 4)


@needs_aeon
def test_the_sets_inside_aeon():
    motions = dataset("basic_motions")
    assert motions.shape == (6, 100)
    assert len(motions.test) == 40
    assert len(motions.classes) == 4
    vowels = dataset("japanese_vowels")
    assert vowels.shape == (12, 29)
    assert len(vowels.train) + len(vowels.validation) == 270
    with pytest.raises(DataError, match=r"it has .*GunPoint"):
        dataset("aeon", problem="Coffee")


@needs_aeon
def test_series_of_the_archive_are_standardized_already():
    """Anchor S4: ItalyPowerDemand is stored with mean 0 and deviation 1 for each series."""
    x = dataset("aeon", problem="ItalyPowerDemand").train.inputs.double()
    assert x.mean(2).abs().max() < 1e-6
    assert (x.std(2, correction=1) - 1).abs().max() < 1e-6


@needs_aeon
def test_equals_the_reader_of_aeon():
    pytest.importorskip("numba")
    datasets = pytest.importorskip("aeon.datasets")
    folder = Path(datasets.__file__).parent / "data/JapaneseVowels"
    expected, labels = datasets.load_from_ts_file(str(folder / "JapaneseVowels_TEST.ts"))
    listing = read_ts(folder / "JapaneseVowels_TEST.ts")
    assert listing.labels == labels.tolist()
    assert all(np.array_equal(a, b) for a, b in zip(listing.series, expected, strict=True))
