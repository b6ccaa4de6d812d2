"""YAML as plain data: read within bounds of size, depth and expansion, so that no document can exhaust the machine."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from evalhub_components import canonical
from evalhub_components.errors import InvalidDocument, Problem

MAX_BYTES = 2_000_000
MAX_DEPTH = 40
MAX_NODES = 200_000

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _PlainLoader(_Loader):  # type: ignore[misc]
    """The safe loader with the plain scalars of YAML 1.2, as EvalHub reads them.

    `2024-01-01`, `no`, `1:30` and `010` stay the text that was written, and `1e-3` is a number.
    """

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's own interface


for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"[-+]?(?:0|[1-9][0-9_]*|0x[0-9a-fA-F]+|0o[0-7]+)", "-+0123456789"),
    ("float", r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?", "-+.0123456789"),
    ("float", r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", "-+."),
    ("merge", r"<<", "<"),
):
    _PlainLoader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), list(_first))


def read(path: Path) -> Any:
    """Return the JSON-like data in the YAML file `path`.

    Raises:
        InvalidDocument: unreadable, no YAML, too large, too deep, or with values JSON does not have.
    """
    where = str(path)
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise refusal(where, "no such file") from None
    except OSError as error:
        raise refusal(where, f"cannot be read ({error.strerror})") from None
    if len(content) > MAX_BYTES:
        raise refusal(where, f"is larger than {MAX_BYTES // 1_000_000} MB (split the document)")
    try:
        return parse(content.decode("utf-8-sig"), where)
    except UnicodeDecodeError as error:
        raise refusal(where, f"is not UTF-8 text (byte {error.start})") from None


def parse(text: str, where: str) -> Any:
    """Return the JSON-like data in the YAML `text`; `where` names it in problems.

    Raises:
        InvalidDocument: as `read`.
    """
    try:
        _check_events(text, where)
        node = yaml.compose(text, Loader=_PlainLoader)
    except yaml.YAMLError as error:
        raise refusal(where, f"is not valid YAML: {_complaint(error)}") from None
    if node is None:
        raise refusal(where, "is empty")
    _check_expansion(node, where)
    problems = list(_bad_keys(node, where))
    if problems:
        raise InvalidDocument(problems)
    try:
        data = _PlainLoader("").construct_document(node)
    except yaml.YAMLError as error:
        raise refusal(where, f"is not plain YAML data: {_complaint(error)}") from None
    except (ValueError, TypeError, LookupError, AttributeError):
        # what PyYAML's constructors raise on `!!int x`, `!!bool maybe`, `!!timestamp x` or a number of 5000 digits
        raise refusal(where, "is not plain YAML data: a value cannot be read as its type (quote it)") from None
    problems = list(_foreign_values(data, where))
    if problems:
        raise InvalidDocument(problems)
    return data


def substitute(data: Any, environ: Mapping[str, str], where: str) -> Any:
    """Return `data` with `${VAR}` and `${VAR:-default}` in string values replaced from `environ`.

    Raises:
        InvalidDocument: naming the key of every unset variable.
    """
    problems: list[Problem] = []

    def text(value: str, path: str) -> str:
        def replace(match: re.Match[str]) -> str:
            name, default = match["name"], match["default"]
            # like a shell, `:-` also replaces an empty value
            found = environ.get(name) or default
            if found is None and name not in environ:
                what = f"${{{name}}} is not set (export {name}, or write ${{{name}:-default}})"
                problems.append(Problem(_place(where, path), what))
            elif found and not _is_text(found):
                problems.append(Problem(_place(where, path), f"the value of ${{{name}}} is not UTF-8 text"))
            return found or ""

        return re.sub(r"\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}", replace, value)

    def walk(value: Any, path: str) -> Any:
        if isinstance(value, str):
            return text(value, path)
        if isinstance(value, dict):
            return {key: walk(item, join_path(path, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [walk(item, f"{path}[{position}]") for position, item in enumerate(value)]
        return value

    result = walk(data, "")
    if problems:
        raise InvalidDocument(problems)
    return result


def _check_events(text: str, where: str) -> None:
    """Refuse deep nesting and too many values while only one event is in memory, before anything builds on them."""
    depth = count = 0
    for event in yaml.parse(text, Loader=_PlainLoader):
        if isinstance(event, yaml.NodeEvent):
            count += 1
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH:
            raise refusal(where, f"is nested more than {MAX_DEPTH} levels deep")
        if count > MAX_NODES:
            raise refusal(where, f"has more than {MAX_NODES} values (split the document)")


class _Extent(NamedTuple):
    """How many values a node expands to, and how deep they are nested."""

    values: int
    depth: int


def _check_expansion(root: yaml.Node, where: str) -> None:
    """Refuse a document whose aliases expand to too many values, too deep, or to themselves."""
    extents: dict[int, _Extent] = {}
    open_nodes: set[int] = set()

    def extent(node: yaml.Node) -> _Extent:
        if id(node) in open_nodes:
            raise refusal(where, f"line {node.start_mark.line + 1}: an alias contains itself")
        if id(node) not in extents:
            open_nodes.add(id(node))
            inner = [extent(child) for child in _children(node)]
            depth = 1 + max((child.depth for child in inner), default=0) if isinstance(node, yaml.CollectionNode) else 0
            extents[id(node)] = _Extent(1 + sum(child.values for child in inner), depth)
            open_nodes.remove(id(node))
        return extents[id(node)]

    values, depth = extent(root)
    if values > MAX_NODES:
        raise refusal(where, f"expands to more than {MAX_NODES} values (too many or nested aliases)")
    if depth > MAX_DEPTH:
        raise refusal(where, f"expands to more than {MAX_DEPTH} levels (nested aliases)")


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [child for pair in node.value for child in pair]
    return node.value if isinstance(node, yaml.SequenceNode) else []


def _bad_keys(node: yaml.Node, where: str, path: str = "", seen: set[int] | None = None) -> Iterator[Problem]:
    """Yield the keys that are given twice or are not text, as they were written."""
    seen = set() if seen is None else seen
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        keys: set[str] = set()
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                yield Problem(_place(where, path), f"a key must be text (line {key.start_mark.line + 1})")
                continue
            here = join_path(path, key.value)
            if key.tag not in ("tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"):
                yield Problem(_place(where, here), f"a key must be text (quote it: '{key.value}')")
            elif key.value in keys and key.tag != "tag:yaml.org,2002:merge":
                yield Problem(_place(where, here), f"is given twice (line {key.start_mark.line + 1})")
            keys.add(key.value)
            yield from _bad_keys(value, where, here, seen)
    elif isinstance(node, yaml.SequenceNode):
        for position, item in enumerate(node.value):
            yield from _bad_keys(item, where, f"{path}[{position}]", seen)


def _foreign_values(value: Any, where: str, path: str = "") -> Iterator[Problem]:
    """Yield what canonical JSON cannot hold, so that digests never fail later."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _foreign_values(item, where, join_path(path, key))
    elif isinstance(value, list):
        for position, item in enumerate(value):
            yield from _foreign_values(item, where, f"{path}[{position}]")
    elif isinstance(value, float) and not math.isfinite(value):
        yield Problem(_place(where, path), f"must be a finite number, got {value}")
    elif isinstance(value, int) and not _is_exact(value):
        yield Problem(_place(where, path), "is an integer that JSON cannot keep exactly (quote it)")
    elif value is not None and not isinstance(value, str | int | float | bool):
        what = f"must be text, a number, a list or a mapping, got {kind(value)}"
        yield Problem(_place(where, path), what)


def _complaint(error: yaml.YAMLError) -> str:
    """Return what PyYAML says of a document, with the place first."""
    if not isinstance(error, yaml.MarkedYAMLError):
        return " ".join(str(error).split())
    mark = error.problem_mark or error.context_mark
    place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    return f"{place}{error.problem or error.context}"


def _is_text(value: str) -> bool:
    """Return whether `value` can be written as UTF-8 (bytes of another encoding in the environment cannot)."""
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _is_exact(value: int) -> bool:
    try:
        canonical.dumps(value)
    except ValueError:
        return False
    return True


def _place(where: str, path: str) -> str:
    return f"{where}: {path}" if path else where


def refusal(where: str, what: str) -> InvalidDocument:
    """Return the error for a document with this one problem."""
    return InvalidDocument([Problem(where, what)])


def join_path(path: str, key: Any) -> str:
    """Return the key path of `key` under `path`."""
    return f"{path}.{key}" if path else str(key)


def kind(value: Any) -> str:
    """Return what `value` is, in words a reader of YAML knows."""
    names = {dict: "a mapping", list: "a list", str: "text", bool: "true or false", int: "a number", float: "a number"}
    return "nothing" if value is None else names.get(type(value), type(value).__name__)
