"""The sequential rule of `normlab.choose` on planted truth: how often it is right, cannot tell, or is wrong.

    python benchmarks/choose_planted.py --problems 100

Numpy alone, no training. A run is right on a test image if its scheme's skill, its seed's luck, the image's difficulty
and noise add up to more than 0; all are normal, so the true accuracy is the planted one. An answer is wrong if it
recommends a scheme that is not better than the reference, rules out the best scheme, or calls a scheme close to the
best that is worse by the margin or more.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from normlab.choosing.answer import recommended
from normlab.choosing.race import Race
from normlab.statistics import share_interval

MARGIN = 0.01
DIFFICULTY = 1.5  # spread of the images' difficulty; the noise of a run on an image has spread 1
# Accuracy of each scheme, the reference first.
TRUTHS = {
    "all the same": (0.70, 0.70, 0.70, 0.70),
    "half a point": (0.70, 0.705, 0.705, 0.70),
    "one better by 1": (0.70, 0.71, 0.70, 0.70),
    "one better by 3": (0.70, 0.73, 0.70, 0.70),
    "two better by 5": (0.70, 0.75, 0.75, 0.70),
    "reference best by 3": (0.73, 0.70, 0.70, 0.70),
    "one fails": (0.70, 0.70, 0.70, 0.10),
    "one better by 3, one a little worse": (0.70, 0.695, 0.73),
    "two schemes, the same": (0.70, 0.70),
    "two schemes, 3 apart": (0.70, 0.73),
}
SPREADS = {"equal spreads": 1.0, "the second varies 4 times as much": 4.0, "12 times as much": 12.0}
# Seeds of each plan, and test images.
PLANS = (((5,), 150), ((5, 10), 700), ((10, 20), 700))
RIGHT, UNCLEAR, WRONG = "right", "cannot tell", "wrong"


def planted(
    accuracies: Sequence[float], generator: np.random.Generator, images: int, seed_spread: float, second: float = 1.0
) -> Callable[[str, int], NDArray[np.bool_]]:
    """Runs of schemes "0", "1", ... with these true accuracies: a function of scheme and seed, bool [images].

    Args:
        accuracies: of the schemes.
        generator: draws the problem.
        images: in the test split.
        seed_spread: of the luck of a run; 0.1 is 1.7 points at 70% accuracy.
        second: factor on the spread of the scheme "1".
    """
    own_spread = 0.3
    spreads = np.full(len(accuracies), seed_spread)
    spreads[1] *= second
    total = np.sqrt(DIFFICULTY**2 + own_spread**2 + spreads**2 + 1)
    difficulty = generator.normal(0, DIFFICULTY, images)
    skill = stats.norm.ppf(accuracies) * total + generator.normal(0, own_spread, (images, len(accuracies)))
    key = int(generator.integers(2**32))

    def train(scheme: str, seed: int) -> NDArray[np.bool_]:
        place, draws = int(scheme), np.random.default_rng([key, int(scheme), seed])
        return skill[:, place] + difficulty + draws.normal(0, spreads[place]) + draws.normal(0, 1, images) > 0

    return train


def judge(race: Race, accuracies: Sequence[float]) -> str:
    """Whether the answer of a race is right, by the planted accuracies."""
    truth = dict(zip(race.schemes, accuracies, strict=True))
    standing = race.standing
    kind, scheme = recommended(standing, race.schemes)
    best, reference = max(accuracies), truth[race.reference]
    if all(truth[one] < best for one in standing.left):
        return WRONG
    if kind == "use" and truth[scheme] <= reference:
        return WRONG
    if kind == "same" and best - min(accuracies) >= MARGIN:
        return WRONG
    if kind in ("keep", "safe", "same") and best - truth[scheme] >= MARGIN:
        return WRONG
    return UNCLEAR if kind in ("unclear", "safe") else RIGHT


def outcomes(
    accuracies: Sequence[float], plans: Sequence[int], images: int, problems: int, second: float = 1.0
) -> tuple[Counter[str], float]:
    """How often each outcome came, and the mean share of the planned runs that was used.

    Args:
        accuracies: of the schemes.
        plans: seeds at the end of each plan; one is made only where the answer before is not clear.
        images: in the test split.
        problems: that are simulated.
        second: factor on the spread of the scheme "1".
    """
    schemes, counts, used = [str(place) for place in range(len(accuracies))], Counter[str](), 0
    for problem in range(problems):
        train = planted(accuracies, np.random.default_rng(problem), images, 0.1, second)
        race = Race(schemes, "0", MARGIN, train, lambda left: True)
        for seeds in plans:
            if not race.standing.decided:
                race.carry_out(seeds)
        used += sum(map(len, race.right.values()))
        counts[judge(race, accuracies)] += 1
    return counts, used / (problems * plans[-1] * len(schemes))


def main() -> None:
    from provenance import write

    parser = argparse.ArgumentParser()
    parser.add_argument("--problems", type=int, default=100)
    problems = parser.parse_args().problems
    rows: list[dict[str, str | int]] = []
    total: Counter[str] = Counter()
    for spread, second in SPREADS.items():
        for name, accuracies in TRUTHS.items():
            for plans, images in PLANS:
                counts, used = outcomes(accuracies, plans, images, problems, second)
                total.update({key: counts[key] for key in (RIGHT, UNCLEAR, WRONG)})
                shares = {key: f"{counts[key] / problems:.1%}" for key in (RIGHT, UNCLEAR, WRONG)}
                seeds = ", then ".join(map(str, plans))
                about: dict[str, str | int] = {"planted": name, "spread": spread, "seeds": seeds, "test images": images}
                rows.append(about | shares | {"runs used": f"{used:.0%}"})
                print(rows[-1], flush=True)
    all_of_them = sum(total.values())
    interval = share_interval(total[WRONG], all_of_them)
    worst = max(rows, key=lambda row: float(str(row[WRONG]).rstrip("%")))
    write(
        "choose_planted",
        f"python benchmarks/choose_planted.py --problems {problems}",
        rows,
        f"{problems} simulated problems a row, margin 1 point, 4 schemes or 2, seeds that differ by 1.7 points, images "
        f"that suit schemes differently. Wrong in all: {total[WRONG]} of {all_of_them:,}, {interval.estimate:.1%} "
        f"[{interval.low:.1%}, {interval.high:.1%}]; most in one row: {worst[WRONG]} ({worst['planted']}); a rule that "
        f"is wrong in 5% shows up to {stats.binom.ppf(0.975, problems, 0.05):.0f} in a row of {problems}. Right is: a "
        "scheme that is better than the reference and among the best that are left, or the reference where no other is "
        "better by the margin, or that it does not matter where it does not",
    )


if __name__ == "__main__":
    main()
