"""Canonical JSON: byte for byte what the reference implementation of RFC 8785 writes."""

import json
import math
import struct
from typing import Any

import pytest
import rfc8785
from hypothesis import example, given
from hypothesis import strategies as st

from evalhub_components import canonical

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
NUMBERS = st.integers(1 - 2**53, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXT, inner, max_size=5),
    max_leaves=20,
)

REFUSED = {
    "integer between two doubles": 2**53 + 1,
    "negative integer between two doubles": -(2**53) - 1,
    "integer that is not the text of a double": 10**20 + 1,
    "integer that a double writes with an exponent": 10**21,
    "integer of 5000 digits": 10**5000,
    "integer as key": {1: "x"},
    "set": {"x": {1, 2}},
    "bytes": b"x",
    "object": object(),
}


@given(VALUES)
@example({"\ufb33": 1, "\U0001f600": 2, "\u20ac": 3, "\r": 4, "1": 5, "\u0080": 6, "\u00f6": 7})
@example('\u0000\u0008\u0009\u000a\u000c\u000d\u001f\u007f\u2028"\\/')
def test_any_value_is_written_as_the_reference_does(value: Any) -> None:
    assert canonical.dumps(value) == rfc8785.dumps(value)


@given(st.binary(min_size=8, max_size=8))
@example(struct.pack(">d", -0.0))
@example(struct.pack(">d", 5e-324))
@example(struct.pack(">d", 1.7976931348623157e308))
@example(struct.pack(">d", 1e21))
@example(struct.pack(">d", 999999999999999900000.0))
@example(struct.pack(">d", 1e-6))
@example(struct.pack(">d", 1e-7))
@example(struct.pack(">d", 1e23))
@example(struct.pack(">d", 123456789012345680.0))
def test_any_float_is_written_as_the_reference_does(pattern: bytes) -> None:
    (value,) = struct.unpack(">d", pattern)
    if math.isfinite(value):
        assert canonical.dumps(value) == rfc8785.dumps(value)
        assert float(canonical.dumps(value)) == value
    else:
        with pytest.raises(ValueError, match="NaN and infinity"):
            canonical.dumps([value])


@given(VALUES)
@example([1e20, -9.999999999999999e20, 2.0**53, 1e21])
def test_what_is_read_back_is_written_alike(value: Any) -> None:
    written = canonical.dumps(value)
    assert canonical.dumps(json.loads(written)) == written


@pytest.mark.parametrize("value", REFUSED.values(), ids=REFUSED)
def test_what_the_reference_refuses_is_refused(value: Any) -> None:
    with pytest.raises((rfc8785.CanonicalizationError, ValueError)):
        rfc8785.dumps(value)
    with pytest.raises(ValueError, match=r"JSON|2\^53"):
        canonical.dumps(value)


def test_a_lone_surrogate_is_refused() -> None:
    with pytest.raises(ValueError, match="surrogates not allowed"):
        canonical.dumps("\ud800")


@given(st.dictionaries(TEXT, NUMBERS, max_size=8))
def test_the_digest_does_not_depend_on_the_order_of_keys(value: dict[str, Any]) -> None:
    assert canonical.digest(value) == canonical.digest(dict(reversed(value.items())))


def test_the_digest_is_sha256_over_the_canonical_bytes() -> None:
    # printf '{"a":1.5,"b":[true,null]}' | sha256sum
    expected = "sha256:e028cd937aee508e2387f05861301372a1322b24c9dedf617ddac5f6f37b5a08"
    assert canonical.digest({"b": [True, None], "a": 1.50}) == expected
