"""The page: one self-contained file with every study's question, tables, figures and verdicts."""

from __future__ import annotations

import base64
import html
import io
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Template
from markdown_it import MarkdownIt
from PIL import Image

from normlab.record import provenance
from normlab.report.ledger import entries, judged_by, tally, verdict_of
from normlab.report.study import Study
from normlab.verdicts import Verdict

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
    known = entries()
    advice = results / "README.md"
    parts = [
        Part("advice", "What to use", [article(advice, "what-to-use")] if advice.is_file() else []),
        Part("claims", "The ledger of claims", [article(results / "claims.md", "claims-all")]),
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
            "parts": tally(judged),
            "studies": [study.name for study, _ in judged],
        }
        for id_, judged in judged_by(studies).items()
    ]
    template = Template((Path(__file__).with_name("page.html")).read_text(), autoescape=True)
    text = template.render(
        parts=[_markup(part) for part in parts if part.articles],
        verdicts=verdicts,
        counts=Counter(verdict["result"] for verdict in verdicts),
        commit=provenance()["commit"],
    )
    path = results / "index.html"
    path.write_text(text)
    return path


def _markup(part: Part) -> dict[str, object]:
    from markupsafe import Markup

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
    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(text)
    body = re.sub(r"<(/?)h([1-4])>", lambda m: f"<{m[1]}h{int(m[2]) + 2}>", body)
    body = body.replace("<h3>", f'<h3 id="{anchor}">', 1)
    body = re.sub(r'<p><img src="([^"]+)" alt="([^"]*)" */?></p>', lambda m: _figure(path.parent / m[1], m[2]), body)
    body = body.replace("<th>", '<th scope="col">')
    body = re.sub(rf"<td>([^<]{{{LONG},}})</td>", r'<td class="long">\1</td>', body)
    label = html.escape(title, quote=True)
    tables = iter(range(1, 1000))
    body = re.sub(
        r"<table>",
        lambda _: f'<div class="scroll" role="region" aria-label="{label}, table {next(tables)}" tabindex="0"><table>',
        body,
    ).replace("</table>", "</table></div>")
    figures = (
        ""
        if "<figure>" in body
        else "".join(_figure(found, _caption(found)) for found in sorted(path.parent.glob("*.png")))
    )
    return Article(anchor, title, body + figures)


def _figure(path: Path, caption: str) -> str:
    small = io.BytesIO()  # with a palette, which drawings hardly miss: a third of the bytes
    Image.open(path).convert("RGB").quantize(128).save(small, "PNG", optimize=True)
    content = base64.b64encode(small.getvalue()).decode()
    text = html.escape(html.unescape(caption), quote=True)
    return f'<figure><img src="data:image/png;base64,{content}" alt="{text}"><figcaption>{text}</figcaption></figure>'


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
