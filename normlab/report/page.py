"""The page: one self-contained file. The answer and one figure, then your case, the claims, and every study."""

from __future__ import annotations

import base64
import html
import inspect
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Template
from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup
from PIL import Image

from normlab.config import choices, defaults
from normlab.files import write_whole
from normlab.record import provenance
from normlab.report.advice import answer
from normlab.report.effects import LEFT, MATTERS, RIGHT, effects
from normlab.report.ledger import effects_found, entries, judged_by, verdict_of
from normlab.report.numbers import Numbers
from normlab.report.study import Study
from normlab.report.tables import pairs_shown
from normlab.verdicts import Verdict

FILTERS = {
    "kind": "kind of data", "scheme": "scheme", "network": "network", "inside": "normalized inside",
    "optimizer": "optimizer", "init": "initial weights", "schedule": "rate", "data": "data",
}  # fmt: skip
FIGURE = (
    "What each scheme costs or gains against standardizing by the data set's own statistics, each at its best rate, by "
    "network, data, optimizer and initial weights"
)
EDGE = 8.0  # of the 240 units of a drawn effect: room for a whole mark at each end
LONG = 33  # characters, from which the text of a table's cell may break
WIDE = 700  # pixels; a wider figure keeps its size on a narrow screen, and is moved sideways
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
    cases, parts = _documents([study.name for study, _ in studies], results)
    verdicts: list[dict[str, Any]] = [
        {
            "id": id_,
            "statement": known[id_].statement if id_ in known else judged[0][1].claim.statement,
            "result": verdict_of(judged).result,
            "text": verdict_of(judged).text,
            "effect": effects_found(judged),
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
        names=formulas(sorted(set(frame.scheme))) if len(frame) else {},
        cases=Markup(cases),
        effects=[_shown(row) for _, row in frame.iterrows()],
        ends=f"{LEFT:+.0f} to {RIGHT:+.0f}",
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


def _documents(studies: list[str], results: Path) -> tuple[str, list[Part]]:
    """What the page for practitioners says of each case, and all other documents; links lead from one to the other."""
    sections = [
        ("ledger", "The ledger of claims", {results / "claims.md": "claims-all"}),
        ("studies", "Studies", {results / name / "README.md": f"study-{name}" for name in studies}),
    ]
    for folder, title in OTHERS.items():
        found = sorted((results / folder).rglob("*.md"))
        sections.append((folder, title, {path: _anchor(path.relative_to(results)) for path in found}))
    advice = results / "README.md"
    places = {path.resolve(): anchor for *_, documents in sections for path, anchor in documents.items()}
    places |= {advice.resolve(): "cases", (results / "effects.md").resolve(): "case"}
    parts = []
    for anchor, title, documents in sections:
        articles = [article(path, place, places) for path, place in documents.items()]
        if anchor != "ledger":
            articles = [with_figures(one, path.parent) for one, path in zip(articles, documents, strict=True)]
        parts.append(Part(anchor, title, articles))
    if not advice.is_file():
        return "", parts
    cases, background = without_answer(advice.read_text())
    why = article(advice, "background-all", places, f"# Why, and how far it can be trusted\n\n{background}")
    parts.insert(0, Part("background", "Why", [why]))
    return article(advice, "by-case", places, f"# By network and data\n\n{cases}").html, parts


def without_answer(text: str) -> tuple[str, str]:
    """What the page for practitioners says after the answer and the figure, which the page begins with.

    Returns:
        The cases, and all from the next heading on.
    """
    _, figure, after = text.partition("\n![")
    cases, _, background = (after.partition("\n")[2] if figure else text).partition("\n## ")
    return cases.strip(), f"## {background}" if background else ""


def formulas(schemes: list[str]) -> dict[str, str]:
    """What each scheme computes, in the words of its docstring, with its options; those that have a file."""
    found = {}
    for name in schemes:
        if name in choices("norm"):
            options = defaults("norm", name)
            module, _, written = options.pop("_target_").rpartition(".")
            formula = inspect.cleandoc(getattr(import_module(module), written).__doc__).split("\n\n")[0]
            chosen = ", ".join(f"{key} {value}" for key, value in options.items() if key != "name")
            found[name] = " ".join(formula.split()) + (f" Here: {chosen}." if chosen else "")
    return found


def _shown(row: pd.Series) -> dict[str, Any]:
    """An effect as a row of the page, with a drawing of its interval."""
    text = f"{row.difference:+.1f} [{row.low:+.1f}, {row.high:+.1f}]"
    low, high, left, zero, right = (_place(value) for value in (row.low, row.high, -MATTERS, 0, MATTERS))
    filled = "mark" if row.schedule == "cosine" else "mark open"
    drawn = (
        f'<svg class="effect" viewBox="0 0 240 22" role="img" aria-label="{text} points"><title>{text} points</title>'
        f'<rect class="band" x="{left}" y="0" width="{right - left:.1f}" height="22"/>'
        f'<line class="zero" x1="{zero}" x2="{zero}" y1="0" y2="22"/>'
        f'<line class="interval" x1="{low}" x2="{high}" y1="11" y2="11"/>'
        f"{_mark(row.difference, filled)}</svg>"
    )
    return {**row, "text": text, "drawn": Markup(drawn), "pairs": pairs_shown(row.n, row.lost, "seeds")}


def _place(points: float) -> float:
    """Where a difference stands in the drawing; beyond its ends, at the end."""
    return round((240 - 2 * EDGE) * (min(max(points, LEFT), RIGHT) - LEFT) / (RIGHT - LEFT) + EDGE, 1)


def _mark(points: float, kind: str) -> str:
    """A circle where a difference stands; beyond an end of the drawing, a triangle that points there."""
    if LEFT <= points <= RIGHT:
        return f'<circle class="{kind}" cx="{_place(points)}" cy="11" r="4"/>'
    tip, base = (1, EDGE) if points < LEFT else (239, 240 - EDGE)
    return f'<path class="{kind}" d="M{tip} 11 L{base} 6 V16 Z"/>'


def _markup(part: Part) -> dict[str, object]:
    articles = [{**vars(one), "html": Markup(one.html)} for one in part.articles]
    return {**vars(part), "articles": articles}


def article(path: Path, anchor: str, places: Mapping[Path, str] | None = None, text: str | None = None) -> Article:
    """A Markdown file as HTML, two levels of headings lower, with its pictures inside.

    Args:
        path: of the file; its first line is its title.
        anchor: of its heading.
        places: anchors of the documents on the page, by their resolved path: where links to them lead.
        text: a part of the file, with a title, in place of all of it.
    """
    text = text or path.read_text()
    title = text.splitlines()[0].lstrip("# ").strip()
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = markdown.parse(text)
    _adapt(tokens, path.parent, anchor, places or {})
    return Article(anchor, title, markdown.renderer.render(tokens, markdown.options, {}))


def with_figures(one: Article, folder: Path) -> Article:
    """An article of a document that shows no figure, with those of its folder at its end."""
    drawn = sorted(folder.glob("*.png")) if "<figure>" not in one.html else []
    shown = (
        _figure(path, _caption(path)) if place == 0 else _elsewhere(path, _caption(path))
        for place, path in enumerate(drawn)
    )
    return replace(one, html=one.html + "".join(shown))


def _adapt(tokens: list[Token], folder: Path, anchor: str, places: Mapping[Path, str]) -> None:
    """Make of a document's tokens those of an article, in place."""
    label = anchor.replace(
        "-", " "
    )  # not its title: a study and a benchmark may share one, and no two regions may share a label
    figures, tables, listings = 0, 0, 0
    ids: set[str] = set()
    for place, token in enumerate(tokens):
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(int(token.tag[1]) + 2, 6)}"
            id_ = f"{anchor}-{slug(tokens[place + 1].content)}" if ids else anchor
            if token.type == "heading_open" and id_ not in ids:
                token.attrSet("id", id_)
                ids.add(id_)
        elif token.type == "th_open":
            token.attrSet("scope", "col")
        elif token.type == "table_open":
            tables += 1
            _become(token, f"{_region(f'{label}, table {tables}')}<table>")
        elif token.type == "table_close":
            _become(token, "</table></div>")
        elif token.type in ("fence", "code_block"):
            listings += 1
            listing = f"<pre><code>{html.escape(token.content)}</code></pre>"
            _become(token, f"{_region(f'{label}, listing {listings}')}{listing}</div>")
    for before, token, after in zip(tokens, tokens[1:], tokens[2:], strict=False):
        parts = token.children or []
        for part in parts:
            if part.type == "image" and not _is_figure(folder, str(part.attrs["src"])):
                part.type, part.attrs, part.children = "text", {}, None  # of a name: nothing is read or fetched for it
        _lead(parts, folder, places)
        if before.type == "td_open" and len("".join(part.content for part in parts)) >= LONG:
            before.attrSet("class", "long")
        if before.type == "paragraph_open" and [part.type for part in parts] == ["image"]:
            figures += 1
            picture, caption = folder / str(parts[0].attrs["src"]), parts[0].content
            _become(token, _figure(picture, caption) if figures == 1 else _elsewhere(picture, caption))
            before.hidden = after.hidden = True


def _region(label: str, role: str = "region") -> str:
    """The start of a part of the page that is moved sideways where it is wider than the screen."""
    return f'<div class="scroll" role="{role}" aria-label="{label}" tabindex="0">'


def _lead(parts: list[Token], folder: Path, places: Mapping[Path, str]) -> None:
    """Let links lead to where their documents stand on the page; of a file that is not on it, name the path."""
    path = None
    for part in parts:
        if part.type == "link_open":
            target, _, heading = str(part.attrs["href"]).partition("#")
            if not target or "://" in target:
                continue
            document = (folder / target).resolve()
            if document in places:
                part.attrSet("href", f"#{places[document]}{_part_of(document, heading)}")
            else:
                path = re.sub(r"^(\.\./)+", "", target)
                part.type, part.attrs = "text", {}
        elif part.type == "link_close" and path is not None:
            part.type, part.content, path = "html_inline", f" (<code>{html.escape(path)}</code>)", None


def _part_of(document: Path, heading: str) -> str:
    """The end of the anchor of a heading of a document; empty where the document has no such heading."""
    lines = document.read_text().splitlines() if heading else []
    return f"-{heading}" if heading in {slug(line.lstrip("#")) for line in lines if line.startswith("##")} else ""


def slug(heading: str) -> str:
    """A heading as links to it say it.

    >>> slug("What would overturn it?")
    'what-would-overturn-it'
    """
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


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
    image = f'<img src="data:image/webp;base64,{content}" {size} alt="{text}"'
    shown = f'{_region(text, "group")}{image} class="wide"></div>' if width > WIDE else f"{image}>"
    return f"<figure>{shown}<figcaption>{text}</figcaption></figure>"


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
