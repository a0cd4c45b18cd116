"""Rules, and what the runs of a study say of a claim by them."""

from normlab.verdicts.judge import Cell, Result, Verdict, cell_name, combined, judge
from normlab.verdicts.rules import Claim, Rate, Rule

__all__ = ["Cell", "Claim", "Rate", "Result", "Rule", "Verdict", "cell_name", "combined", "judge"]
