"""Folders of recordings, speakers, tones: what is read, what is changed, and what is refused."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch
from scipy.io import wavfile

from normlab import dataset
from normlab.data.recordings import read
from normlab.errors import ConfigError, DataError

RATE = 8000
REAL = Path(os.environ.get("NORMLAB_DATA", "nowhere"))


def tone(hertz=440.0, seconds=0.1, rate=RATE, level=0.5):
    return (level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def write(path, samples=None, rate=RATE, dtype=np.int16):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = tone() if samples is None else samples
    if dtype == np.uint8:
        samples = np.round(samples * 127 + 128)
    elif np.dtype(dtype).kind == "i":
        samples = np.round(samples * (np.iinfo(dtype).max))
    wavfile.write(path, rate, samples.astype(dtype))
    return path


def corpus(root="mine", speakers=("ann", "bo", "carlo", "dora"), digits=2, takes=2):
    for digit in range(digits):
        for speaker in speakers:
            for take in range(takes):
                write(f"{root}/{digit}_{speaker}_{take}.wav", tone(300 + 100 * digit + len(speaker), 0.1))


@pytest.mark.parametrize(
    ("dtype", "accuracy"), [(np.uint8, 2**-7), (np.int16, 2**-14), (np.int32, 2**-23), (np.float32, 0)]
)
def test_every_width_is_the_same_wave(here, dtype, accuracy):
    recording = read(write("x.wav", dtype=dtype))
    assert recording.rate == RATE
    assert recording.waveform.shape == (1, 800)
    assert np.abs(recording.waveform[0] - tone()).max() <= accuracy


def test_files_that_others_made():
    """SciPy's own test files, of five widths and one to five channels; broken and compressed ones are refused."""
    scipy_files = sorted((Path(scipy.io.__file__).parent / "tests/data").glob("*.wav"))
    if not scipy_files:
        pytest.skip("this SciPy comes without its test files")
    refused = {}
    for path in scipy_files:
        try:
            recording = read(path)
        except DataError as error:
            refused[path.stem] = str(error)
            continue
        assert f"-{recording.rate}Hz-" in path.name
        assert f"-{len(recording.waveform)}ch-" in path.name
        assert np.abs(recording.waveform).max() <= 1
    assert not any("\n" in message for message in refused.values())
    assert all("eof" in name or "incomplete" in name or "inconsistent" in name or "law" in name for name in refused)
    assert len(refused) < len(scipy_files) / 2


def without_sizes(path, size):
    """A WAV as it comes out of a pipe: the sizes in its header are unknown."""
    content = bytearray(write(path).read_bytes())
    content[4:8] = size.to_bytes(4, "little")
    place = content.index(b"data") + 4
    content[place : place + 4] = size.to_bytes(4, "little")
    Path(path).write_bytes(content)


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF])
def test_a_wav_from_a_pipe(here, size):
    without_sizes("x.wav", size)
    assert np.array_equal(read(Path("x.wav")).waveform, read(write("y.wav")).waveform)


@pytest.mark.parametrize(
    ("format", "subtype"),
    [("WAV", "ULAW"), ("WAV", "ALAW"), ("WAV", "MS_ADPCM"), ("WAV", "IMA_ADPCM"), ("FLAC", "PCM_16"), ("MP3", None)],
)
def test_what_scipy_does_not_read_and_is_called_wav(here, format, subtype):
    soundfile = pytest.importorskip("soundfile")
    if format not in soundfile.available_formats():
        pytest.skip(f"this libsndfile has no {format}")
    wave = np.tile(tone(), 10)
    soundfile.write("x", wave, RATE, format=format, subtype=subtype)
    Path("x").rename("x.wav")
    recording = read(Path("x.wav"))
    assert recording.rate == RATE
    assert recording.kind.startswith(format)
    levels = [np.sqrt(np.mean(samples**2)) for samples in (recording.waveform, wave)]
    assert levels[0] == pytest.approx(levels[1], rel=0.05)


def test_a_cut_off_wav_of_another_kind_is_refused(here):
    soundfile = pytest.importorskip("soundfile")
    soundfile.write("x.wav", tone(), RATE, subtype="ULAW")
    Path("x.wav").write_bytes(Path("x.wav").read_bytes()[:500])
    with pytest.raises(DataError, match=r"x\.wav: ends before the last sample that its header promises"):
        read(Path("x.wav"))


def test_a_pipe_that_broke_in_the_middle_of_a_frame_leaves_out_this_frame(here):
    without_sizes("x.wav", 0)
    Path("x.wav").write_bytes(Path("x.wav").read_bytes()[:-1])
    assert np.array_equal(read(Path("x.wav")).waveform[0], read(write("y.wav")).waveform[0, :-1])
    Path("x.wav").write_bytes(Path("x.wav").read_bytes()[:44])
    with pytest.raises(DataError, match=r"x\.wav: a recording of no samples"):
        read(Path("x.wav"))


def test_without_soundfile_one_line_says_what_to_install(here, monkeypatch):
    monkeypatch.setitem(sys.modules, "soundfile", None)
    Path("x.wav").write_text("hello")
    with pytest.raises(DataError, match=r"x\.wav: cannot be read as a WAV file .* pip install 'normlab\[audio\]'$"):
        read(Path("x.wav"))


def test_flac_is_the_wav(here):
    soundfile = pytest.importorskip("soundfile")
    write("x.wav")
    soundfile.write("x.flac", wavfile.read("x.wav")[1], RATE)
    assert np.array_equal(read(Path("x.flac")).waveform, read(Path("x.wav")).waveform)


def test_a_folder_with_a_class_each(here):
    for name in ("cat", "dog"):
        for i in range(5):
            write(f"mine/{name}/{i}.wav", tone(seconds=0.1 + 0.02 * (name == "dog")))
    data = dataset("audio", root="mine")
    assert (data.kind, data.classes, data.shape) == ("audio", ("cat", "dog"), (1, 960))
    assert "recordings 5 of 10 too short: zeros at the end" in data.notes
    assert (data.black, data.white) == (0, 1)
    cropped = dataset("audio", root="mine", seconds=0.1)
    assert cropped.shape == (1, 800)
    assert "recordings 5 of 10 too long: cropped" in cropped.notes


def test_other_rates_and_channels_are_converted_and_told(here):
    for name in ("a", "b"):
        for i in range(5):
            write(f"mine/{name}/{i}.wav")
    write("mine/a/other.wav", tone(rate=16000), 16000)
    write("mine/b/stereo.wav", np.stack([tone(), np.zeros_like(tone())], 1))
    data = dataset("audio", root="mine")
    assert "1 recordings resampled from 16,000 to 8,000 samples in a second" in data.notes
    assert "1 recordings of several channels, mixed down to one" in data.notes
    every = torch.cat([split.inputs for split in data.splits.values()])
    levels = sorted(every.square().mean((1, 2)).sqrt().tolist())
    assert levels[0] == pytest.approx(levels[5] / 2, rel=1e-3)  # the mean of a tone and silence
    assert levels[1] == pytest.approx(levels[-1], rel=0.02)  # the same tone from another rate
    assert dataset("audio", root="mine", rate=4000).shape == (1, 400)


def test_no_speaker_is_split_apart(here):
    corpus()
    data = dataset("audio", root="mine", names="label_speaker_*", test=0.25, validation=0.3)
    assert data.classes == ("0", "1")
    assert "4 speakers in the training files; none is split apart" in data.notes
    counts = {name: len(split) for name, split in data.splits.items()}
    assert counts == {"train": 8, "validation": 4, "test": 4}  # whole speakers, four recordings each
    others = [dataset("audio", root="mine", names="label_speaker_*", test=0.25, split_seed=s).key for s in range(4)]
    assert len(set(others)) > 1


def test_names_may_be_in_folders(here):
    corpus()
    for path in list(Path("mine").iterdir()):
        digit, speaker, take = path.stem.split("_")
        Path("by", speaker).mkdir(parents=True, exist_ok=True)
        path.rename(f"by/{speaker}/{digit}-{take}.wav")
    assert dataset("audio", root="by", names="speaker/label-*").classes == ("0", "1")


def test_tones_need_no_file(here):
    data = dataset("tones", per_class=6)
    assert data.shape == (1, 4000)
    assert len(data.classes) == 6
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 36, "validation": 12, "test": 12}
    assert torch.equal(data.train.inputs * 2**15, (data.train.inputs * 2**15).round())  # of 16 bits
    assert dataset("tones", per_class=6).content == data.content
    level = 20 * data.train.inputs.square().mean((1, 2)).sqrt().log10()
    assert level.min() > -26.5
    assert level.max() < -13.5


def truncated(path):
    write(path)
    content = Path(path).read_bytes()
    Path(path).write_bytes(content[: len(content) // 2])


def pair():
    write("mine/a/1.wav")
    write("mine/b/1.wav")


def bad(action):
    """A folder of two good recordings, and what an action does to it."""

    def make():
        pair()
        action()

    return make


def both_splits():
    for split in ("train", "test"):
        corpus(f"mine/{split}", speakers=("ann", split))


def corpus_of(*folders):
    for folder in folders:
        for take in range(4):
            write(f"mine/{folder}/{take}.wav", tone(300 + 10 * take))


REFUSED = {  # what is made, the options, and the message
    "no root": (pair, {"root": None}, "data=audio needs data.root=FOLDER"),
    "no folder": (lambda: None, {}, "there is no folder mine"),
    "no recordings": (lambda: os.makedirs("mine/a"), {}, "no recordings in it"),
    "one class only": (lambda: write("mine/a/1.wav"), {}, "only one class, 'a'"),
    "a recording outside": (bad(lambda: write("mine/loose.wav")), {}, "loose.wav: a recording outside any sub-folder"),
    "no samples": (bad(lambda: write("mine/a/2.wav", tone()[:0])), {}, "2.wav: a recording of no samples"),
    "truncated": (bad(lambda: truncated("mine/a/2.wav")), {}, "2.wav: ends before the last sample"),
    "text": (bad(lambda: Path("mine/a/2.wav").write_text("hello")), {}, "2.wav: cannot be read as a WAV file"),
    "empty": (bad(lambda: Path("mine/a/2.wav").write_bytes(b"")), {}, "2.wav: cannot be read as a WAV file"),
    "NaN": (
        bad(lambda: write("mine/a/2.wav", tone() * np.nan, dtype=np.float32)),
        {},
        "2.wav: 800 samples are NaN or infinite",
    ),
    "a flac that is none": (bad(lambda: Path("mine/a/2.flac").write_text("x")), {}, "2.flac: "),
    "unequal lengths": (
        bad(lambda: write("mine/a/2.wav", tone(seconds=0.05))),
        {"too_short": "error"},
        "2.wav: has 400 samples, others 800: choose data.too_short",
    ),
    "too long": (pair, {"seconds": 0.05, "too_long": "error"}, "has 800 samples, more than 400"),
    "less than a sample": (pair, {"seconds": 1e-5}, "less than one sample"),
    "a name that does not fit": (pair, {"names": "label_speaker_*"}, "1.wav: its name does not fit data.names=label"),
    "a pattern without a label": (pair, {"names": "speaker_*"}, "expected the word label once"),
    "a speaker in both splits": (both_splits, {"names": "label_speaker_*"}, "'ann' is in both the train and the test"),
    "two training splits": (lambda: corpus_of("train/a", "Training/a"), {}, "'Training' and 'train' are both names"),
    "splits without training": (
        lambda: corpus_of("Test/a", "val/a"),
        {},
        "'Test' and 'val' named as a split, but there is no train/",
    ),
    "folds": (lambda: corpus_of("fold1", "fold2", "fold3"), {}, "look like folds of a cross-validation, not like clas"),
    "splits in classes": (lambda: corpus_of("a/train", "a/test", "b"), {}, "'a' holds splits .'test', 'train'."),
    "a split among classes": (lambda: corpus_of("test", "a", "b"), {}, "'test' is the name of a split, but 'a', 'b'"),
    "lists": (pair, {"splits": "lists.csv"}, "data.splits=lists.csv: recordings take no lists"),
    "an empty class": (bad(lambda: os.makedirs("mine/c")), {}, "mine/c: no recordings in it; move the folder away"),
    "too few speakers": (lambda: corpus(speakers=("ann", "bob")), {"names": "label_speaker_*"}, "2 group"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_is_refused_in_one_line(here, monkeypatch, case):
    monkeypatch.delenv("NORMLAB_DATA", raising=False)
    make, options, message = REFUSED[case]
    make()
    with pytest.raises(DataError, match=message) as error:
        dataset("audio", **{"root": "mine", **options})
    assert "\n" not in str(error.value)


def test_splits_are_known_in_any_case_and_what_is_left_out_is_told(here):
    corpus_of("Train/cat", "Train/dog", "Validation/cat", "Validation/dog", "extra")
    write("mine/Train/cat/.hidden.wav")
    Path("mine/Train/cat/x.m4a").write_bytes(b"x")
    Path("mine/Train/dog/README").write_text("x")
    data = dataset("audio", root="mine")
    assert data.classes == ("cat", "dog")
    assert len(data.test) == 8
    for note in (
        "Train/ is the train split",
        "Validation/ is the test split, because there is no other folder for it",
        "left out 4 recordings in mine/extra: they belong to no split or class",
        "left out 2 files without the ending of a recording (1 .m4a, 1 without an ending)",
        "left out 1 hidden file (.hidden.wav)",
    ):
        assert note in data.notes
    assert not any("validation split" in note for note in data.notes)


@pytest.mark.parametrize(
    ("train", "test"), [("train_data", "test_data"), ("Train Set", "Test Set"), ("trainval", "test"), ("a 1", "a 2")]
)
def test_splits_have_the_names_that_folders_of_images_may_have(here, train, test):
    corpus_of(f"{train}/cat", f"{train}/dog", f"{test}/cat", f"{test}/dog")
    options = {"splits": {"train": train, "test": test}} if train == "a 1" else {}
    data = dataset("audio", root="mine", **options)
    assert data.classes == ("cat", "dog")
    assert (len(data.train) + len(data.validation), len(data.test)) == (8, 8)
    assert f"{train}/ is the train split" in data.notes
    assert any(
        note.startswith("DUPLICATES: 8 of 8 test recordings are also in another split, with equal bytes (such as mine/")
        for note in data.notes
    )
    assert dataset("audio", root="mine", splits="none").classes == tuple(sorted((train, test)))


def test_copies_in_a_folder_without_splits_are_told(here):
    """A random split puts one into training and the other into the test."""
    for name, start in (("a", 200), ("b", 400)):
        for take in range(6):
            write(f"mine/{name}/{take}.wav", tone(start + take))
    assert not any("REPEATED" in note for note in dataset("audio", root="mine").notes)
    for take in range(3):
        Path(f"mine/a/{take} copy.wav").write_bytes(Path(f"mine/a/{take}.wav").read_bytes())
    assert any(
        note.startswith("REPEATED: 3 recordings have the same bytes as another one (such as mine/a/0.wav and mine/a/0")
        for note in dataset("audio", root="mine").notes
    )


def test_floats_far_above_full_scale_are_told(here):
    """Integers of 16 bits that a program wrote as floats, beside recordings of others."""
    for name, start in (("a", 200), ("b", 400)):
        for take in range(6):
            write(f"mine/{name}/{take}.wav", tone(start + take))
    wavfile.write("mine/a/0.wav", RATE, np.round(tone() * 32767).astype(np.float32))
    wavfile.write("mine/a/1.wav", RATE, tone(level=1.2))
    (note,) = (note for note in dataset("audio", root="mine").notes if "FULL SCALE" in note)
    assert note.startswith("ABOVE FULL SCALE: 1 of 12 recordings are floats up to 16,38")
    assert "mine/a/0.wav" in note


def test_two_spellings_of_a_label_in_names_are_told(here):
    for place in range(24):
        write(f"mine/{('yes', 'Yes', 'no')[place % 3]}_ann_{place}.wav", tone(200 + place))
    notes = dataset("audio", root="mine", names="label_*").notes
    assert "ALIKE: 'Yes', 'yes' are classes of their own, and their names differ in case or spaces alone" in notes


def test_links_are_followed_and_generated_folders_left_out(here):
    corpus_of("a")
    write("elsewhere/0.wav")
    for take in range(1, 4):
        write(f"elsewhere/{take}.wav", tone(200 + take))
    Path("mine/b").symlink_to(Path("elsewhere").absolute())
    for folder in ("mine/a/@eaDir", "mine/__MACOSX"):
        write(f"{folder}/0.wav")
    data = dataset("audio", root="mine", test=0.25, validation=0.3)
    assert data.classes == ("a", "b")
    assert sum(map(len, data.splits.values())) == 8
    assert "left out 2 files in hidden or generated folders (1 in @eaDir, 1 in __MACOSX)" in data.notes


def test_what_speaks_against_a_layout_is_told(here):
    corpus_of("gold/cat", "gold/dog", "silver/cat", "silver/dog")
    notes = dataset("audio", root="mine").notes
    assert any(note.startswith("SAME SUB-FOLDERS: 'gold', 'silver' are taken as classes") for note in notes)
    corpus_of("labels/cat", "labels/dog")
    assert not any("MASKS" in note for note in dataset("audio", root="mine").notes)


def test_a_front_end_that_does_not_fit_is_refused():
    with pytest.raises(ConfigError, match="a frame has 0 samples"):
        dataset("tones", per_class=3, window_ms=0.1)


@pytest.mark.real_data
@pytest.mark.skipif(not (REAL / "spoken_digits").is_dir(), reason="no spoken_digits in NORMLAB_DATA")
def test_spoken_digits():
    data = dataset("spoken_digits", front="kaldi", limit=50)
    assert len(data.classes) == 10
    assert "5 speakers in the training files; none is split apart" in data.notes
