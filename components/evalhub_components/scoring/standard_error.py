"""Standard errors: how far a benchmark's score may lie from the one that endless examples would give."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Literal, NamedTuple

from evalhub_components.schema.results import Sample
from evalhub_components.scoring.comparison import TOLERANCE

_SAME_MEAN = 1e-6
_ABSURD = 1e6  # ranges wide; nothing measured this, and its square may be more than a float holds


class StandardError(NamedTuple):
    """A standard error on the normalised scale, and where it comes from."""

    value: float | None
    source: Literal["samples", "provider", "none"]


def estimate(
    score: float,
    provider_stderr: float | None,
    samples: Sequence[Sample],
    score_range: tuple[float, float],
    confidence: float,
) -> StandardError:
    """Return the standard error of `score`: that of its samples, else the provider's own, else none.

    Args:
        score: in the metric's units, as are the next two.
        provider_stderr: as the framework reported it; 0 counts for nothing at an end of the range, where examples that
            all agree would give it.
        samples: used only when `score` is their mean.
        score_range: lowest and highest value of the metric.
        confidence: of the one-sided bound that stands in where all samples are at one end of the range.
    """
    low, high = score_range
    width = high - low
    values = [(sample.score - low) / width for sample in samples]
    share = (score - low) / width
    error = _of_samples(share, values, [sample.cluster for sample in samples], confidence)
    if error is not None and error <= _ABSURD:
        return StandardError(error, "samples")
    # no variance is not certainty, as with samples
    is_certain = provider_stderr == 0 and not TOLERANCE < share < 1 - TOLERANCE
    if provider_stderr is not None and 0 <= provider_stderr / width <= _ABSURD and not is_certain:
        return StandardError(provider_stderr / width, "provider")
    return StandardError(None, "none")


def _of_samples(
    expected: float, values: Sequence[float], clusters: Sequence[str | None], confidence: float
) -> float | None:
    """Return the standard error of the mean of `values`; None when they are too few or their mean is not `expected`."""
    if not values:
        return None
    try:
        mean = math.fsum(values) / len(values)
        if not abs(mean - expected) <= _SAME_MEAN:
            return None
        # A sample without a cluster is a cluster of its own; with no clusters at all what follows is s/sqrt(n).
        residuals: dict[str | int, list[float]] = {}
        for position, (value, cluster) in enumerate(zip(values, clusters, strict=True)):
            residuals.setdefault(position if cluster is None else cluster, []).append(value - mean)
        independent = len(residuals)
        if independent < 2:
            return None
        if all(value <= TOLERANCE for value in values) or all(value >= 1 - TOLERANCE for value in values):
            # No variance is not certainty: the exact binomial bound, in which a cluster counts once.
            bound = -math.expm1(math.log1p(-confidence) / independent)
            return bound / NormalDist().inv_cdf(confidence)
        # Cluster-robust variance of a mean: Miller 2024, arXiv:2411.00640.
        variance = math.fsum(math.fsum(group) * math.fsum(group) for group in residuals.values())
        return math.sqrt(variance * independent / (independent - 1)) / len(values)
    except (OverflowError, ValueError):  # infinities, or sums beyond what a float holds
        return None
