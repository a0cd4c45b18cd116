"""The level of significance of the whole project, and how the tests use it.

A rule (``unit > raw + 0.02``) is decided by two one-sided tests: one of the rule, one of its opposite, each at a
one-sided 5%. Why 5% each, and not 2.5%: the rule and its opposite exclude each other. Whatever the truth is, only one
of the two decisions is wrong, so the chance of a wrong decision is the level of a single test. Equivalence is decided
the same way (Schuirmann 1987, J. Pharmacokinet. Biopharm. 15:657-680: two one-sided tests at 5%, a 90% interval).

All tests of one claim are corrected together by Holm's method, each with the smaller of its two p-values: the chance
that any of a claim's cells is decided wrongly is 5% (directional decisions: Shaffer 1980, Ann. Stat. 8:1342-1347, for
independent tests; tests/verdicts/test_judge.py measures it for tests that share runs).
"""

ALPHA = 0.05  # one-sided, of each of the two tests of a rule
POWER = 0.9  # for which a plan's number of seeds is chosen
FEWEST_PAIRS = 5  # fewest seeds for a verdict
