"""The command: from data to an answer, killed and continued, and what it refuses."""

import json
import sys

import numpy as np
import pytest
from PIL import Image
from scipy.io import wavfile

import normlab.run
from normlab import choose, record
from normlab.choosing.conduct import read_request
from normlab.choosing.data import look_at
from normlab.choosing.study import PILOT, Study
from normlab.data import dataset, load

SMALL = ["data=digits", "data.limit=150", "arch=linear", "arch.loss=cross_entropy", "norms=unit,dataset", "seeds=3"]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A study that is interrupted at its 12th run, and continued: the folder, what was printed, the runs made."""
    folder, printed, made = tmp_path_factory.mktemp("study"), [], []
    real = normlab.run.run

    def run(config, *arguments, **options):
        if len(made) == 11 and None not in made:
            made.append(None)
            raise KeyboardInterrupt
        made.append(config)
        return real(config, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(normlab.run, "run", run)
        patch.setattr("normlab.choosing.conduct.say", printed.append)
        arguments = [*SMALL, f"out={folder / 'study'}", "trainer.max_epochs=2", "budget=10min"]
        with pytest.raises(SystemExit) as end:
            choose.main(arguments)
        assert end.value.code == 130
        choose.main([*arguments, "--json"])
        runs = len(made)
        choose.main(arguments)
        assert len(made) == runs  # asked again, it only reads its records
    return folder / "study", printed, [config for config in made if config]


@pytest.mark.slow
def test_a_killed_study_goes_on_and_makes_no_run_twice(study):
    folder, _, made = study
    records = record.read_all(folder / "runs")
    assert len(records) == len(made)
    assert len({one["fingerprint"] for one in records}) == len(made)
    state = json.loads((folder / "choose.json").read_text())
    assert state["plans"] == [[0, 3]]
    assert [seeds for seeds, *_ in state["looks"]] == [3]


@pytest.mark.slow
def test_a_batch_that_is_larger_than_the_training_set_is_lowered_unless_the_user_named_it(
    tmp_path, monkeypatch, capsys
):
    printed = []
    monkeypatch.setattr("normlab.choosing.conduct.say", printed.append)
    few = [*SMALL[:1], *SMALL[2:-1], "data.limit=30", "trainer.max_epochs=1", "seeds=2"]
    choose.main([*few, f"out={tmp_path / 'study'}"])
    assert "batches of 4 in place of 128, because there are 30 training samples" in printed
    sizes = {one["config"]["data"]["batch_size"] for one in record.read_all(tmp_path / "study" / "runs")}
    assert sizes == {4}
    with pytest.raises(SystemExit):
        choose.main([*few, f"out={tmp_path / 'other'}", "data.batch_size=31"])
    assert "data.batch_size=31: larger than the training set of 30 images" in capsys.readouterr().err


@pytest.mark.slow
def test_the_answer_is_that_of_the_records(study):
    """Accuracies of held-out test images, the difference paired by seed, rates chosen by other seeds on validation."""
    folder, _, _ = study
    answer = json.loads((folder / "answer.json").read_text())
    frame = record.records(folder / "runs")
    rows = {row["norm"]: row for row in answer["schemes"]}
    assert set(rows) == {"unit", "dataset"}
    for norm, row in rows.items():
        own = frame[(frame.norm == norm) & (frame.seed < 3) & np.isclose(frame.lr, row["lr"])]
        assert sorted(own.seed) == [0, 1, 2]
        assert row["accuracy"] == pytest.approx(own.test_accuracy.mean())
    gain = rows["dataset"]["accuracy"] - rows["unit"]["accuracy"]
    assert rows["dataset"]["difference"] == pytest.approx(gain)
    assert rows["dataset"]["low"] < gain < rows["dataset"]["high"]
    pilots = frame[frame.seed >= PILOT]
    images = record.read_all(folder / "runs")[0]["provenance"]["images"]["validation"]
    for norm, row in rows.items():
        longest = pilots[(pilots.norm == norm) & (pilots.epochs == 2)]
        near = longest[longest.validation_accuracy >= longest.validation_accuracy.max() - 0.5 / images**0.5]
        assert np.isclose(near[near.validation_loss == near.validation_loss.min()].lr, row["lr"]).any()
    assert set(frame[frame.seed < 3].epochs) == {2}
    assert all(one["config"]["optim"]["schedule"] == "cosine" for one in record.read_all(folder / "runs"))


@pytest.mark.slow
def test_the_plan_comes_before_the_runs_with_its_power(study):
    folder, printed, _ = study
    plan = next(place for place, line in enumerate(printed) if line.startswith("Plan for 10 min"))
    assert "then 6 runs of" in printed[plan]
    assert "points will show" in printed[plan]
    assert any("seed 0" in line for line in printed[plan:])
    assert not any("seed 0" in line for line in printed[:plan])
    page = (folder / "report.html").read_text()
    answer = json.loads((folder / "answer.json").read_text())
    assert answer["answer"].split(" (")[0].replace("`", "") in page.replace("`", "")
    assert page.count("data:image/png;base64,") == 1
    assert "http" not in page.replace("https://", "http").split("<main>")[0]


BAD = {
    "no-such-folder": "no-such-folder: there is no such folder",
    "file.txt": "file.txt: expected a folder with one sub-folder of images or recordings for each class, or a table",
    "table.csv": "table.csv: there is no such file",
    "there.csv": "data.target=COLUMN",
    "data=sms_like": "data of the kind text: no schemes to choose from",
    "data=wine trainer.devices=2": "trainer.devices=2: runs are compared sample by sample; give 1",
    "one two": "name one folder, or one data set",
    "folder data=digits": "name one folder, or one data set",
    "folder": "no images in it|it is empty",
    "data=digits budget=banana": "budget=banana: expected a duration",
    "data=digits budget=10": "budget=10: expected a duration",
    "data=digits norms=unit": "norms=unit: one scheme; name two or more",
    "data=digits norms=unit,unit": "unit is named twice",
    "data=digits norms=unit,imagnet": "norms=imagnet: no such choice; did you mean imagenet",
    "data=digits norms=unit,dataset reference=raw": "reference=raw: expected one of the norms, unit, dataset",
    "data=digits margin=0": "margin=0: should be greater than 0",
    "data=digits seeds=0": "seeds=0: should be greater than or equal to 2",
    "data=digits seeds=1": "seeds=1: should be greater than or equal to 2",
    "data=digits sead=3": "sead: unknown key; did you mean seeds",
    "data=digts": "data=digts: no such choice; did you mean digits",
    "data=digits arch=cnm": "arch=cnm: no such choice; did you mean cnn",
    "data=digits optim.lr=-1": "lr=-1",
    "data=digits arch=pretrained": "image files are required",
    "data=digits data.limit=150 arch=linear budget=1s": "budget=1 s: too small. The start took",
}


@pytest.mark.parametrize("line", BAD)
def test_bad_input_is_one_line(line, here, capsys):
    (here / "folder").mkdir()
    (here / "file.txt").touch()
    (here / "there.csv").write_text("a,b\n" + "1.5,2\n" * 40)
    with pytest.raises(SystemExit) as end:
        choose.main(line.split())
    error = capsys.readouterr().err.splitlines()[-1]
    assert end.value.code == 2
    assert error.startswith("normlab: ")
    assert any(part in error for part in BAD[line].split("|")), error


@pytest.mark.slow
def test_a_folder_of_another_study_is_refused(study, here, capsys):
    with pytest.raises(SystemExit):
        choose.main([*SMALL, "margin=2", f"out={study[0]}"])
    assert "it holds a study of other schemes, data or options" in capsys.readouterr().err


def test_seeds_have_their_own_validation_and_the_same_test_samples(here):
    """Runs are paired by test samples; these are no part of what another seed trains on, or chooses a rate by."""
    request = read_request(["data=digits", "norms=unit,raw"])
    study = Study(request.configs(), request.source, "unit", 0.01, here, print, 0.0)
    splits = [load(study.config_of("unit", 1, seed, None).data, request.source).splits for seed in (0, 7, PILOT)]
    tests = [{image.numpy().tobytes() for image in parts["test"].images} for parts in splits]
    others = [{image.numpy().tobytes() for image in parts["train"].images} for parts in splits]
    assert tests[0] == tests[1] == tests[2]
    assert others[0] != others[1]
    assert not tests[0] & (others[0] | others[1] | others[2])


def test_paths_are_plain_text(here):
    for name in ("0123", "null", "a=b,c #1"):
        for label in "ab":
            (here / name / label).mkdir(parents=True)
            (here / name / label / "0.png").touch()
        assert read_request([name]).groups["data"]["root"] == str(here / name)


def test_the_kind_of_data_decides_what_is_compared(here):
    wavfile.write(here / "a.wav", 8000, np.zeros(800, dtype=np.int16))
    for name in ("yes", "no"):
        (here / "spoken" / name).mkdir(parents=True)
        for number in range(5):
            (here / "spoken" / name / f"{number}.wav").write_bytes((here / "a.wav").read_bytes())
    rows = "".join(f"{number},{number % 2}\n" for number in range(40))
    (here / "rows.csv").write_text(f"x,y\n{rows}")
    asked = {
        ("spoken",): ("audio", "raw", "cnn1d"),
        ("rows.csv", "data.target=y", "data.keep=[x]"): ("table", "raw", "mlp"),
        ("data=diabetes",): ("diabetes", "raw", "mlp"),
        ("data=digits", "arch=vit"): ("digits", "unit", "vit"),
        (): ("photos", "unit", "cnn"),
    }
    for arguments, (data, reference, arch) in asked.items():
        request = read_request(arguments)
        names = (request.groups["data"]["name"], request.reference, request.groups["arch"]["name"])
        assert names == (data, reference, arch)
        assert request.groups["optim"]["schedule"] == "cosine"
    assert read_request(["data=diabetes"]).groups["arch"]["loss"] == "squared_error"


def test_what_is_said_without_training(here):
    """Planted: a fifth of the range, and test images that are brighter by a tenth of it."""
    generator = np.random.default_rng(0)
    for split, shift in (("train", 0), ("test", 26)):
        for name in "ab":
            (here / split / name).mkdir(parents=True)
            for number in range(20):
                pixels = generator.integers(100 + shift, 150 + shift, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(here / split / name / f"{number}.png")
    sentences = " ".join(look_at(dataset("folder", root=here)))
    assert "Pixels lie between 0.392 and 0.584 of the range" in sentences
    assert "Test images are brighter than training images, by 0.10 of the range" in sentences
    assert len(look_at(dataset("photos", limit=500))) == 1  # nothing stands out in photographs
    assert "columns differ by a factor of 2" in look_at(dataset("wine"))[1]  # 2,000 to 3,000: proline and hue


@pytest.mark.slow
def test_a_trained_network_is_compared_without_training(here, photos, capsys):
    for place in range(6):
        path = here / "pictures" / f"{place}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(photos.train.images[500 * place].permute(1, 2, 0).numpy()).resize((64, 64)).save(path)
    choose.main(["pictures", "arch=pretrained", "norms=inception,raw", "--json"])
    answer = json.loads(capsys.readouterr().out)
    assert "efficientnet_lite0 expects mean 0.498 0.498 0.498" in answer["answer"]
    assert [row["norm"] for row in answer["schemes"]] == ["expected", "inception", "raw"]
    assert (here / answer["folder"] / "report.html").is_file()
    assert "runs" not in sys.argv
