"""What is a reference to a registry's content, and what is not."""

import dataclasses
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalhub_components.errors import EvalHubError
from evalhub_components.evidence.reference import Reference, is_repository, is_tag

DIGEST = "sha256:" + "5f" * 32


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("host.example/repo", Reference("host.example", "repo")),
        ("host.example/team/repo:1.0", Reference("host.example", "team/repo", "1.0")),
        (f"host.example/repo@{DIGEST}", Reference("host.example", "repo", None, DIGEST)),
        (f"host.example/repo:v_1@{DIGEST}", Reference("host.example", "repo", "v_1", DIGEST)),
        ("localhost/repo", Reference("localhost", "repo")),
        ("localhost:5000/repo:tag", Reference("localhost:5000", "repo", "tag")),
        ("[::1]:5000/repo", Reference("[::1]:5000", "repo")),
        ("HOST.Example/repo", Reference("host.example", "repo")),
        ("https://host.example/repo", Reference("host.example", "repo")),
        ("oci://host.example/repo", Reference("host.example", "repo")),
        ("docker://host.example/repo", Reference("host.example", "repo")),
        ("http://localhost:5000/repo:tag", Reference("localhost:5000", "repo", "tag", None, True)),
        ("host.example/a.dotted/re__po/x---y", Reference("host.example", "a.dotted/re__po/x---y")),
    ],
)
def test_a_reference_has_host_repository_tag_and_digest(text: str, expected: Reference) -> None:
    assert Reference.parse(text) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "must begin with a registry's host"),
        ("repo", "must begin with a registry's host"),
        ("team/repo", "must begin with a registry's host"),
        ("host.example", "must begin with a registry's host"),
        ("host.example:5000", "must begin with a registry's host"),
        ("host.example:99999/repo", "must begin with a registry's host"),
        ("host_name.example/repo", "must begin with a registry's host"),
        ("ftp://host.example/repo", "must begin with a registry's host"),
        ("-host.example/repo", "must begin with a registry's host"),
        ("http://https://host.example/repo", "must begin with a registry's host"),
        ("host.example\n/repo", "must begin with a registry's host"),
        ("host.example/", "is no repository's name"),
        ("host.example/Team/repo", "lower-case"),
        ("host.example/team//repo", "is no repository's name"),
        ("host.example/../repo", "is no repository's name"),
        ("host.example/repo/", "is no repository's name"),
        ("host.example/repo\n", "is no repository's name"),
        ("host.example/" + "a" * 256, "at most 255"),
        ("host.example/" + "a/" * 500 + "a", "at most 1000"),
        ("host.example/repo?x=1", "is no repository's name"),
        ("host.example/repo:", "is no tag"),
        ("host.example/repo:-x", "is no tag"),
        ("host.example/repo:a:b", "is no tag"),
        ("host.example/repo:" + "a" * 129, "at most 128"),
        ("host.example/repo@", "must come a digest"),
        ("host.example/repo@latest", "must come a digest"),
        ("host.example/repo@sha256:5f", "64 hex digits"),
        ("host.example/repo@sha256:" + "5F" * 32, "64 hex digits"),
        ("host.example/repo@sha512:" + "5f" * 64, "64 hex digits"),
    ],
)
def test_what_is_no_reference_is_refused_with_the_cure(text: str, words: str) -> None:
    with pytest.raises(EvalHubError, match=re.escape(words)) as error:
        Reference.parse(text)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        "https://me:hunter2@host.example/repo",
        "me:hunter2@host.example/repo:1",
        f"me:hunter2@host.example/repo@{DIGEST}",
        "https://me:hun/ter2@host.example/repo",
        "https://me:hun@ter2@host.example/repo",
    ],
)
def test_a_password_in_a_reference_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(EvalHubError, match="Docker configuration") as error:
        Reference.parse(text)
    assert "ter2" not in str(error.value)


def test_a_reference_is_written_in_each_form_that_clients_take() -> None:
    found = Reference.parse(f"http://localhost:5000/team/repo:v1@{DIGEST}")
    assert str(found) == f"localhost:5000/team/repo:v1@{DIGEST}"
    assert found.address == f"http://localhost:5000/team/repo:v1@{DIGEST}"
    assert found.pinned == f"localhost:5000/team/repo@{DIGEST}"
    assert found.place == "localhost:5000/team/repo"
    assert dataclasses.replace(found, plain_http=False).address == str(found)


@given(
    host=st.sampled_from(["localhost", "host.example", "10.0.0.7:5000", "[::1]:443"]),
    repository=st.from_regex(r"[a-z0-9]{1,8}([._/-][a-z0-9]{1,8}){0,4}", fullmatch=True),
    tag=st.none() | st.from_regex(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,20}", fullmatch=True),
    digest=st.none() | st.from_regex(r"sha256:[0-9a-f]{64}", fullmatch=True),
    plain_http=st.booleans(),
)
def test_a_reference_is_read_as_it_is_written(
    host: str, repository: str, tag: str | None, digest: str | None, plain_http: bool
) -> None:
    reference = Reference(host, repository, tag, digest, plain_http)
    assert Reference.parse(reference.address) == reference


@given(st.text(max_size=80) | st.from_regex(r"(https?://)?[a-z.:]{0,12}/[a-z/:.@-]{0,20}(@sha256:[0-9a-f]{60,66})?"))
def test_any_text_is_a_sound_reference_or_refused_in_one_line(text: str) -> None:
    error, found = None, None
    try:
        found = Reference.parse(text)
    except EvalHubError as refusal:
        error = str(refusal)
    if found is None:
        assert error
        assert error.isprintable()
    else:
        assert is_repository(found.repository)
        assert found.tag is None or is_tag(found.tag)
        assert Reference.parse(found.address) == found
