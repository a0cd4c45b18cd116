"""The answer to a claim from its parts, and the condition in as few words as it takes."""

import itertools

import pytest

from normlab.verdicts.conclusion import Conclusion, Part, conclude, condition, together

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
        archs = " or ".join(arch for arch, result in zip("abc", results, strict=True) if result == "holds")
        rest = " or ".join(sorted(kinds - {"holds"}))
        assert found.text == f"holds if arch={archs}; {rest} elsewhere"
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


def test_studies_of_different_parts():
    holds, refuted = Conclusion("holds"), Conclusion("refuted", "x")
    assert together({"a": holds, "b": holds}).text == "holds"
    assert together({"a": holds, "b": refuted}).text == "refuted (b: x)"
    assert together({"a": holds, "b": Conclusion("holds if", "arch=cnn")}).text == "holds if b: arch=cnn"
    assert together({"a": holds, "b": Conclusion("not tested", "why")}).text == "undecided (b: why)"
