"""Rules, and what the runs of a study say of a claim by them."""

from normlab.verdicts.conclusion import Conclusion, Result, conclude, join
from normlab.verdicts.judge import Cell, Strength, Verdict, cell_name, foresee, judge, open_together
from normlab.verdicts.rules import Claim, Rate, Rule

__all__ = [
    "Cell",
    "Claim",
    "Conclusion",
    "Rate",
    "Result",
    "Rule",
    "Strength",
    "Verdict",
    "cell_name",
    "conclude",
    "foresee",
    "join",
    "judge",
    "open_together",
]
