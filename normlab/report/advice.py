"""The page for practitioners, results/README.md: a text with numbers that come from the studies' records."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jinja2 import StrictUndefined, Template

from normlab.files import write_whole
from normlab.report import anchors
from normlab.report.numbers import Numbers
from normlab.report.study import Study
from normlab.verdicts import Verdict

TEMPLATE = Path(__file__).with_name("advice.md")
ANSWER = Path(__file__).with_name("answer.md")


def write_advice(studies: Sequence[tuple[Study, list[Verdict]]], results: Path) -> Path | None:
    """Write ``README.md`` into the folder of all results; None without the study that it begins with.

    What other studies would have to say is left out as long as they have no records.
    """
    numbers = Numbers(studies)
    if not numbers.has("ordering"):
        return None
    known = {study.name: (study, verdicts) for study, verdicts in studies}

    def published(study: str) -> str:
        return anchors.table(*known[study], short=True) if study in known else ""

    template = Template(TEMPLATE.read_text(), undefined=StrictUndefined, keep_trailing_newline=True, trim_blocks=True)
    path = results / "README.md"
    write_whole(path, template.render(of=numbers, published=published, answer=answer(numbers)))
    return path


def answer(numbers: Numbers) -> str:
    """The answer in a few lines, as Markdown; only what studies with records say."""
    template = Template(ANSWER.read_text(), undefined=StrictUndefined, keep_trailing_newline=True, trim_blocks=True)
    return template.render(of=numbers)
