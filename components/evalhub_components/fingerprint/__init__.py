"""The fingerprint step: which model answers at this endpoint."""

from __future__ import annotations

from evalhub_components.credentials import JUDGE_SECRET, MODEL_SECRET

SECRETS = {"model": MODEL_SECRET, "judge": JUDGE_SECRET}
"""Whom the step may ask, and the variable that names the folder of their secret."""
