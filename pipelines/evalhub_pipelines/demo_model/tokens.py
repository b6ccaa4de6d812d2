"""The demo model's tokenizer: pieces of words, at most three bytes each.

It needs no vocabulary file and keeps no state: an id is the piece's own UTF-8 bytes read as a number, behind a leading
1 that keeps pieces of different lengths apart. A piece never crosses the start of a word, so the tokens of a text are
the first tokens of every longer text that goes on with a space: what clients that score continuations rely on.
"""

import re
from functools import lru_cache

END_TEXT = "<|end|>"
END_ID = 0
PIECE_BYTES = 3

_WORD = re.compile(r"<\|end\|>| ?\w+| ?[^\w\s]|\s")
# JSON may hold half of a surrogate pair, which plain UTF-8 refuses.
_SURROGATES = "surrogatepass"


def encode(text: str) -> list[int]:
    """Returns the token ids of a text."""
    return [token for word in _WORD.findall(text) for token in _word_ids(word)]


def decode(ids: list[int]) -> str:
    """Returns the text of token ids.

    Raises:
        ValueError: An id that `encode` never gives.
    """
    return "".join(map(piece, ids))


@lru_cache(maxsize=65536)
def piece(token: int) -> str:
    """Returns the text of one token.

    Raises:
        ValueError: An id that `encode` never gives.
    """
    if token == END_ID:
        return END_TEXT
    if token > 0:
        raw = token.to_bytes((token.bit_length() + 7) // 8, "big")
        # A character of four bytes is a token of its own.
        if raw[0] == 1 and 2 <= len(raw) <= 5:
            return raw[1:].decode("utf-8", _SURROGATES)
    raise ValueError(f"token id {token} is not in the vocabulary")


@lru_cache(maxsize=65536)
def _word_ids(word: str) -> tuple[int, ...]:
    if word == END_TEXT:
        return (END_ID,)
    pieces = [b""]
    for character in word:
        raw = character.encode("utf-8", _SURROGATES)
        if pieces[-1] and len(pieces[-1]) + len(raw) > PIECE_BYTES:
            pieces.append(b"")
        pieces[-1] += raw
    return tuple(int.from_bytes(b"\x01" + raw, "big") for raw in pieces)
