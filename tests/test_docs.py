"""The tables of the documentation say what the code does."""

import ast
import doctest
import importlib.util
import inspect
import itertools
import json
import pydoc
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml

import normlab
from normlab import normalization
from normlab.config import CONFIGS, choices, defaults

DOCS = Path(__file__).parent.parent / "docs"


@pytest.fixture(scope="module")
def build():
    spec = importlib.util.spec_from_file_location("normlab_docs_build", DOCS / "build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rows_of(table):
    return [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in table.splitlines()[2:]]


def test_every_scheme_has_a_row_with_the_formula_of_its_class_or_function(build):
    rows = {row[0].strip("`"): row for row in rows_of(build.scheme_table())}
    assert sorted(rows) == sorted(choices("norm"))
    for name, row in rows.items():
        written = pydoc.locate(defaults("norm", name)["_target_"])
        own = re.search("^# output: (.*)$", (CONFIGS / f"norm/{name}.yaml").read_text(), re.MULTILINE)
        assert row[1] == (own[1] if own else " ".join(inspect.getdoc(written).split("\n\n")[0].split()))
        assert inspect.getsourcefile(written).endswith(row[3].strip("`"))


def test_schemes_of_one_formula_are_the_same_and_no_formula_is_that_of_other_options(build):
    """One function may subtract and divide, or only subtract: then the formulas differ, too."""
    images = torch.randint(0, 256, (50, 3, 4, 4), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    formulas = {row[0].strip("`"): row[1] for row in rows_of(build.scheme_table())}
    for one, other in itertools.combinations([name for name in formulas if name != "difference"], 2):
        if (target := defaults("norm", one)["_target_"]) == defaults("norm", other)["_target_"]:
            first, second = (normalization(name).fit([images])(images) for name in (one, other))
            assert (formulas[one] == formulas[other]) is torch.equal(first, second), (one, other, target)
    assert not any("/" in formulas[name] for name in ("dataset_mean", "mean_image", "centered"))


def test_the_names_of_the_package_are_in_the_repository_too(build):
    page = (DOCS / "api.md").read_text()
    assert all(f"| `normlab.{name}` | " in page for name in normlab.__all__)
    assert all(path in page for path in ("`normlab/training/export.py`", "`normlab/norms/whitening.py`"))


def test_the_pages_have_the_tables_of_the_code(build):
    """If not: python docs/build.py."""
    for page in DOCS.glob("*.md"):
        assert build.with_tables(page.read_text()) == page.read_text(), page.name
    text = "a\n<!-- scheme table -->\n\nold\n\n<!-- end -->\nb\n<!-- cell table -->\n\n<!-- end -->\nc"
    made = build.with_tables(text)
    assert build.with_tables(made) == made
    assert [part in made for part in ("old", "\nb\n", "\nc", "| `unit` |")] == [False, True, True, True]


def test_links_lead_out_of_the_folder_in_the_repository_and_not_on_the_site(build):
    page = SimpleNamespace(file=SimpleNamespace(src_uri="running.md"))
    assert build.on_page_markdown("[a](../results/a.md)", page, None, None) == "[a](results/a.md)"


def test_every_scheme_has_one_cell_and_every_cell_another_place():
    cells = yaml.safe_load((DOCS / "cells.yaml").read_text())
    names = [name for cell in cells for name in cell["schemes"]]
    assert len(set(names)) == len(names)
    assert set(choices("norm")) <= set(names)
    places = [(cell["estimator"], cell["scope"], cell["axes"]) for cell in cells]
    assert len(set(places)) == len(places)


def test_a_link_is_kept_where_it_leads_somewhere(build):
    pages = {"results/adam/README.md", "experiments/README.md"}

    def shown(text):
        return build.LINK.sub(lambda link: build.kept(link, "results/light", pages), text)

    assert shown("[adam](../adam/README.md#x) [a](#b)") == "[adam](../adam/README.md#x) [a](#b)"
    assert shown("[paper](https://example.org/a)") == "[paper](https://example.org/a)"
    assert shown("[all](../../experiments)") == "[all](../../experiments/README.md)"
    assert shown("[study.yaml](study.yaml), [the plan](study.yaml)") == (
        "study.yaml, the plan (`results/light/study.yaml`)"
    )
    assert "not kept in the repository: rates (`results/light/a.png`)" in shown("![rates](a.png)")


def test_documents_name_files_that_are_there(build):
    """Links of the documents of the root and of docs/, as they lead where the repository is read."""
    for path in [*DOCS.parent.glob("*.md"), *DOCS.glob("*.md")]:
        for link in build.LINK.finditer(path.read_text()):
            target = link["target"].partition("#")[0]
            if target and "://" not in target:
                assert (path.parent / target).exists(), f"{path.name}: {target}"


def test_the_examples_of_images_run(here):
    text = (DOCS / "images.md").read_text()
    blocks = "\n".join(re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE))
    examples = doctest.DocTestParser().get_doctest(blocks, {}, "images.md", None, 0)
    assert len(examples.examples) > 10
    runner = doctest.DocTestRunner()
    runner.run(examples)
    assert runner.failures == 0


def test_the_kinds_of_images_name_tests_that_exist():
    table = (DOCS / "images.md").read_text().partition("## Kinds of images")[2]
    named = re.findall(r"`(test_\w+)`", table)
    defined = "\n".join(path.read_text() for path in (DOCS.parent / "tests/data").glob("test_*.py"))
    assert len(named) > 12
    assert [name for name in named if f"def {name}(" not in defined] == []


@pytest.fixture(scope="module")
def notebook():
    return json.loads((DOCS / "example.ipynb").read_text())


def code_of(notebook):
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def texts_of(notebook):
    """What the cells printed and returned, without figures."""
    outputs = [output for cell in code_of(notebook) for output in cell["outputs"]]
    data = [output.get("data", {"text/plain": output.get("text", "")}) for output in outputs]
    return ["".join(one["text/plain"]) for one in data if "image/png" not in one]


def test_the_example_was_run_from_top_to_bottom_and_says_nothing_of_the_machine(notebook):
    cells = code_of(notebook)
    assert [cell["execution_count"] for cell in cells] == list(range(1, 11))
    assert all(cell["outputs"] for cell in cells)
    for output in [output for cell in cells for output in cell["outputs"]]:
        assert output["output_type"] in ("stream", "execute_result", "display_data")
        assert output.get("name") != "stderr"
    written = "\n".join(texts_of(notebook))
    assert not re.search(r"/(tmp|home|root|Users)/|second", written)
    assert len((DOCS / "example.ipynb").read_bytes()) < 200_000


def test_names_of_the_example_exist(notebook):
    names = set()
    for cell in code_of(notebook):
        for node in ast.walk(ast.parse("".join(cell["source"]))):
            if isinstance(node, ast.ImportFrom):
                names |= {f"{node.module}.{alias.name}" for alias in node.names}
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "normlab":
                names.add(ast.unparse(node))
    assert len(names) > 10
    assert all(pydoc.locate(name) for name in names)


def test_the_page_of_the_example_shows_every_output(build, notebook):
    page = build.notebook_page(notebook)
    assert all(text.rstrip() in page for text in texts_of(notebook))
    assert page.count("data:image/png;base64,") == 2
    assert page.count("```python\n") == 10


@pytest.mark.campaign
def test_the_example_runs_and_ends_in_the_same_verdicts(notebook):
    pytest.importorskip("nbclient", reason="needs normlab[notebook]")
    spec = importlib.util.spec_from_file_location("normlab_docs_run_example", DOCS / "run_example.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def verdicts(content):
        """E1 holds, E2 refuted: without the numbers."""
        return [line.split()[:2] for line in texts_of(content)[-1].splitlines()]

    assert verdicts(module.run_example()) == verdicts(notebook)
