"""Who is named when what is said of a connection is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from evalhub_components.errors import InvalidDocument
from evalhub_pipelines.client import connection, profiles

KF = "https://kubeflow.example"


@pytest.mark.parametrize(
    ("given", "environ", "where"),
    [
        ({"namespace": "Bad_NS"}, {"KF_PIPELINES_ENDPOINT": KF}, "--namespace"),
        ({"namespace": "Bad_NS", "endpoint": KF}, {}, "--namespace"),
        ({"endpoint": KF}, {"KF_PIPELINES_NAMESPACE": "Bad_NS"}, "KF_PIPELINES_NAMESPACE"),
        (
            {"namespace": "Bad_NS", "endpoint": KF},
            {"KF_PIPELINES_ENDPOINT": KF, "KF_PIPELINES_NAMESPACE": "team-a"},
            "--namespace",
        ),
    ],
    ids=["an option", "an option with the endpoint", "a variable", "an option before a variable"],
)
def test_whoever_says_a_namespace_that_is_none_is_named(
    given: dict[str, str], environ: dict[str, str], where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    with pytest.raises(InvalidDocument) as raised:
        connection.resolve(**given, environ=environ)
    (problem,) = raised.value.problems
    assert problem.where == where
    assert problem.what.startswith("must be a namespace")


def test_an_endpoint_that_is_none_is_still_its_own_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert profiles.read().named(None) is None
    with pytest.raises(InvalidDocument) as raised:
        connection.resolve(endpoint="https://me:pw@kubeflow.example", namespace="Bad_NS", environ={})
    assert [problem.where for problem in raised.value.problems] == ["--endpoint: endpoint", "--namespace"]
