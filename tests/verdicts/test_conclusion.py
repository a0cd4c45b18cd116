"""The answer to a claim from its parts, and the condition in as few words as it takes."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from normlab.verdicts.conclusion import Part, conclude, condition, join

GRID = [(("arch", a), ("norm", n), ("rate", r)) for a in ("cnn", "vit") for n in ("a", "b", "c") for r in ("x", "y")]


def means(text, place):
    """Whether a condition holds in a place: read again from its text, by other code than wrote it."""
    values = dict(place)
    return any(
        all(
            values[key] in allowed.split(" or ")
            for key, allowed in (literal.split("=") for literal in term.split(", "))
        )
        for term in text.split("; or ")
    )


@pytest.mark.parametrize("chosen", range(1, 2 ** len(GRID) - 1, 37))
def test_a_condition_describes_exactly_the_places_where_it_holds(chosen):
    holding = [place for bit, place in enumerate(GRID) if chosen >> bit & 1]
    text = condition(holding, GRID)
    assert [place for place in GRID if means(text, place)] == holding


def test_a_condition_is_short():
    assert condition(GRID[:6], GRID) == "arch=cnn"
    assert condition([place for place in GRID if ("norm", "b") not in place], GRID) == "norm=a or c"


@pytest.mark.parametrize("results", list(itertools.product(["holds", "refuted", "undecided"], repeat=3)))
def test_parts_of_one_place_are_a_conjunction(results):
    found = conclude([Part((), f"rule {n}", result) for n, result in enumerate(results)])
    expected = "refuted" if "refuted" in results else "holds" if set(results) == {"holds"} else "undecided"
    assert found.result == expected
    if expected == "refuted":
        assert found.detail == "; ".join(f"rule {n}" for n, result in enumerate(results) if result == "refuted")


@pytest.mark.parametrize("results", list(itertools.product(["holds", "refuted", "undecided"], repeat=3)))
def test_places_are_a_condition(results):
    places = [(("arch", arch),) for arch in "abc"]
    found = conclude([Part(place, "r", result) for place, result in zip(places, results, strict=True)])
    kinds = set(results)
    if kinds == {"holds"}:
        assert found.text == "holds"
    elif "holds" in kinds:
        archs = {kind: [arch for arch, one in zip("abc", results, strict=True) if one == kind] for kind in kinds}
        rest = (
            f"refuted if arch={' or '.join(archs['refuted'])}; undecided" if len(kinds) == 3 else min(kinds - {"holds"})
        )
        assert found.text == f"holds if arch={' or '.join(archs['holds'])}; {rest} elsewhere"
    else:
        assert found.result == ("refuted" if "refuted" in kinds else "undecided")


def test_a_rule_without_places_counts_in_all_of_them():
    cnn, vit = (("arch", "cnn"),), (("arch", "vit"),)
    parts = [Part(cnn, "r", "holds"), Part(vit, "r", "refuted")]
    assert conclude([*parts, Part((), "s", "holds")]).text == "holds if arch=cnn; refuted elsewhere"
    assert conclude([*parts, Part((), "s", "refuted")]).result == "refuted"


def test_rules_over_different_factors_meet():
    parts = [
        *(Part((("arch", arch), ("draws", "x")), "r", result) for arch, result in (("a", "holds"), ("b", "refuted"))),
        *(Part((("norm", norm), ("draws", "x")), "s", result) for norm, result in (("c", "holds"), ("d", "refuted"))),
    ]
    assert conclude(parts).text == "holds if arch=a, norm=c; refuted elsewhere"


def test_nothing_tested_says_why_and_undecided_names_the_farthest():
    assert conclude([Part((), "r", "not tested", "no runs")]).text == "not tested (no runs)"
    assert conclude([]).text == "not tested"
    parts = [Part((), "r", "undecided", "power 5%", 90), Part((), "s", "undecided", "power 50%", 20)]
    assert conclude(parts).text == "undecided (r: power 5%; 1 more undecided)"
    assert conclude([Part((), "r", "holds"), Part((), "s", "not tested", "no runs")]).text == "undecided (s: no runs)"


def test_studies_are_places():
    def of(*results):
        return [Part((("arch", arch),), "r", result, "why") for arch, result in zip("abc", results, strict=False)]

    assert join({"one": of("holds"), "other": of("holds", "holds")}).text == "holds"
    assert join({"one": of("holds"), "other": of("refuted")}).text == "holds if study=one; refuted elsewhere"
    assert join({"one": of("holds", "refuted"), "other": of("undecided")}).text == (
        "holds if study=one, arch=a; refuted if study=one, arch=b; undecided elsewhere"
    )
    assert join({"one": of("refuted"), "other": of("undecided")}).text == "refuted (one: a: r)"
    assert (
        join({"one": of("undecided"), "other": of("undecided")}).text == "undecided (one: a: r: why; other: a: r: why)"
    )
    # One that was not run decides nothing, and is named.
    assert join({"one": of("holds"), "other": of("not tested")}).text == "holds (not tested in other)"
    assert join({"one": of("not tested"), "other": of("not tested")}).text == "not tested (why)"


def test_the_rules_of_a_study_are_parts_wherever_it_stands_among_others():
    one = [Part((), "r", "holds"), Part((), "s", "refuted")]
    assert join({"one": one, "other": [Part((), "r", "holds")]}).text == "holds if study=other; refuted elsewhere"


@given(
    st.lists(st.sampled_from(["holds", "refuted", "undecided"]), min_size=1, max_size=6),
    st.lists(st.integers(0, 3), min_size=6, max_size=6),
)
def test_how_cells_lie_in_studies_changes_no_answer(results, studies):
    parts = [Part((("cell", str(n)),), "r", result) for n, result in enumerate(results)]
    divided = {name: [part for part, own in zip(parts, studies, strict=False) if own == name] for name in set(studies)}
    assert join({str(name): own for name, own in divided.items() if own}).result == conclude(parts).result


@given(st.lists(st.sampled_from(["holds", "refuted", "undecided"]), min_size=1, max_size=4))
def test_what_nobody_knows_overturns_nothing(results):
    studies = {str(n): [Part((), "r", result)] for n, result in enumerate(results)}
    before = join(studies).result
    after = join({**studies, "open": [Part((), "r", "undecided")]}).result
    assert after == {"holds": "holds if"}.get(before, before)


def test_a_place_that_lacks_a_factor_is_not_told_by_its_absence():
    """A rule that is made at one rate only, for each network, beside one that is made at both for all networks."""
    common, best = ("rate", "common"), ("rate", "best")
    parts = [
        Part((("arch", "cnn"), common), "a > b", "holds"),
        Part((("arch", "vit"), common), "a > b", "refuted"),
        Part((common,), "b > c", "holds"),
        Part((best,), "b > c", "holds"),
    ]
    assert conclude(parts).text == "holds if arch=cnn; or rate=best; refuted elsewhere"
