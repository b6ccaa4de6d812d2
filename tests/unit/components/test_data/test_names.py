from __future__ import annotations

import pytest

from evalhub_components.errors import EvalHubError
from evalhub_components.test_data.names import check_together, checked


@pytest.mark.parametrize("name", ["a", "a/b", "...", "a b", ".hidden/x", "ü/日本.jsonl", "-rf", "a:b", "~", "x" * 255])
def test_a_plain_relative_path_is_taken_as_it_is(name: str) -> None:
    assert checked(name, "here") == name


@pytest.mark.parametrize(
    "name",
    [
        *("", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/..", "a/../b", "a/./b"),
        *("a\\b", "..\\a", "a\0b", "a\nb", "a\x1b[2J", "a\x7f", "a\x85b", "a\u2028b", "a\udcff"),
        *("x" * 256, "x/" * 600 + "x", "ü" * 128, ".evalhub-data.json", ".evalhub-partial/x"),
    ],
)
def test_any_other_is_refused_in_one_printable_line(name: str) -> None:
    with pytest.raises(EvalHubError) as refused:
        checked(name, "here")
    assert str(refused.value).startswith("here: ")
    assert str(refused.value).isprintable()


def test_a_name_cannot_be_a_file_and_a_folder() -> None:
    check_together(["a/b", "a/c", "a.b"], "here")
    with pytest.raises(EvalHubError, match=r"here: 'a/b' is both a file and a folder"):
        check_together(["a/b", "a/b/c/d"], "here")
