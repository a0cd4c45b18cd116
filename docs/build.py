"""Tables of the documentation that are made from the code, and the pages of studies and results for mkdocs.

    python docs/build.py    writes the tables into the pages, between <!-- scheme table --> and <!-- end -->

The tables stand in the pages, so that they are there where the repository is read without building the site; a test
compares them with the code. Only the standard library and PyYAML are needed, and no part of normlab is imported, so
that the site builds without PyTorch.
"""

from __future__ import annotations

import ast
import json
import posixpath
import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent
SCHEMES = ROOT / "configs/norm"
GENERATED = ("results", "experiments")  # folders whose Markdown documents become pages, under the same paths
NOTEBOOK = "example.ipynb"  # becomes the page example.md; links of other pages lead there
BESIDE = ("CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")  # documents of the root that do


def on_files(files: Any, config: Any) -> Any:
    """Add the documents that lie outside this folder, with the pictures that they show, and the notebook's page."""
    from mkdocs.structure.files import File

    page = notebook_page(json.loads((ROOT / "docs" / NOTEBOOK).read_text()))
    files.append(File.generated(config, Path(NOTEBOOK).with_suffix(".md").as_posix(), content=page))
    for path in documents():
        files.append(File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path)))
        for picture in pictures(path):
            name = picture.relative_to(ROOT).as_posix()
            if name not in files.src_uris:
                files.append(File.generated(config, name, abs_src_path=str(picture)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Fill in the names of the package, and let links lead to pages of the site; what is no page becomes text."""
    for name, make in REFERENCES.items():
        markdown = markdown.replace(f"<!-- {name} -->", make())
    if page.file.src_uri not in BESIDE and not page.file.src_uri.startswith(GENERATED):
        markdown = markdown.replace("](../", "](")  # in the site, the folders of the repository lie beside these pages
    markdown = markdown.replace(f"({NOTEBOOK})", f"({Path(NOTEBOOK).with_suffix('.md')})")
    if page.file.src_uri.startswith(GENERATED) or page.file.src_uri in BESIDE:
        folder = posixpath.dirname(page.file.src_uri)
        markdown = LINK.sub(lambda link: kept(link, folder, files.src_uris), markdown)
    return markdown


LINK = re.compile(r"(?P<picture>!?)\[(?P<text>[^\]]*)\]\((?P<target>[^)\s]+)\)")


def kept(link: re.Match[str], folder: str, pages: Any) -> str:
    """A link as it is if it leads to a page or to another site, else what it says and the path that it names."""
    target = link["target"].partition("#")[0]
    path = posixpath.normpath(posixpath.join(folder, target))
    if not target or "://" in target or path in pages:
        return link[0]
    if link["picture"]:
        return f"*Figure, not kept in the repository: {link['text']} (`{path}`)*"
    inside = f"{path}/README.md"
    if inside in pages:
        return f"[{link['text']}]({posixpath.relpath(inside, folder or '.')})"
    return link["text"] if link["text"].strip("`/") in path else f"{link['text']} (`{path}`)"


def notebook_page(notebook: dict[str, Any]) -> str:
    """A notebook as Markdown: its texts, its code, and what the code printed and drew."""
    parts = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        for output in cell.get("outputs", ()):
            data = output.get("data", {"text/plain": output.get("text", "")})
            if "image/png" in data:
                parts.append(f"![figure](data:image/png;base64,{data['image/png'].strip()})")
            else:
                parts.append(f"```text\n{''.join(data['text/plain']).rstrip()}\n```")
    return "\n\n".join(parts) + "\n"


def documents() -> list[Path]:
    """Markdown documents outside this folder that become pages."""
    found = [ROOT / name for name in BESIDE if (ROOT / name).is_file()]
    return found + [path for folder in GENERATED for path in sorted((ROOT / folder).rglob("*.md"))]


def pictures(path: Path) -> list[Path]:
    """Pictures that a document shows and that are there."""
    linked = [path.parent / link["target"] for link in LINK.finditer(path.read_text()) if link["picture"]]
    return [picture.resolve() for picture in linked if picture.is_file()]


OUTPUT = re.compile("^# output: (.+)$", re.MULTILINE)


def scheme_table() -> str:
    """Every scheme with its formula and its options.

    The formula is that of the line ``# output:`` in the scheme's file, because options may change what a class or
    function computes; without such a line, the first line of the docstring.
    """
    formulas = definitions()
    rows = []
    for path in sorted(SCHEMES.glob("*.yaml")):
        text = path.read_text()
        options = yaml.safe_load(text)
        name, (module, formula) = options.pop("name"), formulas[options.pop("_target_").rpartition(".")[2]]
        if own := OUTPUT.search(text):
            formula = own[1]
        chosen = ", ".join(f"`{key}: {plain(value)}`" for key, value in options.items())
        rows.append((f"`{name}`", formula, chosen or "none", f"`{module}`"))
    return table(("norm", "output", "options, with their defaults", "written in"), rows)


def cell_table() -> str:
    """Estimator, scope and axes, with what each field calls the cell."""
    rows = []
    for cell in yaml.safe_load((ROOT / "docs/cells.yaml").read_text()):
        there = [f"`{name}`" for name in cell["schemes"] if (SCHEMES / f"{name}.yaml").is_file()]
        rows.append((cell["estimator"], cell["scope"], cell["axes"], ", ".join(there) or "not yet", cell["elsewhere"]))
    return table(("estimator", "scope", "axes", "`norm=`", "elsewhere"), rows)


def choice_table() -> str:
    """Every group of choices with its files, in the order of a run."""
    defaults = {
        group: name
        for entry in yaml.safe_load((ROOT / "configs/config.yaml").read_text())["defaults"]
        if isinstance(entry, dict)
        for group, name in entry.items()
    }
    rows = []
    for group in ("data", "augment", "norm", "arch", "optim", "trainer", "logger"):
        names = sorted(path.stem for path in (ROOT / "configs" / group).glob("*.yaml"))
        shown = [f"`{name}`" + " (default)" * (name == defaults.get(group)) for name in names]
        rows.append((f"`{group}`", ", ".join(shown)))
    return table(("group", "choices"), rows)


def study_table() -> str:
    """Every study with its question."""
    rows = []
    for path in sorted((ROOT / "experiments").glob("*/study.yaml")):
        name = path.parent.name
        question = " ".join(yaml.safe_load(path.read_text())["experiment"]["question"].split())
        result = f"results/{name}/README.md"
        rows.append(
            (
                f"[{name}](../experiments/{name}/README.md)",
                question,
                f"[results](../{result})" if (ROOT / result).is_file() else "no results yet",
            )
        )
    return table(("study", "question", "what came of it"), rows)


def homes() -> dict[str, str]:
    """The names of the package with their modules, from the table in its ``__init__``."""
    tree = ast.parse((ROOT / "normlab/__init__.py").read_text())
    (table_,) = (
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_HOMES"
    )
    return dict(sorted(table_.items()))


def api() -> str:
    """The names of the package, for mkdocstrings."""
    return "\n\n".join(f"::: {module}.{name}" for name, module in homes().items())


def name_table() -> str:
    """The names of the package, with the first sentence of their docstrings and their files."""
    rows = []
    for name, module in homes().items():
        file = ROOT / module.replace(".", "/")
        found = definitions(file if file.is_dir() else file.with_suffix(".py"))
        where, first = found[name]
        rows.append((f"`normlab.{name}`", first, f"`{where}`"))
    return table(("name", "does", "written in"), rows)


def class_table() -> str:
    """The base classes of schemes, and every class or function of one, with the first sentence of its docstring."""
    rows = [(f"`{name}`", first, f"`{where}`") for name, (where, first) in scheme_definitions().items()]
    return table(("class or function", "does", "written in"), rows)


def scheme_api() -> str:
    """The base class and every class or function of a scheme, for mkdocstrings."""
    places = {name: Path(where).with_suffix("") for name, (where, _) in scheme_definitions().items()}
    return "\n\n".join(f"::: {place.as_posix().replace('/', '.')}.{name}" for name, place in places.items())


def scheme_definitions() -> dict[str, tuple[str, str]]:
    """The base class and every class or function of a scheme; see :func:`definitions`."""
    used = {yaml.safe_load(path.read_text())["_target_"].rpartition(".")[2] for path in SCHEMES.glob("*.yaml")}
    found = definitions()
    return {name: found[name] for name in ("Normalization", "Affine", *sorted(used))}


def definitions(place: Path = ROOT / "normlab/norms") -> dict[str, tuple[str, str]]:
    """Classes and functions of a file or of a folder, with their file and the first line of their docstring."""
    found = {}
    for path in [place] if place.is_file() else sorted(place.rglob("*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef):
                first = (ast.get_docstring(node) or "").split("\n\n")[0]
                found[node.name] = (path.relative_to(ROOT).as_posix(), " ".join(first.split()))
    return found


def plain(value: object) -> str:
    """A value as YAML writes it on one line."""
    return yaml.safe_dump(value, default_flow_style=True, width=1000).splitlines()[0]


def table(headers: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Markdown."""
    lines = [headers, ("---",) * len(headers), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


TABLES = {
    "scheme table": scheme_table,
    "name table": name_table,
    "class table": class_table,
    "cell table": cell_table,
    "choice table": choice_table,
    "study table": study_table,
}
REFERENCES = {"api": api, "scheme api": scheme_api}  # mkdocstrings makes pages of them


def with_tables(text: str) -> str:
    """A page of this folder with the tables that follow from the code now."""
    for name, make in TABLES.items():
        part = re.compile(rf"(<!-- {name} -->\n).*?(\n<!-- end -->)", re.DOTALL)
        text = part.sub(lambda found, make=make: f"{found[1]}\n{make()}\n{found[2]}", text)
    return text


if __name__ == "__main__":
    for page_ in sorted((ROOT / "docs").glob("*.md")):
        page_.write_text(with_tables(page_.read_text()))
