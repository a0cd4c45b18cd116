"""Every command of the documentation, as it is printed, in one folder that holds what the pages speak of.

    python benchmarks/documented.py [--long] [--only TEXT]

A command is a line after ``$`` in a block marked ``console`` of README.md, CONTRIBUTING.md or docs/, or a code span of
such a page that begins with ``python -m normlab``. It is either run, or listed below with the reason why not. Those
that take minutes are run with ``--long``, and once a week by ``pytest -m campaign``.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import wave
from pathlib import Path
from typing import NamedTuple

import numpy as np
from markdown_it import MarkdownIt
from PIL import Image

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
MOST_SECONDS = 1800

INSTALLS = "installs packages, over the network; CI does"
TRAINED = "ten minutes or more, by the budget that it names; tests/test_choose.py runs the command with a small budget"
ACCOUNT = "needs an account of W&B"
# A command that is not run by itself, and why. Everything else is run.
REASONS = {
    "pip install -e . && python -m normlab +norm=imagenet": f"{INSTALLS}; tests/commandline runs the second part",
    "pip install -e '.[test]' && pytest": f"{INSTALLS}; the second part is these tests",
    "pip install -e '.[dev]' && pre-commit install": INSTALLS,
    "pip install -e '.[series]'": INSTALLS,
    "python -m normlab.choose flower_photos budget=10min data.limit=700 norms=unit,imagenet,dataset": TRAINED,
    "python -m normlab.choose path/to/images budget=10min": TRAINED,
    "python -m normlab -m +experiment=learning_rates": "ten minutes for 120 runs; tests/test_studies.py composes them",
    "python -m normlab -m '+norm=unit,imagenet,dataset' 'seed=range(0,5)' logger.mode=online": ACCOUNT,
    "wandb sync runs/*/wandb/offline-run-* runs/sweeps/*/wandb/offline-run-*": ACCOUNT,
    "wandb sweep docs/sweep.yaml": ACCOUNT,
    "wandb agent ID": f"{ACCOUNT}; tests/training/test_mirror.py calls what an agent calls",
    "python -m normlab +norm=halved": "the scheme is the one that the reader has just added",
}  # fmt: skip
LONG = {
    "python -m normlab -m +experiment=input_ranges",
    "python -m normlab -m '+norm=raw,unit,centered,dataset' 'seed=range(0,5)'",
    "python -m normlab -m '+norm=raw,unit,dataset' 'seed=range(0,5)'",
    "python -m normlab -m '+norm=raw,unit,centered,imagenet,dataset' 'seed=range(0,5)'",
    "python -m normlab -m '+norm=raw,peak,rms,dataset,cmn,cmvn' 'seed=range(0,5)' data=tones arch=cnn1d "
    "'trainer.shifts=[gain,microphone,noise]'",
    "python -m normlab -m '+norm=raw,dataset_all,per_channel,robust,revin' 'seed=range(0,5)' data=japanese_vowels "
    "arch=cnn1d",
    "python -m normlab -m +norm=raw data=sms_like arch=text_transformer optim=adam arch.embedding_std=0.02,1 "
    "arch.layer_norm=none,after_embedding 'seed=range(0,5)'",
    "python -m normlab -m +experiment=ordering quick=true",
    "python -m normlab.choose path/to/images budget=5min",
    "python -m normlab.stability data=digits arch=cnn",
    "python -m normlab.curvature data=digits arch=vit",
}
# Words of a printed command that stand for the reader's own.
PLACEHOLDER = re.compile(r"\b(NAME|STUDY|PATH|FOLDER|FILE|COLUMN)\b|\.\.\.")
A_NAME = "stands for a name of the reader's own"


class Command(NamedTuple):
    """A printed command.

    Attributes:
        page: where it stands first, below the root of the repository.
        text: of the command, on one line.
    """

    page: str
    text: str

    def __str__(self) -> str:
        return self.text

    @property
    def reason(self) -> str | None:
        """Why it is not run; None if it is."""
        placeholder = PLACEHOLDER.search(self.text)
        return REASONS.get(self.text) or (f"{placeholder[0]} {A_NAME}" if placeholder else None)


def commands() -> list[Command]:
    """All commands, each once, in the order of the pages."""
    found: dict[str, Command] = {}
    for page in PAGES:
        for text in printed(page.read_text()):
            found.setdefault(text, Command(page.relative_to(ROOT).as_posix(), text))
    return list(found.values())


def printed(markdown: str) -> list[str]:
    r"""The commands of a page.

    >>> printed("```console\n$ a b \\\n   c\nout\n```\nSee `python -m normlab x` and `ls`.")
    ['a b c', 'python -m normlab x']
    """
    found = []
    for token in MarkdownIt().enable("table").parse(markdown):
        if token.type == "fence" and token.info == "console":
            lines = re.sub(r"\\\n\s*", "", token.content).splitlines()
            found += [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        spans = [part.content for part in token.children or () if part.type == "code_inline"]
        found += [span for span in spans if re.match(r"python -m normlab\S* (?!-m$)", span)]
    return found


def python_blocks() -> dict[str, list[str]]:
    """The blocks marked ``python`` of each page that has some, but dialogs, which tests/test_docs.py runs."""
    blocks = {
        page.relative_to(ROOT).as_posix(): [
            token.content
            for token in MarkdownIt().parse(page.read_text())
            if token.info.strip() == "python" and not token.content.startswith(">>>")
        ]
        for page in PAGES
    }
    return {page: texts for page, texts in blocks.items() if texts}


def furnish(folder: Path) -> None:
    """Make the files that the pages speak of: images, recordings, a table, messages, the records of a study."""
    generator = np.random.default_rng(0)
    for label in range(2):
        _make_images(folder / "path/to/images" / ("cat", "dog")[label], 80 + 90 * label, generator)
        _make_recordings(folder / "recordings" / ("low", "high")[label], label, generator)
    incomes = generator.integers(20_000, 90_000, 50)
    rows = [f"{20 + place},{income},{'yes' if place > 25 else 'no'}" for place, income in enumerate(incomes)]
    (folder / "customers.csv").write_text("\n".join(["age,income,churn", *rows * 4]) + "\n")
    words = {"spam": ["free", "prize", "call", "win", "now"], "ham": ["see", "you", "later", "home", "lunch", "now"]}
    lines = [f"{kind}\t{' '.join(generator.choice(words[kind], 6))}" for kind in words for _ in range(150)]
    (folder / "messages.tsv").write_text("\n".join(["kind\tmessage", *lines]) + "\n")
    for label in range(2):
        _make_scenes(folder / "scenes" / ("field", "water")[label], 2000 - 1200 * label, generator)
    for study in ("learning_rates", "ordering"):
        shutil.copytree(ROOT / "results" / study, folder / "results" / study)


def _make_images(folder: Path, level: int, generator: np.random.Generator) -> None:
    folder.mkdir(parents=True)
    for place in range(150):  # two batches of training images
        pixels = generator.normal(level, 40, (80, 96, 3)).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{place}.png")


def _make_scenes(folder: Path, level: int, generator: np.random.Generator) -> None:
    """Four bands of 12 bits in files of 16, with a border without data."""
    import tifffile

    folder.mkdir(parents=True)
    for place in range(40):
        scene = np.clip(generator.normal(level, 300, (4, 32, 32)), 1, 4095).astype(np.uint16)
        scene[:, :, :4] = 0
        tifffile.imwrite(folder / f"{place}.tif", scene, photometric="minisblack", planarconfig="separate")


def _make_recordings(folder: Path, label: int, generator: np.random.Generator) -> None:
    """Files like 7_jackson_12.wav: half a second of a tone at 8 kHz."""
    folder.mkdir(parents=True)
    for place in range(60):
        tone = np.sin(2 * np.pi * (300 + 500 * label) * np.arange(4000) / 8000) + generator.normal(0, 0.1, 4000)
        with wave.open(str(folder / f"{label}_speaker{place % 10}_{place}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(8000)
            file.writeframes((tone * 8000).astype("<i2").tobytes())


def call(text: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a printed command in a folder, with this interpreter and this checkout, without NORMLAB_DATA."""
    environment = {key: value for key, value in os.environ.items() if key != "NORMLAB_DATA"}
    environment |= {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "NORMLAB_CACHE": str(folder / "cache"),
    }
    return subprocess.run(
        ["bash", "-c", text], cwd=folder, env=environment, capture_output=True, text=True, timeout=MOST_SECONDS
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="commands that hold this text; nothing is written then")
    parser.add_argument("--long", action="store_true", help="also those that take minutes")
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as place:
        furnish(Path(place))
        for command in commands():
            if options.only not in command.text:
                continue
            status, seconds, reason = "-", "-", command.reason
            if command.text in LONG and not options.long:
                reason = "minutes; `pytest -m campaign` runs it, once a week"
            if reason is None:
                start = time.perf_counter()
                done = call(command.text, Path(place))
                status, seconds = str(done.returncode), f"{time.perf_counter() - start:.0f}"
                if done.returncode:
                    print(done.stdout[-2000:], done.stderr[-2000:], file=sys.stderr)
            row = {"page": command.page, "command": f"`{command.text}`", "status": status, "seconds": seconds}
            rows.append(row | {"not run here, because": reason or ""})
            print(rows[-1], file=sys.stderr, flush=True)
    if not options.only:
        write_table(rows)


def write_table(rows: list[dict[str, str]]) -> None:
    """Write the table into results/reliability."""
    from provenance import write

    made = [row for row in rows if row["status"] != "-"]
    wrong = sum(row["status"] != "0" for row in made)
    conditions = (
        f"{len(rows)} commands that are printed in the documentation, {len(made)} of them run as they are printed, one "
        f"after the other in one folder, so that a sweep skips what an earlier one ran; {wrong} ended with a status "
        "other than 0"
    )
    write("documented", "python benchmarks/documented.py", rows, conditions, "reliability")


if __name__ == "__main__":
    main()
