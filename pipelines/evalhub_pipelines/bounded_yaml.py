"""YAML as plain data: read within bounds of size, depth and expansion, so that no document can exhaust the machine."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from evalhub_components.errors import InvalidDocument, Problem

MAX_BYTES = 2_000_000
MAX_DEPTH = 40
MAX_NODES = 200_000

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _PlainLoader(_Loader):  # type: ignore[misc]
    """The safe loader without time stamps: `2024-01-01` stays the string that was written."""


_PlainLoader.yaml_implicit_resolvers = {
    letter: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for letter, resolvers in _Loader.yaml_implicit_resolvers.items()
}


def read(path: Path) -> Any:
    """Return the JSON-like data in the YAML file `path`.

    Raises:
        InvalidDocument: unreadable, no YAML, too large, too deep, or with values JSON does not have.
    """
    where = str(path)
    try:
        if path.is_file() and path.stat().st_size > MAX_BYTES:
            raise refusal(where, f"is larger than {MAX_BYTES // 1_000_000} MB (split the document)")
        text = path.read_bytes()[: MAX_BYTES + 1].decode("utf-8-sig")
    except FileNotFoundError:
        raise refusal(where, "no such file") from None
    except OSError as error:
        raise refusal(where, f"cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise refusal(where, f"is not UTF-8 text (byte {error.start})") from None
    return parse(text, where)


def parse(text: str, where: str) -> Any:
    """Return the JSON-like data in the YAML `text`; `where` names it in problems.

    Raises:
        InvalidDocument: as `read`.
    """
    try:
        _check_depth(text, where)
        node = yaml.compose(text, Loader=_PlainLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise refusal(where, f"{place}is not valid YAML: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise refusal(where, f"is not valid YAML: {' '.join(str(error).split())}") from None
    if node is None:
        raise refusal(where, "is empty")
    _check_size(node, where)
    problems = list(_duplicate_keys(node, where))
    if problems:
        raise InvalidDocument(problems)
    loader = _PlainLoader("")
    try:
        data = loader.construct_document(node)
    except (yaml.YAMLError, ValueError, TypeError) as error:
        raise refusal(where, f"is not plain YAML data: {' '.join(str(error).split())}") from None
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
                problems.append(Problem(f"{where}: {path}", what))
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


def _check_depth(text: str, where: str) -> None:
    """Refuse deep nesting before anything recursive sees the document."""
    depth = 0
    for event in yaml.parse(text, Loader=_PlainLoader):
        if isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise refusal(where, f"is nested more than {MAX_DEPTH} levels deep")
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            depth -= 1


def _check_size(root: yaml.Node, where: str) -> None:
    """Refuse a document whose aliases expand to more than MAX_NODES values, or to themselves."""
    sizes: dict[int, int] = {}
    open_nodes: set[int] = set()

    def size(node: yaml.Node) -> int:
        if id(node) in open_nodes:
            raise refusal(where, f"line {node.start_mark.line + 1}: an alias contains itself")
        if id(node) not in sizes:
            open_nodes.add(id(node))
            children: list[yaml.Node] = []
            if isinstance(node, yaml.MappingNode):
                children = [child for pair in node.value for child in pair]
            elif isinstance(node, yaml.SequenceNode):
                children = node.value
            sizes[id(node)] = 1 + sum(size(child) for child in children)
            open_nodes.remove(id(node))
        return sizes[id(node)]

    if size(root) > MAX_NODES:
        raise refusal(where, f"expands to more than {MAX_NODES} values (too many or nested aliases)")


def _duplicate_keys(node: yaml.Node, where: str, path: str = "", seen: set[int] | None = None) -> Iterator[Problem]:
    seen = set() if seen is None else seen
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        keys: set[str] = set()
        for key, value in node.value:
            if key.value in keys and key.tag != "tag:yaml.org,2002:merge":
                yield Problem(
                    f"{where}: {join_path(path, key.value)}", f"is given twice (line {key.start_mark.line + 1})"
                )
            if isinstance(key.value, str):
                keys.add(key.value)
            yield from _duplicate_keys(value, where, join_path(path, key.value), seen)
    elif isinstance(node, yaml.SequenceNode):
        for position, item in enumerate(node.value):
            yield from _duplicate_keys(item, where, f"{path}[{position}]", seen)


def _foreign_values(value: Any, where: str, path: str = "") -> Iterator[Problem]:
    """Yield what canonical JSON cannot hold, so that digests never fail later."""
    if isinstance(value, dict):
        for key, item in value.items():
            if isinstance(key, str):
                yield from _foreign_values(item, where, join_path(path, key))
            else:
                yield Problem(f"{where}: {join_path(path, str(key))}", f"the key must be a string (quote it: '{key}')")
    elif isinstance(value, list):
        for position, item in enumerate(value):
            yield from _foreign_values(item, where, f"{path}[{position}]")
    elif isinstance(value, float) and not math.isfinite(value):
        yield Problem(f"{where}: {path}", f"must be a finite number, got {value}")
    elif isinstance(value, int) and abs(value) > 2**53:
        yield Problem(f"{where}: {path}", "is an integer beyond 2^53 (quote it)")
    elif value is not None and not isinstance(value, str | int | float | bool):
        yield Problem(f"{where}: {path}", f"must be text, a number, a list or a mapping, got {kind(value)}")


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
