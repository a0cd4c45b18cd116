"""A grid of recipes and schemes: rates chosen by seeds of their own, then the seeds that count."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast, get_args

import torch

from replication.images import digits, read, split
from replication.summary import percent, table, write
from replication.training import Recipe, Scheme, train

SCHEMES = cast(tuple[Scheme, ...], get_args(Scheme))
REFERENCE: Scheme = "dataset"
CHOOSING = 1000  # the first of the seeds that choose the rates; those that count begin at 0


def arguments(description: str, network: str) -> argparse.ArgumentParser:
    """The options that the trained contrasts share."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="has train/CLASS/IMAGE and test/CLASS/IMAGE")
    parser.add_argument("--quick", action="store_true", help="scikit-learn's digits, 2 seeds, 3 epochs; no folder")
    parser.add_argument("--network", choices=["cnn", "allconv"], default=network)
    parser.add_argument("--images", type=int, help="training and validation images; all if not given")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch", type=int, default=128, help="images in a step")
    parser.add_argument("--seeds", type=int, default=10, help="that count")
    parser.add_argument("--choosing", type=int, default=1, help="seeds that choose the rate, on validation images")
    parser.add_argument("--schemes", choices=SCHEMES, nargs="+", default=list(SCHEMES), help="dataset is always there")
    parser.add_argument(
        "--at", type=at_rate, nargs="+", default=[], metavar="SCHEME=RATE", help="rates that are given, not chosen"
    )
    parser.add_argument("--json", type=Path, help="file to write; a name from the contrast if not given")
    return parser


def at_rate(text: str) -> tuple[Scheme, float]:
    """``raw=4e-5``: a scheme and the rate that it is trained at."""
    scheme, _, rate = text.partition("=")
    if scheme not in SCHEMES:
        raise argparse.ArgumentTypeError(f"{scheme}: expected one of {', '.join(SCHEMES)}")
    return scheme, float(rate)


def compare(
    options: argparse.Namespace, cells: dict[str, tuple[Recipe, Sequence[float]]], name: str
) -> list[dict[str, Any]]:
    """Train every scheme in every cell, print the table and write the JSON.

    Args:
        options: of :func:`arguments`.
        cells: a recipe by the name of its row, and its candidate rates; a single one is taken as it is, and so is the
            rate that ``--at`` gives a scheme.
        name: of the contrast.

    Returns:
        A row for each cell and scheme: rate, accuracy, difference from ``dataset`` in the same cell, n.
    """
    if not options.quick and options.folder is None:
        raise SystemExit("give the folder with train/ and test/, or --quick")
    at = dict(options.at)
    if len(at) < len(options.at) or not at.keys() <= {*options.schemes, REFERENCE}:
        raise SystemExit("--at: one rate for each of the schemes that are trained")
    if at and len(cells) > 1:
        raise SystemExit(f"--at: a rate is one row's, not that of {', '.join(cells)}: choose one")
    sources = digits() if options.quick else read(options.folder)
    seeds, epochs = (2, 3) if options.quick else (options.seeds, options.epochs)
    choosing = range(CHOOSING, CHOOSING + options.choosing)
    runs: list[dict[str, Any]] = []

    def run(cell: str, recipe: Recipe, scheme: Scheme, seed: int) -> dict[str, Any]:
        result = train(recipe, scheme, split(*sources, seed, options.images), seed)
        runs.append({"cell": cell, "scheme": scheme, "seed": seed, "rate": recipe.rate, **result})
        print(*(f"{key}={value}" for key, value in runs[-1].items()), flush=True)
        return runs[-1]

    rows = []
    for cell, (base, candidates) in cells.items():
        recipe = base._replace(network=options.network, epochs=epochs, batch=options.batch)
        tests: dict[Scheme, list[dict[str, Any]]] = {}
        for scheme in dict.fromkeys([*options.schemes, REFERENCE]):
            rates = [at[scheme]] if scheme in at else candidates
            best = max(
                rates,
                key=lambda rate, scheme=scheme: sum(
                    run(cell, recipe._replace(rate=rate), scheme, seed)["validation"]
                    for seed in (choosing if len(rates) > 1 else ())
                ),
            )
            if len(rates) > 1 and best in (min(rates), max(rates)):
                print(f"{cell}, {scheme}: the best rate {best:g} is at the edge of the candidates", flush=True)
            tests[scheme] = [run(cell, recipe._replace(rate=best), scheme, seed) for seed in range(seeds)]
        for scheme, counted in tests.items():
            pairs = [one["test"] - other["test"] for one, other in zip(counted, tests[REFERENCE], strict=True)]
            rows.append(
                {
                    "cell": cell,
                    "scheme": scheme,
                    "rate": f"{counted[0]['rate']:g}",
                    "test accuracy %": percent([one["test"] for one in counted]),
                    f"minus {REFERENCE}, points": percent(pairs) if scheme != REFERENCE else "",
                    "n": seeds,
                    "diverged": sum(one["diverged"] for one in counted),
                }
            )
    print(table(rows))
    # Without the place of files, which says nothing of a result.
    setting = {key: value for key, value in vars(options).items() if not isinstance(value, Path)}
    write(options.json or Path(f"{name}.json"), {**setting, "torch": torch.__version__}, runs, rows)
    return rows
