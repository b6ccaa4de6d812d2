"""What `exports` of eval.yaml takes, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from evalhub_components.schema.exports import Exports

COORDINATES = {"oci_host": "quay.io", "oci_repository": "team/evals"}


def exports(**coordinates: Any) -> Exports:
    return Exports.model_validate({"oci": {"coordinates": {**COORDINATES, **coordinates}}})


@pytest.mark.parametrize(
    "given",
    [
        {"oci_host": "registry.example:5000"},
        {"oci_host": "http://127.0.0.1:5000"},
        {"oci_host": "[::1]:5000"},
        {"oci_repository": "a"},
        {"oci_repository": "a/b-c/d.e_f__g"},
        {"oci_tag": "nightly"},
        {"oci_tag": "v" * 60},
        {"oci_subject": "sha256:" + "a" * 64},
        {"annotations": {"org.opencontainers.image.revision": "abc"}},
    ],
)
def test_what_a_registry_can_take_is_taken(given: dict[str, Any]) -> None:
    exports(**given)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"oci_host": "quay.io/team"}, "a registry's host"),
        ({"oci_host": "user:pw@quay.io"}, "a registry's host"),
        ({"oci_host": "ftp://quay.io"}, "a registry's host"),
        ({"oci_repository": "Team/Evals"}, "lower-case letters"),
        ({"oci_repository": "team/"}, "lower-case letters"),
        ({"oci_repository": "team/evals:tag"}, "lower-case letters"),
        ({"oci_tag": "v" * 61}, "at most 60"),
        ({"oci_tag": "-x"}, "a tag of letters"),
        ({"oci_tag": "run-1"}, "mean something here"),
        ({"oci_tag": "evidence-x"}, "mean something here"),
        ({"annotations": {"io.github.eval-hub.verdict": "pass"}}, "the evidence says that itself"),
        ({"annotations": {"org.opencontainers.image.created": "now"}}, "the evidence says that itself"),
        ({"annotations": {" ": "x"}}, "names that are not empty"),
        ({"annotations": {"a=b": "x"}}, "names of printable characters without ="),
        ({"annotations": {"a\nb": "x"}}, "names of printable characters without ="),
        ({"annotations": {"a": "two\nlines=1"}}, "a: must be one line of text"),
        ({"annotations": {"a": "nul\0"}}, "a: must be one line of text"),
    ],
)
def test_what_a_registry_refuses_is_refused_at_once(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words) as raised:
        exports(**given)
    assert "pw@" not in "".join(item["msg"] for item in raised.value.errors())


def test_evidence_can_be_signed_without_being_pushed() -> None:
    found = Exports.model_validate({"signing": {"secret_ref": "signer"}})
    assert found.oci is None
    with pytest.raises(ValidationError, match="Field required"):
        Exports.model_validate({"oci": {"k8s": {"connection": "c"}}})
