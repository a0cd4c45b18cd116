"""The arguments of the main command, read once; and paths, which every command reads as plain text."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from normlab.commandline import composing
from normlab.commandline.arguments import parsed
from normlab.commandline.paths import read_path, read_paths
from normlab.commandline.request import Request, Setting, read
from normlab.config import CONFIGS, Section, is_path_key
from normlab.errors import ConfigError

LOOK_LIKE_SOMETHING_ELSE = [
    "0123", "off", "a#b", "a b #2", "x: y", "k=v", "[1]", "2024-01-01", "it's", "$HOME", "${seed}", "${", "\\${seed}",
    "\\\\${a}", "~", "1e3", "null ", "Null", "???", "{a: b}", "a\\", "\\'", "'", '"', "choice(a)", "*", "&a", "!!str x",
    "- a", " a ", "%", "@", "`", "|", ">", "é", "日本", "true", "nan", "a'b\"c", "\\\\'", "${oc.env:HOME}", "'a", "?",
]  # fmt: skip


def composed(*arguments):
    """What Hydra makes of one run."""
    request = read(arguments)
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return OmegaConf.to_container(compose("config", request.hydra_arguments), resolve=True)


def in_quotes(text):
    return len(text) > 1 and text[0] == text[-1] and text[0] in "\"'"


# Texts as they are, with many characters that mean something to one of the four languages on the way.
TEXTS = st.text(
    st.one_of(st.sampled_from("'\"\\${}#:=[]()~?* .ab0"), st.characters(exclude_categories=("C", "Z"))), min_size=1
)


class Options(Section):
    out: Path | None = None


@pytest.mark.slow
@pytest.mark.parametrize("text", LOOK_LIKE_SOMETHING_ELSE)
def test_text_that_looks_like_something_else_is_a_path(text, monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    wanted = "/home/somebody" if text == "~" else text
    values = composed("norm=unit", "data=folder", f"data.root={text}", f"runs={text}")
    assert Path(values["data"]["root"]) == Path(wanted)
    assert Path(values["runs"]) == Path(wanted)
    options, groups = parsed(["data=folder", f"data.root={text}", f"out={text}"], Options)
    assert groups["data"]["root"] == wanted
    assert options.out == Path(wanted)


@pytest.mark.slow
@settings(deadline=None, max_examples=60)
@given(TEXTS)
@example("a\\'${b}\\\\")
def test_any_path_without_a_comma_goes_through_the_command_line(text):
    assume("," not in text and not in_quotes(text) and not text.startswith("~") and text != "null")
    values = composed("norm=unit", "data=folder", f"data.root={text}")
    assert Path(values["data"]["root"]) == Path(text)
    _, groups = parsed(["data=folder", f"data.root={text}"], Options)
    assert groups["data"]["root"] == text


@pytest.mark.slow
@settings(deadline=None, max_examples=25)
@given(st.lists(TEXTS, min_size=1, max_size=3))
def test_any_paths_in_quotes_go_through_a_sweep(texts):
    """Through Hydra's grid, its composing and ours, with commas in them."""
    assume(not any('"' in text for text in texts))
    names = [f"x{text}" for text in texts]
    roots = ",".join(f'"{name}"' for name in names)
    request = read(["-m", "norm=unit", "data=digits", f"weights={roots}"])
    _, configs = composing.expand(request.hydra_arguments, None)
    assert [config.weights for config in configs] == [Path(name) for name in names]


@pytest.mark.slow
@pytest.mark.parametrize("mark", [";", ",", "|", ":", "#", " ", "\t", "\\t", "*", "$", "^"])
def test_a_mark_is_what_the_shell_leaves_of_it(mark):
    """data.delimiter=';' arrives without its quotes."""
    arguments = ["norm=unit", "data=table", f"data.delimiter={mark}"]
    assert composed(*arguments)["data"]["delimiter"] == mark
    assert parsed(arguments[1:], Section)[1]["data"]["delimiter"] == mark
    _, configs = composing.expand(read(["-m", *arguments, "data.root=x.csv", "data.target=y"]).hydra_arguments, None)
    assert [config.data.delimiter for config in configs] == [mark]


def test_a_comma_separates_paths_only_in_a_sweep():
    assert composed("norm=unit", "data=folder", "data.root=a,b")["data"]["root"] == "a,b"
    for text, paths in {
        "A,B": ["A", "B"],
        "A, B": ["A", "B"],
        '"a,b"': ["a,b"],
        "'a,b'": ["a,b"],
        "'a,b',c": ["a,b", "c"],
        "it's,that's": ["it's", "that's"],
        "null,A": [None, "A"],
        "'null'": ["null"],
        "a b ": ["a b "],
    }.items():
        assert read_paths("data.root", text) == paths
        assert read(["-m", f"data.root={text}"]).settings[0].value == ",".join(map(composing.quoted, paths))


def test_a_sweep_has_one_folder_of_runs():
    assert read(["-m", "runs='A,B'"]) == Request(True, settings=(Setting("runs", "'A,B'"),), hydra=("-m",))
    with pytest.raises(ConfigError, match="runs=A,B: a sweep has one folder of runs"):
        read(["-m", "runs=A,B"])


@pytest.mark.parametrize("text", ["", "A,", ",A", "A,,B", "''"])
def test_an_empty_path_is_refused(text):
    with pytest.raises(ConfigError, match=r"data\.root=: expected a path"):
        read(["-m", f"data.root={text}"])


def test_the_home_folder_is_meant_by_a_tilde_outside_quotes(monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    assert read_path("runs", "~/a") == "/home/somebody/a"
    assert read_path("runs", "'~/a'") == "~/a"
    assert read_path("runs", "a~") == "a~"


def test_which_keys_are_paths_follows_from_the_schema():
    assert {key for key in ("data.root", "runs", "weights") if is_path_key(key)} == {"data.root", "runs", "weights"}
    for key in (
        "data",
        "data.limit",
        "norm.eps",
        "seed",
        "optim.lr",
        "logger.project",
        "nothing",
        "data.nothing",
        "runs.x",
    ):
        assert not is_path_key(key)


def test_the_arguments_become_one_request():
    request = read(
        ["-m", "+experiment=ordering", "norm=raw,unit", "seed=range(0,5)", "--info", "config", "hydra.verbose=true"]
    )
    assert request.multirun
    assert (request.study, request.quick, request.confirm) == ("ordering", False, False)
    assert [setting.override for setting in request.settings] == ["+norm=raw,unit", "++seed=range(0,5)"]
    assert request.hydra == ("-m", "--info", "config", "hydra.verbose=true")
    assert read([]) == Request()


def test_a_plus_sign_changes_nothing():
    for argument in ("norm=zca", "data=digits", "seed=3", "runs=a b", "experiment=ordering", "quick=false"):
        assert read([argument]) == read([f"+{argument}"]) == read([f"++{argument}"])


def test_hydra_gets_what_it_needs():
    def arguments(*given):
        return read(given).hydra_arguments

    assert arguments("norm=zca", "norm.eps=1", "arch=vit") == ["+norm=zca", "++norm.eps=1", "arch=vit"]
    untouched = ["-m", "--help", "hydra.verbose=true", "hydra/launcher=joblib", "~augment", "=odd", "nonsense"]
    assert arguments(*untouched) == untouched
    assert arguments("runs=/tmp/ünï", "study=ünï") == ["++runs='/tmp/ünï'", "++study='ünï'"]
    assert arguments("experiment=ordering", "norm=raw") == ["+experiment=ordering", "+norm=raw"]  # one run: no grid
    with pytest.raises(ConfigError, match=r"norm\.name=x: choose it by norm=NAME"):
        arguments("norm.name=x")


def test_flags_may_stand_anywhere():
    assert read(["seed=0,1", "-m", "norm=unit"]) == read(["-m", "seed=0,1", "norm=unit"])


def test_quick_takes_the_place_of_what_the_grid_says():
    def settings_of(*arguments):
        request = read(arguments)
        return {setting.key: setting.value for setting in request.settings + request.grid}

    full = settings_of("-m", "+experiment=ordering")
    assert (full["data"], full["data.root"]) == ("folder", "'cifar10'")
    quick = settings_of("-m", "experiment=ordering", "quick=true", "seed=7")
    assert quick["data"] == "photos"
    assert "data.root" not in quick
    assert quick["seed"] == "7"  # one's own choice comes first
    assert quick["optim.lr"] == full["optim.lr"]  # of which it says nothing
    assert settings_of("-m", "+experiment=ordering", "quick=false") == full
    for arguments in (["quick=true"], ["-m", "quick=true"], ["-m", "+experiment=stable_rates", "quick=true"]):
        with pytest.raises(ConfigError, match="quick=true requires a sweep of a study that has a quick version"):
            _ = read(arguments).hydra_arguments
    with pytest.raises(ConfigError, match="quick=maybe: expected true or false"):
        read(["-m", "experiment=ordering", "quick=maybe"])


def test_confirm_takes_the_seeds_that_confirm():
    wanted = read(["-m", "+experiment=ordering", "confirm=true"]).hydra_arguments
    assert read(["-m", "experiment=ordering", "+confirm=true"]).hydra_arguments == wanted
    assert "hydra.sweeper.confirm=ordering" in wanted
    assert [argument for argument in wanted if "seed" in argument] == ["++seed=range(5,15)"]
    for arguments in (["confirm=true"], ["-m", "norm=unit", "confirm=true"], ["experiment=ordering", "confirm=true"]):
        with pytest.raises(ConfigError, match="confirm=true requires a sweep of a study that has confirming seeds"):
            _ = read(arguments).hydra_arguments
