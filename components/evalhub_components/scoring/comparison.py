"""Comparisons: when a number reaches a threshold, and how that reads."""

from __future__ import annotations

TOLERANCE = 1e-9
"""How far a number may miss a threshold by rounding alone, on the normalised scale and in a metric's units."""


def reaches(value: float, threshold: float, tolerance: float = TOLERANCE) -> bool:
    """Return whether `value >= threshold`."""
    return value >= threshold - tolerance


def in_words(value: float, threshold: float, holds: bool, lower_is_better: bool = False) -> str:
    """Return the comparison as people write it: `0.71 >= 0.65`, `0.42 > 0.3`."""
    sign = ("<=" if holds else ">") if lower_is_better else (">=" if holds else "<")
    # "0.7 < 0.7" helps nobody
    apart = next((digits for digits in (4, 6, 10) if holds or shown(value, digits) != shown(threshold, digits)), 17)
    return f"{shown(value, apart)} {sign} {shown(threshold, apart)}"


def shown(value: float, digits: int = 4) -> str:
    """Return the number with so many significant digits; large ones get eight, not 1e+04."""
    return f"{value:.{digits if abs(value) < 1000 else max(digits, 8)}g}"
