from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from evalhub_components.errors import EvalHubError
from evalhub_components.evidence.signing.keys import PublicKey, SigningKey
from evalhub_pipelines.cli.keys import keys


@pytest.mark.parametrize("kind", ["ecdsa-p256", "ed25519"])
def test_generate_makes_a_pair_and_says_how_to_use_it(tmp_path: Path, kind: str) -> None:
    done = CliRunner().invoke(keys, ["generate", str(tmp_path / "pair"), "--kind", kind], catch_exceptions=False)
    assert done.exit_code == 0
    public = PublicKey.load(tmp_path / "pair" / "public.key")
    assert SigningKey.load(tmp_path / "pair").public == public
    assert f"{tmp_path}/pair/private.key" in done.output
    assert f"{tmp_path}/pair/public.key" in done.output
    assert public.key_id in done.output
    assert f"kubectl create secret generic evidence-signing --from-file={tmp_path}/pair" in done.output


def test_the_private_key_is_never_printed(tmp_path: Path) -> None:
    said = CliRunner().invoke(keys, ["generate", str(tmp_path)], catch_exceptions=False).output
    again = CliRunner().invoke(keys, ["generate", str(tmp_path)])
    assert isinstance(again.exception, EvalHubError)
    secret = (tmp_path / "private.key").read_text().splitlines()[1:-1]
    assert secret
    assert not any(line in said + again.output + str(again.exception) for line in secret)


def test_help_names_the_kinds_and_the_defaults() -> None:
    said = CliRunner().invoke(keys, ["generate", "--help"]).output
    assert "[ecdsa-p256|ed25519]" in said
