"""The names that metrics are reported by."""

from __future__ import annotations

import re
from collections import Counter

_ADDRESS = re.compile(r"<function (?P<name>\w+) at 0x[0-9a-f]+>")
_SETTINGS = re.compile(r"^(?P<name>.+)@(?P<letter>[kn]):(?P<settings>.*)$")


def short_names(names: set[str]) -> dict[str, str]:
    """Return the names that metrics are reported by: `pass@1` for LightEval's `pass@k:k=1&n=1`.

    Where two would have the same one they keep their settings, without the addresses in memory that some are given.
    """
    short = {name: _short(name) for name in names}
    count = Counter(short.values())
    return {name: each if count[each] == 1 else _ADDRESS.sub(r"\g<name>", name) for name, each in short.items()}


def _short(name: str) -> str:
    match = _SETTINGS.match(name)
    if match:
        values = dict(item.split("=", 1) for item in match["settings"].split("&") if "=" in item)
        value = values.get(match["letter"])
        return f"{match['name']}@{value}" if value else _ADDRESS.sub(r"\g<name>", name)
    # codegen_pass@1:16
    return re.sub(r"^(.+@\d+):\d+$", r"\1", name)
