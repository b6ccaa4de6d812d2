"""What MLflow takes: names of the characters it allows, and texts of the lengths it keeps."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import count

TAG_VALUE = 8000
PARAM_VALUE = 6000
KEY = 250
EXPERIMENT_NAME = 500
RUN_NAME = 250
PARAMS = 100
"""In one request."""
DATASET_DIGEST = 36
DATASET_NAME = 500
DATASET_SOURCE = 65535


def metric_names(originals: Iterable[str]) -> dict[str, str]:
    """Return a name MLflow takes for each metric, all different: `acc,none` -> `acc`, `pass@1` -> `pass_at_1`.

    A name that MLflow takes as it is stays as it is.
    """
    order = sorted(originals, key=lambda original: (_plain(original) != original, original))
    return dict(zip(order, told_apart([_plain(original) for original in order]), strict=True))


def told_apart(names: Sequence[str]) -> list[str]:
    """Return `names` with a number behind those that were there before."""
    taken: dict[str, None] = {}
    for name in names:
        free = (other for n in count(2) if (other := f"{name}_{n}") not in taken)
        taken[next(free) if name in taken else name] = None
    return list(taken)


def cut(text: str, limit: int) -> str:
    """Return `text` in at most `limit` characters, and without NUL, which some databases refuse."""
    text = text.replace("\0", "\N{REPLACEMENT CHARACTER}")
    return text if len(text) <= limit else text[: limit - 1] + "\N{HORIZONTAL ELLIPSIS}"


def cut_all(values: Mapping[str, str], limit: int) -> dict[str, str]:
    """Return `values` with texts of at most `limit` characters, under names MLflow takes."""
    names = metric_names(values)
    return {names[key]: cut(value, limit) for key, value in values.items()}


def _plain(original: str) -> str:
    stem = original.removesuffix(",none").replace(",", "/").replace("@", "_at_")
    stem = re.sub(r"[^A-Za-z0-9_./ -]", "_", stem)
    # MLflow reads a name as a path, and wants it in its shortest form
    parts = [part.strip() for part in stem.split("/") if part.strip(" .")]
    # room for `_stderr` and a number
    return "/".join(parts)[: KEY - 12] or "metric"
