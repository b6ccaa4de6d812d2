"""Canonical JSON (RFC 8785) and the digests taken over it.

Written here, and not taken from a library, because every provider image carries this module and may carry no dependency
but pydantic and PyYAML; the tests compare it with the `rfc8785` package.
"""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any


def dumps(value: Any) -> bytes:
    """Return the canonical JSON of `value` as UTF-8, without a trailing newline.

    Raises:
        ValueError: for NaN, infinity, an integer that no double holds, a key that is no string, or a type JSON has not.
    """
    parts: list[str] = []
    _write(value, parts)
    return "".join(parts).encode("utf-8")


def digest(value: Any) -> str:
    """Return `sha256:<64 hex>` over the canonical JSON of `value`."""
    return "sha256:" + hashlib.sha256(dumps(value)).hexdigest()


def _write(value: Any, parts: list[str]) -> None:
    if value is None or value is True or value is False:
        parts.append({None: "null", True: "true", False: "false"}[value])
    elif isinstance(value, str):
        parts.append(json.dumps(value, ensure_ascii=False))
    elif isinstance(value, int):
        parts.append(_integer(value))
    elif isinstance(value, float):
        parts.append(_number(value))
    elif isinstance(value, list | tuple):
        parts.append("[")
        for position, item in enumerate(value):
            if position:
                parts.append(",")
            _write(item, parts)
        parts.append("]")
    elif isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise ValueError("a JSON object has string keys only")
        parts.append("{")
        # RFC 8785 orders keys by UTF-16 code units, not by code points
        for position, key in enumerate(sorted(value, key=lambda key: key.encode("utf-16-be", "surrogatepass"))):
            if position:
                parts.append(",")
            parts.append(json.dumps(key, ensure_ascii=False) + ":")
            _write(value[key], parts)
        parts.append("}")
    else:
        raise ValueError(f"{type(value).__name__} is not a JSON type")


def _integer(value: int) -> str:
    if abs(value) < 2**53:
        return str(int(value))
    # a float such as 1e20 is written with all its digits, and so read as an integer: it must be written alike again
    if abs(value) >= 10**21 or (text := _number(float(value))) != str(int(value)):
        raise ValueError("an integer beyond 2^53 cannot be kept exactly in JSON")
    return text


def _number(value: float) -> str:
    """Return the number as ECMAScript prints it (RFC 8785, section 3.2.2.3)."""
    if not math.isfinite(value):
        raise ValueError("NaN and infinity are not JSON numbers")
    if value == 0:
        return "0"
    mantissa, _, exponent_text = f"{abs(value)!r}".partition("e")
    whole, _, fraction = mantissa.partition(".")
    fraction = "" if fraction == "0" and not exponent_text else fraction
    exponent = int(exponent_text or 0)
    digits = (whole + fraction).lstrip("0")
    # point: the position of the decimal point, counted from the first significant digit
    point = len(whole) + exponent if whole != "0" else exponent - (len(fraction) - len(fraction.lstrip("0")))
    digits = digits.rstrip("0") or "0"
    sign = "-" if value < 0 else ""
    if len(digits) <= point <= 21:
        return sign + digits.ljust(point, "0")
    if 0 < point <= 21:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    shown = point - 1
    tail = "." + digits[1:] if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{tail}e{'+' if shown > 0 else '-'}{abs(shown)}"
