"""The texts of a pipeline's form as values, and every problem of theirs at once."""

from __future__ import annotations

import pytest

from evalhub_components.errors import InvalidDocument
from evalhub_components.schema import run_inputs


def test_nothing_given_is_nothing_asked_for() -> None:
    found = run_inputs.parse({**dict.fromkeys(run_inputs.TEXTS, ""), "oci_host": "  "})
    assert found.coordinates is None
    assert found.experiment_tags == {}
    assert found.model_digest is None


def test_texts_become_values() -> None:
    found = run_inputs.parse(
        {
            "experiment_name": " nightly ",
            "experiment_tags": "team=blue\n\n formula = a=b \r\nempty=",
            "oci_host": "quay.io",
            "oci_repository": "team/evals",
            "oci_annotations": "org.example.commit=abc",
            "model_digest": "sha256:" + "a" * 64,
        }
    )
    assert found.experiment_name == "nightly"
    assert found.experiment_tags == {"team": "blue", "formula": "a=b", "empty": ""}
    assert found.coordinates is not None
    assert found.coordinates.annotations == {"org.example.commit": "abc"}
    assert found.model_digest == "sha256:" + "a" * 64


def test_all_problems_are_named_as_in_the_form() -> None:
    with pytest.raises(InvalidDocument) as raised:
        run_inputs.parse(
            {
                "experiment_tags": "a=1\nnonsense\na=2",
                "oci_repository": "Team/Evals",
                "oci_tag": "run-7",
                "model_digest": "abc",
            }
        )
    assert [str(problem) for problem in raised.value.problems] == [
        "experiment_tags: line 2: must be key=value",
        "experiment_tags: line 3: must name every key once, got a again",
        "model_digest: must be a digest: sha256: and 64 hexadecimal digits",
        "oci_host: is missing (a registry needs a host and a repository)",
        "oci_repository: must be a repository such as team/evaluations "
        "(lower-case letters, digits, and . _ - between them)",
        "oci_tag: must not begin with evalhub-, evidence-, run-, sha256-: such tags mean something here",
    ]
