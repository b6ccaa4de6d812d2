"""The life of evidence, as `make demo-evidence` shows it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_evidence_is_pushed_found_pulled_verified_and_a_changed_byte_is_named() -> None:
    if not os.environ.get("EVALHUB_LM_EVAL_PYTHON"):
        pytest.skip("the environment of lm_evaluation_harness is made by `make test`")
    done = subprocess.run([ROOT / "tests" / "evidence.sh"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    before, _, after = done.stdout.partition("== change one byte")
    assert "sha256sum: every file is as it was" in before
    assert "Proved: whoever has the key signed exactly these files, and the verdict pass follows from them." in before
    assert "blobs         failed       benchmarks/000-quickstart-arithmetic/results.json" in after
    assert "Do not rely on this evidence: see blobs." in after
