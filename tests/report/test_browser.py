"""The page in a real browser: made from committed records, opened from disk, used, printed, and checked by axe-core."""

import shutil
from itertools import combinations
from pathlib import Path
from unicodedata import normalize
from urllib.parse import urlsplit

import pytest

from normlab import tables
from normlab.config import studies
from normlab.errors import NormlabError
from normlab.report.effects import LEFT, RIGHT, effects
from normlab.report.page import FILTERS, OTHERS, write_page

sync_api = pytest.importorskip("playwright.sync_api", reason="pip install -e '.[browser]'")
from axe_playwright_python.sync_playwright import Axe  # noqa: E402
from pypdf import PdfReader  # noqa: E402

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "results"
# Images, a table and recordings; runs and measurements; constant and decaying rates; effects beyond the drawing.
STUDIES = (
    "audio", "borders", "constants", "finetuning", "mismatch", "ordering", "ordering_vit", "redundancy", "spectrograms",
    "tables_scaling", "unit_range",
)  # fmt: skip
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
WIDTHS = (1280, 768, 390)
A4 = 718  # pixels of CSS between the margins of a printed page


def build(chosen, folder):
    """The page of these studies, from what git keeps of them, with its effects."""
    kept = shutil.ignore_patterns("more", "index.html")
    for name in (*chosen, *OTHERS):
        if (RESULTS / name).is_dir():
            shutil.copytree(RESULTS / name, folder / name, ignore=kept)
    for name in ("README.md", "claims.md", "effects.png"):
        shutil.copy(RESULTS / name, folder)
    made = []
    for name in chosen:
        try:
            made.append(tables.make(name, folder / "no runs", folder, [], draw=False))
        except NormlabError as error:  # a plan that is ahead of its runs
            print(error)
    return write_page(made, folder), effects([study for study, _ in made]).reset_index(drop=True)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return build(STUDIES, tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        own = Path(playwright.chromium.executable_path)  # of `playwright install chromium`
        found = own if own.is_file() else next(filter(None, map(shutil.which, BROWSERS)), None)
        if found is None:
            pytest.skip(f"no browser: install one of {', '.join(BROWSERS)}")
        started = playwright.chromium.launch(executable_path=found)
        yield started
        started.close()


class Opened:
    """A page that was opened from disk, with what the browser asked for and complained about."""

    def __init__(self, browser, path, width=1280, javascript=True):
        self.requests, self.complaints = [], []
        self.context = browser.new_context(
            viewport={"width": width, "height": 900}, java_script_enabled=javascript, reduced_motion="reduce"
        )
        self.page = self.context.new_page()
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(path.as_uri())

    def shown(self):
        """The places of the rows of comparisons that are seen."""
        rows = "rows => rows.flatMap((row, place) => row.checkVisibility() ? [place] : [])"
        return self.page.locator("#effects tbody tr").evaluate_all(rows)

    def said(self):
        return self.page.locator("#count").inner_text()

    def choose(self, wanted):
        """Set all lists: those that are not named to all."""
        for name in FILTERS:
            self.page.locator(f"select[name={name}]").select_option(wanted.get(name, ""))

    def overflow(self):
        """By how many pixels the page is wider than the window."""
        return self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")


@pytest.fixture
def visit(browser, built):
    """Open the page; at the end, nothing was asked for but the file, and nothing complained."""
    opened = []

    def visit(path=built[0], **how):
        opened.append(Opened(browser, path, **how))
        return opened[-1]

    yield visit
    for one in opened:
        one.context.close()
        assert {urlsplit(url).scheme for url in one.requests} <= {"file", "data"}
        assert len([url for url in one.requests if url.startswith("file")]) == 1
        assert one.complaints == []


def matching(frame, wanted):
    return [place for place, row in frame.iterrows() if all(row[name] == value for name, value in wanted.items())]


def test_it_opens_from_disk_and_all_of_it_can_be_seen(visit):
    one = visit()
    one.page.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    for image in one.page.locator("img").all():  # those further down are decoded once they are near
        image.scroll_into_view_if_needed()
        assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
    places = "links => links.filter((link) => !document.getElementById(decodeURI(link.hash.slice(1))))"
    assert one.page.locator("a").evaluate_all(f"{places}.map((link) => link.href)") == []
    ids = one.page.locator("[id]").evaluate_all("all => all.map((each) => each.id)")
    assert len(set(ids)) == len(ids) > 50


def test_the_answer_comes_first(visit):
    one = visit(width=390)
    top = one.page.locator(".answer strong").first.bounding_box()
    assert top["y"] < 300
    figure = one.page.locator("figure").first.bounding_box()
    assert top["y"] < figure["y"] < one.page.locator("#cases").bounding_box()["y"]
    assert one.page.locator("#cases").bounding_box()["y"] < one.page.locator("#case").bounding_box()["y"]
    one.page.get_by_role("link", name="what to do in your case").click()
    assert -1 <= one.page.locator("#cases").bounding_box()["y"] < 900


@pytest.mark.parametrize("width", [1280, 390])
def test_every_filter_shows_the_rows_that_it_should_and_counts_them(visit, built, width):
    one, frame = visit(width=width), built[1]
    everything = list(range(len(frame)))
    assert len(frame) > 40
    assert one.shown() == everything
    assert one.said() == f"{len(frame)} comparisons"
    for name in FILTERS:
        values = one.page.locator(f"select[name={name}] option").all_inner_texts()
        assert values == ["all", *sorted(set(frame[name]))]
        for value in values[1:]:
            one.page.locator(f"select[name={name}]").select_option(value)
            rows = matching(frame, {name: value})
            assert one.shown() == rows, (name, value)
            assert one.said() == f"{len(rows)} of {len(frame)} comparisons"
        one.page.locator(f"select[name={name}]").select_option("")
        assert one.shown() == everything
    # Two lists at once, for values that differ most: of the first row and of the last.
    for first, second in combinations(FILTERS, 2):
        wanted = {first: frame[first].iloc[0], second: frame[second].iloc[-1]}
        one.choose(wanted)
        assert one.shown() == matching(frame, wanted), wanted
    wanted = {name: frame[name].iloc[-1] for name in FILTERS}  # all lists at once
    one.choose(wanted)
    assert one.shown() == matching(frame, wanted) != []
    one.page.get_by_role("button", name="show all").click()
    one.page.wait_for_function(
        "count => document.getElementById('count').textContent === count", arg=f"{len(frame)} comparisons"
    )
    assert one.shown() == everything
    assert one.page.locator("select").evaluate_all("lists => lists.map((list) => list.value)") == [""] * len(FILTERS)


def test_what_was_not_measured_is_said_to_be_so(visit, built):
    wanted = {"kind": "table", "network": "vit"}
    assert matching(built[1], wanted) == []
    one = visit()
    one.choose(wanted)
    assert one.shown() == []
    assert one.said().startswith("No comparison has all of this: it was not measured.")
    one.choose({"kind": "table"})
    assert len(one.shown()) > 1


def test_each_drawing_says_its_numbers_where_the_pointer_is(visit, built):
    one, frame = visit(), built[1]
    drawings = one.page.locator("svg.effect")
    assert drawings.count() == len(frame)
    for place, row in frame.iterrows():
        drawing, text = drawings.nth(place), f"{row.difference:+.1f} [{row.low:+.1f}, {row.high:+.1f}] points"
        assert drawing.locator("title").text_content() == drawing.get_attribute("aria-label") == text
        if place % 10 == 0:
            drawing.hover()  # fails where something lies above it
        mark = drawing.locator(".mark").bounding_box()
        box = drawing.bounding_box()
        assert box["x"] <= mark["x"] <= mark["x"] + mark["width"] <= box["x"] + box["width"], text
    for place, points in ((frame.difference.argmin(), LEFT), (frame.difference.argmax(), RIGHT)):
        assert abs(frame.difference[place]) > abs(points)
        assert drawings.nth(int(place)).locator("path.mark").count() == 1


def test_the_names_are_explained(visit, built):
    one = visit()
    names = one.page.locator("details dt")
    assert not names.first.is_visible()
    one.page.get_by_text("What the names mean").click()
    assert names.first.is_visible()
    assert set(names.all_inner_texts()) == set(built[1].scheme)
    imagenet = one.page.locator("dt:has(code:text-is('imagenet')) + dd").inner_text()
    assert "0.485" in imagenet
    assert "(u - mean)/std" in imagenet


@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_is_as_wide_as_its_window(visit, width):
    one = visit(width=width)
    assert one.overflow() == 0
    if width == 390:  # what is wider is moved by itself, with the keyboard too
        figure = one.page.locator("figure .scroll").first
        figure.focus()
        one.page.keyboard.press("ArrowRight")
        one.page.wait_for_function("document.querySelector('figure .scroll').scrollLeft > 0")
        assert figure.locator("img").bounding_box()["width"] > 600


@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_nothing(visit, width):
    one = visit(width=width)
    one.page.get_by_text("What the names mean").click()
    one.choose({"kind": "images"})
    found = Axe().run(one.page)
    assert found.violations_count == 0, found.generate_report()


def test_without_javascript_all_of_it_is_there(visit, built):
    with_it, without = visit(), visit(javascript=False)
    assert not without.page.locator("form").is_visible()
    assert with_it.page.locator("form").is_visible()
    assert without.shown() == list(range(len(built[1])))
    assert without.said() == f"{len(built[1])} comparisons"
    for part in ("section", "article", "table", "figure", "h2", "h3", "h4", "p", "td"):
        texts = [one.page.locator(f"main {part}:not(:has(form))").all_inner_texts() for one in (with_it, without)]
        assert texts[0] == texts[1] != [], part


def test_it_prints(visit, built, tmp_path):
    one = visit(width=A4)
    one.page.emulate_media(media="print")
    assert one.overflow() == 0
    assert not one.page.locator("form").is_visible()
    one.page.pdf(path=tmp_path / "page.pdf", format="A4")
    pages = [" ".join(page.extract_text().split()) for page in PdfReader(tmp_path / "page.pdf").pages]
    assert len(pages) > 10
    answers = one.page.locator(".answer strong").all_inner_texts()
    assert len(answers) >= 4
    assert all(plain(text) in plain(pages[0]) for text in answers)
    assert any("Here: mean [0.485" in page for page in pages)  # what is folded on the screen
    last = one.page.locator("#effects tbody tr").last.locator("td").all_inner_texts()
    assert any(plain(last[1]) in plain(page) for page in pages)


def plain(text):
    """Letters and numbers alone: a PDF breaks lines anywhere, and joins letters such as fi to one sign."""
    return "".join(letter for letter in normalize("NFKC", text) if letter.isalnum())


@pytest.mark.campaign
def test_the_page_of_all_studies_is_clean(browser, visit, tmp_path):
    """As the tests above, with everything that is committed; minutes."""
    path, frame = build(tuple(studies()), tmp_path)
    for width in WIDTHS:
        one = visit(path, width=width)
        assert one.overflow() == 0
        assert len(one.shown()) == len(frame)
        if width != 768:
            one.page.set_default_timeout(600_000)
            found = Axe().run(one.page)
            assert found.violations_count == 0, found.generate_report()
