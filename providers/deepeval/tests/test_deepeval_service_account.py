"""The real deepeval against a model and a judge that want the token of a service account, of which there are many."""

from __future__ import annotations

from pathlib import Path

from rotating_tokens import files_with_a_token, guarded

from evalhub_pipelines.provider_testing import Trial

PROVIDER = Path(__file__).resolve().parents[1]


def test_model_and_judge_are_asked_with_the_token_that_is_good_then(tmp_path: Path) -> None:
    with guarded(tmp_path / "account", every=12, skill=1.0) as (server, tokens):
        outcome = Trial(PROVIDER, tmp_path / "trials").run(
            "deepeval-correctness", server.base_url, judge_url=server.base_url, token_file=tokens.file
        )
    assert outcome.score == 1.0
    assert outcome.results.num_errors == 0
    assert len(tokens.made) > 2
    assert files_with_a_token(outcome.folder, tokens.made) == []
