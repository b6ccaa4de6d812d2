"""YAML within bounds: what is refused, with which words, and in how much memory."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from evalhub_components import canonical
from evalhub_components.errors import InvalidDocument
from evalhub_components.schema.provider import Provider
from evalhub_pipelines import bounded_yaml, documents

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(1 - 2**53, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT
)
DATA = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4), max_leaves=20
)


def refused(act: Callable[[], object]) -> str:
    with pytest.raises(InvalidDocument) as caught:
        act()
    return str(caught.value)


def parse(text: str) -> Any:
    return bounded_yaml.parse(text, "x.yaml")


@given(DATA)
def test_json_is_read_as_it_was_written(value: Any) -> None:
    text = canonical.dumps(value).decode()
    # YAML has no such characters, and JSON leaves them as they are
    if yaml.reader.Reader.NON_PRINTABLE.search(text) is None and not set("\x7f\x85\u2028\u2029") & set(text):
        assert canonical.dumps(parse(text)) == canonical.dumps(value)


@given(st.text(max_size=80) | st.text("[]{}:,-?!&*#|>'\"%@` \n\tab01~=.<", max_size=40))
@example("!!int ''")
@example("!!bool maybe")
@example("!!timestamp now")
@example("!!float ''")
@example("? [a]\n: b")
@example("<<: 1")
@example("a: " + "9" * 5000)
def test_no_text_raises_anything_but_invalid_document(text: str) -> None:
    if any("\ud800" <= character <= "\udfff" for character in text):
        return  # no UTF-8 file holds them
    with contextlib.suppress(InvalidDocument):
        canonical.dumps(parse(text))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2024-01-01", "2024-01-01"),
        ("2024-01-01T10:00:00Z", "2024-01-01T10:00:00Z"),
        ("1:30", "1:30"),
        ("no", "no"),
        ("on", "on"),
        ("007", "007"),
        ("=", "="),
        ("1.2.3", "1.2.3"),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("0", 0),
        ("-12", -12),
        ("1_000", 1000),
        ("0x1F", 31),
        ("0o17", 15),
        ("1e-3", 0.001),
        ("1E5", 100000.0),
        ("-.5", -0.5),
        ("1.", 1.0),
        ("1.5e+3", 1500.0),
        ('"1"', "1"),
        ("'true'", "true"),
    ],
)
def test_a_plain_value_means_what_yaml_1_2_says(text: str, value: object) -> None:
    (found,) = parse(f"[{text}]") if text else parse("- ")
    assert found == value
    assert type(found) is type(value)


def test_anchors_and_merge_keys_work() -> None:
    text = "base: &base {a: 1, b: 2}\nother: {<<: *base, b: 3}\nlist: [*base]"
    assert parse(text)["other"] == {"a": 1, "b": 3}
    assert parse(text)["list"] == [{"a": 1, "b": 2}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("# only a comment\n", "is empty"),
        ("a: [1", "is not valid YAML: line 2, column 1: did not find expected ',' or ']'"),
        ("a: 1\n b: 2", "is not valid YAML: line 2, column 3: mapping values are not allowed in this context"),
        ("a: 1\n---\nb: 2", "is not valid YAML: line 2, column 1: but found another document"),
        ("a: *nowhere", "is not valid YAML: line 1, column 4: found undefined alias"),
        (
            "a: !!python/object/apply:os.system [id]",
            "is not plain YAML data: line 1, column 4: could not determine a constructor for the tag "
            "'tag:yaml.org,2002:python/object/apply:os.system'",
        ),
        ("a: !!int x", "is not plain YAML data: a value cannot be read as its type (quote it)"),
        ("a: .nan", "a: must be a finite number, got nan"),
        ("a: {b: [0, -.inf]}", "a.b[1]: must be a finite number, got -inf"),
        ("a: 1.0e+999", "a: must be a finite number, got inf"),
        ("a: 9007199254740993", "a: is an integer that JSON cannot keep exactly (quote it)"),
        ("a: !!binary aGk=", "a: must be text, a number, a list or a mapping, got bytes"),
        ("!!set {a, b}", "must be text, a number, a list or a mapping, got set"),
        ("1: a", "1: a key must be text (quote it: '1')"),
        ("a: {true: b}", "a.true: a key must be text (quote it: 'true')"),
        ("a: {? [b] : c}", "a: a key must be text (line 1)"),
        ("a: {b: 1, c: 2, b: 3}", "a.b: is given twice (line 1)"),
        ("a: &a [*a]", "line 1: an alias contains itself"),
        ("a: &a {b: [{c: *a}]}", "line 1: an alias contains itself"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(text: str, message: str) -> None:
    assert refused(lambda: parse(text)) == f"x.yaml: {message}"


def test_all_keys_that_are_wrong_are_named_at_once() -> None:
    assert refused(lambda: parse("a: 1\na: 2\nb:\n  - {c: 1, c: 2}\n3: 4")).splitlines() == [
        "x.yaml: a: is given twice (line 2)",
        "x.yaml: b[0].c: is given twice (line 4)",
        "x.yaml: 3: a key must be text (quote it: '3')",
    ]


def test_a_null_document_is_no_mapping() -> None:
    assert refused(lambda: documents.validate(parse("---\n..."), Provider, "x.yaml")) == (
        "x.yaml: must be a mapping of keys, got nothing"
    )


def test_nesting_ends_at_a_bound() -> None:
    deepest = "[" * bounded_yaml.MAX_DEPTH + "]" * bounded_yaml.MAX_DEPTH
    assert isinstance(parse(deepest), list)
    message = f"x.yaml: is nested more than {bounded_yaml.MAX_DEPTH} levels deep"
    assert refused(lambda: parse(f"[{deepest}]")) == message
    assert refused(lambda: parse("[" * 100_000)) == message
    assert refused(lambda: parse("- " * 100_000)) == message


def test_nesting_by_aliases_ends_at_the_same_bound() -> None:
    wrapped = "[" * 30 + "*{0}" + "]" * 30
    lines = ["- &a0 [1]", *(f"- &a{level + 1} {wrapped.format(f'a{level}')}" for level in range(80))]
    message = refused(lambda: parse("\n".join(lines)))
    assert message == f"x.yaml: expands to more than {bounded_yaml.MAX_DEPTH} levels (nested aliases)"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfe\x00", "is not UTF-8 text (byte 0)"),
        (b"name: caf\xe9", "is not UTF-8 text (byte 9)"),
        ("name: x".encode("utf-16"), "is not UTF-8 text (byte 0)"),
        (b"", "is empty"),
        (
            b"a: \x00",
            "is not valid YAML: unacceptable character #x0000: control characters are not allowed "
            'in "<unicode string>", position 3',
        ),
        (b"\x89PNG\r\n", "is not UTF-8 text (byte 0)"),
    ],
    ids=["binary", "latin-1", "utf-16", "empty", "control character", "picture"],
)
def test_a_file_that_is_no_yaml_text_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(content)
    assert refused(lambda: bounded_yaml.read(path)) == f"{path}: {message}"


def test_a_byte_order_mark_is_no_part_of_the_document(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1")
    assert bounded_yaml.read(path) == {"a": 1}


def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    assert refused(lambda: bounded_yaml.read(tmp_path / "x.yaml")) == f"{tmp_path}/x.yaml: no such file"
    assert refused(lambda: bounded_yaml.read(tmp_path)) == f"{tmp_path}: cannot be read (Is a directory)"
    long = tmp_path / ("x" * 300)
    assert refused(lambda: bounded_yaml.read(long)) == f"{long}: cannot be read (File name too long)"


def test_a_file_up_to_the_bound_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("a: 1\n" + "#" * (bounded_yaml.MAX_BYTES - 5))
    assert bounded_yaml.read(path) == {"a": 1}
    path.write_text("a: 1\n" + "#" * (bounded_yaml.MAX_BYTES - 4))
    assert refused(lambda: bounded_yaml.read(path)) == f"{path}: is larger than 2 MB (split the document)"


LIMITED = """
import resource, sys
from pathlib import Path
from evalhub_pipelines import bounded_yaml
from evalhub_components.errors import InvalidDocument
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 64_000_000,) * 2)
resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
try:
    bounded_yaml.read(Path(sys.argv[1]))
except InvalidDocument as error:
    print(error)
"""


def billion_laughs() -> str:
    levels = ["a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    return "\n".join(levels)


def merge_bomb() -> str:
    levels = ["a0: &a0 {k: v}"]
    levels += [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}" for n in range(1, 12)]
    return "\n".join(levels)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (billion_laughs(), "expands to more than 200000 values (too many or nested aliases)"),
        (merge_bomb(), "expands to more than 200000 values (too many or nested aliases)"),
        ("a: 1\n" * 10_000_000, "is larger than 2 MB (split the document)"),
        ("[" * 50_000_000, "is larger than 2 MB (split the document)"),
        ("[" + "a," * 990_000 + "]", "has more than 200000 values (split the document)"),
        ("a: &a [" + "[]," * 600_000 + "]", "has more than 200000 values (split the document)"),
        ("[" * 1_900_000, "is nested more than 40 levels deep"),
        ("a: &a [*a, *a]", "line 1: an alias contains itself"),
    ],
    ids=["bomb of lists", "bomb of merges", "50 MB", "50 MB of brackets", "many", "many empty", "deep", "cycle"],
)
def test_what_would_exhaust_the_machine_is_refused_in_little_memory(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    found = subprocess.run([sys.executable, "-c", LIMITED, str(path)], capture_output=True, text=True, timeout=120)
    assert found.stdout == f"{path}: {message}\n", found.stderr[-2000:]


def test_a_file_without_an_end_is_refused_in_little_memory() -> None:
    found = subprocess.run([sys.executable, "-c", LIMITED, "/dev/zero"], capture_output=True, text=True, timeout=120)
    assert found.stdout == "/dev/zero: is larger than 2 MB (split the document)\n", found.stderr[-2000:]


def substitute(data: Any, **environ: str) -> Any:
    return bounded_yaml.substitute(data, environ, "eval.yaml")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${HOST}", "example.org"),
        ("http://${HOST}:${PORT:-8000}/v1", "http://example.org:8000/v1"),
        ("${EMPTY}", ""),
        ("${EMPTY:-default}", "default"),
        ("${UNSET:-}", ""),
        ("${UNSET:-a b/c:d}", "a b/c:d"),
        ("${HOST:-other}", "example.org"),
        ("${NESTED}", "${HOST}"),
        ("$HOST and $$ and ${", "$HOST and $$ and ${"),
    ],
)
def test_variables_are_replaced_in_text(text: str, value: str) -> None:
    assert substitute({"a": [text]}, HOST="example.org", EMPTY="", NESTED="${HOST}") == {"a": [value]}


def test_only_text_values_are_touched() -> None:
    data = {"${HOST}": 1, "a": [True, None, 2.5, 3], "b": {"c": "plain"}}
    assert substitute(data, HOST="x") == data


def test_every_unset_variable_is_named_by_its_key() -> None:
    data = {"model": {"url": "http://${HOST}/v1", "name": "${MODEL}"}, "tags": ["a", "${TAG}"]}
    assert refused(lambda: substitute(data)).splitlines() == [
        "eval.yaml: model.url: ${HOST} is not set (export HOST, or write ${HOST:-default})",
        "eval.yaml: model.name: ${MODEL} is not set (export MODEL, or write ${MODEL:-default})",
        "eval.yaml: tags[1]: ${TAG} is not set (export TAG, or write ${TAG:-default})",
    ]


def test_a_value_that_is_not_text_is_refused_without_showing_it() -> None:
    # bytes of another encoding in the environment; canonical JSON could not hold them
    message = refused(lambda: substitute({"name": "${NAME}"}, NAME=os.fsdecode(b"caf\xe9")))
    assert message == "eval.yaml: name: the value of ${NAME} is not UTF-8 text"
