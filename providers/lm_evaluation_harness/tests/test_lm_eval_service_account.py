"""The real lm-eval, whose client is its own, against a model that wants the token of a service account."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from rotating_tokens import files_with_a_token, guarded

from evalhub_pipelines.provider_testing import Trial

PROVIDER = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def _environment() -> None:
    if not os.environ.get("EVALHUB_LM_EVAL_PYTHON"):
        pytest.skip("the environment of lm_evaluation_harness is made by `make test`")


def test_texts_tokens_and_log_likelihoods_are_asked_for_with_the_token_that_is_good_then(tmp_path: Path) -> None:
    entries = [
        {"benchmark_id": "quickstart_arithmetic", "num_examples": 60},
        {"benchmark_id": "quickstart_comparison", "num_examples": 20},
    ]
    with guarded(tmp_path / "account", every=25, skill=1.0) as (server, tokens):
        outcomes = Trial(PROVIDER, tmp_path / "trials").run_batch(entries, server.base_url, token_file=tokens.file)
    for outcome in outcomes:
        assert outcome.score == 1.0
        assert outcome.results.num_errors == 0
        assert files_with_a_token(outcome.folder, tokens.made) == []
    assert len(tokens.made) > 4


def test_an_account_that_may_not_ask_is_named_as_the_reason(tmp_path: Path) -> None:
    other = tmp_path / "token"
    other.write_text("another.account.entirely")
    with guarded(tmp_path / "account") as (server, _):
        trial = Trial(PROVIDER, tmp_path / "trials")
        outcome = trial.run("quickstart_arithmetic", server.base_url, token_file=other, num_examples=4)
    assert "HTTP 401: not with Bearer *** (may the run's service account get this InferenceService?)" in outcome.reason
    assert outcome.files_with("another.account") == []
