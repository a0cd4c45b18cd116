"""The page: one self-contained file. The answer and one figure, then your case, the claims, and every study."""

from __future__ import annotations

import base64
import html
import math
from collections import Counter
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Template
from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup
from PIL import Image

from normlab.files import write_whole
from normlab.record import provenance
from normlab.report.advice import answer
from normlab.report.effects import LEFT, MATTERS, effects
from normlab.report.ledger import entries, judged_by, verdict_of
from normlab.report.numbers import Numbers
from normlab.report.study import Study
from normlab.report.tables import effect, pairs, tested
from normlab.verdicts import Verdict

FILTERS = {
    "kind": "kind of data", "scheme": "scheme", "network": "network", "inside": "normalized inside",
    "optimizer": "optimizer", "init": "initial weights", "schedule": "rate", "data": "data",
}  # fmt: skip
FIGURE = (
    "What each scheme costs or gains against standardizing by the data set's own statistics, each at its best rate, by "
    "network, data, optimizer and initial weights"
)
RIGHT = 5.0  # points: the end of a drawn effect, as LEFT
LONG = 48  # characters, from which the text of a table's cell may break
# Results that are not those of a study: folder, heading.
OTHERS = {
    "conditioning": "Theory beside measurement: the linear model",
    "stability": "Largest stable learning rates",
    "curvature": "Networks at their start",
    "benchmarks": "Speed",
}


@dataclass(frozen=True)
class Article:
    """One document of the results."""

    anchor: str
    title: str
    html: str


@dataclass(frozen=True)
class Part:
    """Documents under one heading."""

    anchor: str
    title: str
    articles: list[Article]


def write_page(studies: list[tuple[Study, list[Verdict]]], results: Path) -> Path:
    """Write ``index.html`` from the documents in a folder of results, and say where.

    Args:
        studies: with their verdicts.
        results: folder of all results; the Markdown files in it become the page's articles.
    """
    known, numbers, frame = entries(), Numbers(studies), effects([study for study, _ in studies])
    advice = results / "README.md"
    parts = [
        Part("advice", "What to use", [article(advice, "what-to-use")] if advice.is_file() else []),
        Part("ledger", "The ledger of claims", [article(results / "claims.md", "claims-all")]),
        Part("studies", "Studies", [article(results / s.name / "README.md", f"study-{s.name}") for s, _ in studies]),
    ]
    for folder, title in OTHERS.items():
        documents = sorted((results / folder).rglob("*.md"))
        parts.append(Part(folder, title, [article(path, _anchor(path.relative_to(results))) for path in documents]))
    verdicts: list[dict[str, Any]] = [
        {
            "id": id_,
            "statement": known[id_].statement if id_ in known else judged[0][1].claim.statement,
            "result": verdict_of(judged).result,
            "text": verdict_of(judged).text,
            "effect": _largest(judged),
            "under": "; ".join(dict.fromkeys(filter(None, (numbers.conditions(study.name) for study, _ in judged)))),
            "studies": [study.name for study, _ in judged],
        }
        for id_, judged in judged_by(studies).items()
    ]
    template = Template((Path(__file__).with_name("page.html")).read_text(), autoescape=True)
    drawn = results / "effects.png"
    text = template.render(
        answer=Markup(MarkdownIt("commonmark").render(answer(numbers))),
        figure=Markup(_figure(drawn, FIGURE)) if drawn.is_file() else "",
        effects=[_shown(row) for _, row in frame.iterrows()],
        filters=[{"name": name, "title": title, "options": sorted(set(frame[name]))} for name, title in FILTERS.items()]
        if len(frame)
        else [],
        parts=[_markup(part) for part in parts if part.articles],
        verdicts=verdicts,
        counts=Counter(verdict["result"] for verdict in verdicts),
        commit=provenance()["commit"],
    )
    path = results / "index.html"
    write_whole(path, text)
    return path


def _largest(judged: list[tuple[Study, Verdict]]) -> str:
    """The part of a claim with the largest difference of accuracies, with its interval and its pairs."""
    cells = [cell for _, verdict in judged for cell in verdict.cells if not math.isnan(cell.interval.estimate)]
    if not cells:
        return ""
    cell = max(cells, key=lambda one: abs(one.interval.estimate))
    return f"{tested(cell)}: {effect(cell)}, n = {pairs(cell)}"


def _shown(row: pd.Series) -> dict[str, Any]:
    """An effect as a row of the page, with a drawing of its interval."""
    text = f"{row.difference:+.1f} [{row.low:+.1f}, {row.high:+.1f}]"
    low, middle, high, left, zero, right = (
        _place(value) for value in (row.low, row.difference, row.high, -MATTERS, 0, MATTERS)
    )
    filled = "mark" if row.schedule == "cosine" else "mark open"
    drawn = (
        f'<svg class="effect" viewBox="0 0 240 22" role="img" aria-label="{text} points"><title>{text} points</title>'
        f'<rect class="band" x="{left}" y="0" width="{right - left:.1f}" height="22"/>'
        f'<line class="zero" x1="{zero}" x2="{zero}" y1="0" y2="22"/>'
        f'<line class="interval" x1="{low}" x2="{high}" y1="11" y2="11"/>'
        f'<circle class="{filled}" cx="{middle}" cy="11" r="4"/></svg>'
    )
    return {**row, "text": text, "drawn": Markup(drawn)}


def _place(points: float) -> float:
    """Where a difference stands in the drawing; beyond its ends, at the end."""
    return round(235 * (min(max(points, LEFT), RIGHT) - LEFT) / (RIGHT - LEFT) + 2.5, 1)


def _markup(part: Part) -> dict[str, object]:
    articles = [{**vars(one), "html": Markup(one.html)} for one in part.articles]
    return {**vars(part), "articles": articles}


def article(path: Path, anchor: str) -> Article:
    """A Markdown file as HTML, two levels of headings lower, with its pictures inside.

    Args:
        path: of the file; its first line is its title.
        anchor: of its heading.
    """
    text = path.read_text()
    title = text.splitlines()[0].lstrip("# ").strip()
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = markdown.parse(text)
    figures = _adapt(tokens, path.parent, anchor, html.escape(title, quote=True))
    body = markdown.renderer.render(tokens, markdown.options, {})
    if not figures:
        drawn = sorted(path.parent.glob("*.png"))
        body += "".join(
            _figure(one, _caption(one)) if place == 0 else _elsewhere(one, _caption(one))
            for place, one in enumerate(drawn)
        )
    return Article(anchor, title, body)


def _adapt(tokens: list[Token], folder: Path, anchor: str, label: str) -> int:
    """Make of a document's tokens those of an article, in place, and return the number of its figures."""
    figures, tables = 0, 0
    headings = (token for token in tokens if token.type == "heading_open")
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(int(token.tag[1]) + 2, 6)}"
        elif token.type == "th_open":
            token.attrSet("scope", "col")
        elif token.type == "table_open":
            tables += 1
            region = f'<div class="scroll" role="region" aria-label="{label}, table {tables}" tabindex="0">'
            _become(token, f"{region}<table>")
        elif token.type == "table_close":
            _become(token, "</table></div>")
    if first := next(headings, None):
        first.attrSet("id", anchor)
    for before, token, after in zip(tokens, tokens[1:], tokens[2:], strict=False):
        parts = token.children or []
        for part in parts:
            if part.type == "image" and not _is_figure(folder, str(part.attrs["src"])):
                part.type, part.attrs, part.children = "text", {}, None  # of a name: nothing is read or fetched for it
        if before.type == "td_open" and len(token.content) >= LONG and all(part.type == "text" for part in parts):
            before.attrSet("class", "long")
        if before.type == "paragraph_open" and [part.type for part in parts] == ["image"]:
            figures += 1
            picture, caption = folder / str(parts[0].attrs["src"]), parts[0].content
            _become(token, _figure(picture, caption) if figures == 1 else _elsewhere(picture, caption))
            before.hidden = after.hidden = True
    return figures


def _is_figure(folder: Path, source: str) -> bool:
    """Whether an image is a figure of a document: a PNG file in its folder."""
    return (
        "://" not in source
        and Path(source).suffix == ".png"
        and (folder / source).resolve().is_relative_to(folder.resolve())
    )


def _become(token: Token, content: str) -> None:
    """Let a token be rendered as HTML that is ready."""
    token.type, token.content, token.children = "html_block", content, None


def _figure(path: Path, caption: str) -> str:
    smaller = BytesIO()
    with Image.open(path) as picture:
        picture.convert("RGB").save(smaller, "webp", lossless=True)  # the same pixels in half of the bytes
        width, height = picture.size
    content = base64.b64encode(smaller.getvalue()).decode()
    text = html.escape(caption, quote=True)
    size = f'width="{width}" height="{height}" loading="lazy"'
    return (
        f'<figure><img src="data:image/webp;base64,{content}" {size} alt="{text}">'
        f"<figcaption>{text}</figcaption></figure>"
    )


def _elsewhere(path: Path, caption: str) -> str:
    """A second figure in words: the page keeps one a document, so that it stays below 3 MB."""
    place = html.escape(f"{path.parent.name}/{path.name}", quote=True)
    return f'<p class="soft">{html.escape(caption, quote=True)}: in the folder of results, <code>{place}</code>.</p>'


CAPTIONS = {
    "spectra": "Eigenvalues of the Hessian under each scheme",
    "curves": "Excess loss of gradient descent: lines predicted, markers measured",
    "iterations": "Measured against predicted iterations, with the line of equality",
    "paths": "Loss over two weights, with the path of gradient descent",
    "rates": "Measured against predicted largest stable learning rate, with the line of equality",
    "density": "Spectral density of the Hessian under each scheme",
}


def _caption(path: Path) -> str:
    return CAPTIONS.get(path.stem, path.stem.replace("_", " "))


def _anchor(path: Path) -> str:
    return "-".join(path.with_suffix("").parts).replace("_", "-")
