"""The power of the tests of paired differences, and the number of pairs for enough power."""

from __future__ import annotations

import math

import numpy as np

from normlab.statistics.level import ALPHA, POWER

MOST_PAIRS = 1_000_000  # largest number of pairs that is tried


def power(truth: float, low: float, high: float, deviation: float, n: int, alpha: float = ALPHA) -> float:
    """The chance that paired t tests show that a mean difference lies between two bounds.

    With one bound at infinity it is a single one-sided test: the noncentral t distribution (Johnson and Welch 1940,
    Biometrika 31:362-389). With two bounds both one-sided tests must reject: the integral over the sample deviation
    (Phillips 1990, J. Pharmacokinet. Biopharm. 18:137-144).

    >>> round(power(truth=0.0, low=0.0, high=math.inf, deviation=1.0, n=10), 6)  # at the bound: the level
    0.05
    >>> round(power(truth=1.0, low=0.0, high=math.inf, deviation=1.0, n=10), 3)
    0.898

    Args:
        truth: the mean difference.
        low: the lower bound, or -infinity.
        high: the upper bound, or infinity.
        deviation: standard deviation of the differences, 0 or above.
        n: pairs, 2 or more.
        alpha: one-sided level of each test, in (0, 0.5].

    Raises:
        ValueError: if an argument is out of range, or no bound is finite.
    """
    if n < 2 or not 0 < alpha <= 0.5 or not 0 <= deviation < math.inf or not math.isfinite(truth):
        raise ValueError(f"power of n={n}, alpha={alpha}, deviation={deviation}, truth={truth}: out of range")
    if not low < high or not (math.isfinite(low) or math.isfinite(high)):
        raise ValueError(f"bounds {low} and {high}: expected low < high, one of them finite")
    if deviation == 0:
        return float(low < truth < high)
    from scipy import integrate, special  # here, because the import takes a second, which not every command needs

    error, critical = deviation / math.sqrt(n), float(special.stdtrit(n - 1, 1 - alpha))
    if math.isinf(high):
        return _one_sided((truth - low) / error, critical, n)
    if math.isinf(low):
        return _one_sided((high - truth) / error, critical, n)
    widest = (high - low) / (2 * critical * error)  # sample over true deviation, beyond which both cannot reject
    # The ratio is chi of n - 1 degrees of freedom over their root. Its density and quantiles are written out, because
    # those of scipy.stats take seventy times as long for one number.
    half_degrees = (n - 1) / 2
    constant = math.log(2) + half_degrees * math.log(half_degrees) - float(special.gammaln(half_degrees))

    def both(ratio: float) -> float:
        density = math.exp(constant + (n - 2) * math.log(ratio) - half_degrees * ratio**2)
        half = critical * ratio
        upper, lower = (high - truth) / error - half, (low - truth) / error + half
        return density * float(special.ndtr(upper) - special.ndtr(lower))

    quantiles = special.gammaincinv(half_degrees, 1e-12), special.gammainccinv(half_degrees, 1e-12)
    start, end = (min(math.sqrt(quantile / half_degrees), widest) for quantile in quantiles)
    return float(np.clip(integrate.quad(both, start, end, limit=200)[0], 0, 1)) if end > start else 0.0


def pairs_needed(
    truth: float, low: float, high: float, deviation: float, alpha: float = ALPHA, wanted: float = POWER
) -> float:
    """The smallest number of pairs with enough :func:`power`; infinite if no number is enough.

    >>> pairs_needed(truth=1.0, low=0.0, high=math.inf, deviation=1.0)
    11
    >>> pairs_needed(truth=0.0, low=0.0, high=math.inf, deviation=1.0)  # on the bound nothing can be shown
    inf

    Args:
        truth: the mean difference.
        low: the lower bound, or -infinity.
        high: the upper bound, or infinity.
        deviation: standard deviation of the differences.
        alpha: one-sided level of each test.
        wanted: the power, in (alpha, 1).
    """
    if not low < truth < high:
        return math.inf
    few, enough = 1, 2
    while power(truth, low, high, deviation, enough, alpha) < wanted:
        few, enough = enough, 2 * enough
        if enough > MOST_PAIRS:
            return math.inf
    while enough - few > 1:
        middle = (few + enough) // 2
        if power(truth, low, high, deviation, middle, alpha) < wanted:
            few = middle
        else:
            enough = middle
    return enough


def _one_sided(noncentrality: float, critical: float, n: int) -> float:
    if abs(noncentrality) > 35:  # where scipy's series no longer converges, and the answer is 0 or 1
        return float(noncentrality > critical)
    from scipy import stats

    return float(stats.nct.sf(critical, n - 1, noncentrality))
