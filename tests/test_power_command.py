"""Power of a study's rules from the variances of a pilot."""

import numpy as np
import pandas as pd
import pytest

from normlab.config import check
from normlab.power import main, planned_seeds, rows
from normlab.report.study import Plan
from normlab.statistics import power
from normlab.verdicts import Claim, foresee


def test_the_power_is_that_of_the_pilots_deviation_at_the_planned_seeds():
    generator = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"norm": norm, "seed": seed, "status": "finished", "test_accuracy": 0.5 + generator.normal(0, 0.02)}
        for norm in "abc"
        for seed in range(4)
    )
    claim = check(Claim, {"id": "X", "rules": ["a = b ± 0.04", "a > c", "0 <= test_accuracy <= 1", "a > d"]})
    same, larger, lacking = foresee(claim, {"all": frame}, n=12, margin=0.03)
    table = frame.pivot(index="seed", columns="norm", values="test_accuracy")
    deviation = (table.a - table.b).std()
    assert same[1].power == pytest.approx(power(0, -0.04, 0.04, deviation, 12, 0.05 / 3))
    assert larger[1].power == pytest.approx(power(0.03, 0, np.inf, (table.a - table.c).std(), 12, 0.05 / 3))
    assert lacking[1] is None
    plan = check(Plan, {"question": "", "budget": "", "margin": 0.03, "claims": [claim.model_dump()]})
    shown = rows(plan, {"all": frame}, 12)
    assert shown["power, n = 12"] == [f"{same[1].power:.0%}", f"{larger[1].power:.0%}", "-"]
    assert shown["n for 90%"] == [f"{same[1].needed:g}", f"{larger[1].needed:g}", "-"]


@pytest.mark.slow
def test_the_command_reads_the_committed_records(capsys):
    main(["half_or_standard"])
    text = capsys.readouterr().out
    assert "Planned: 25 seeds; variances of half_or_standard" in text
    assert text.count("| C02 ") == 2
    assert planned_seeds("learning_rates") == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [([], "name one study"), (["constants", "m=3"], "options (from, n, results)"), (["constants", "n=1"], "2 or more"),
     (["imagenet_table"], "imagenet_table")],
)  # fmt: skip
def test_a_mistake_ends_as_one_line(capsys, arguments, message):
    with pytest.raises(SystemExit):
        main(arguments)
    assert message in capsys.readouterr().err
