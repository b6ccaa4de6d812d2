"""Text embeddings from hashed character trigrams: texts that share much of their spelling are near each other."""

import math
import zlib

DIMENSIONS = 256


def embed(text: str, dimensions: int = DIMENSIONS) -> list[float]:
    """Returns the unit vector of a text.

    Args:
        text: Any text; case and the amount of white space do not matter.
        dimensions: Length of the vector.
    """
    padded = f" {' '.join(text.casefold().split())} "
    vector = [0.0] * dimensions
    # The empty text still gets a direction of its own.
    for start in range(max(1, len(padded) - 2)):
        digest = zlib.crc32(padded[start : start + 3].encode("utf-8", "surrogatepass"))
        vector[(digest >> 1) % dimensions] += 1.0 if digest & 1 else -1.0
    length = math.sqrt(math.fsum(value * value for value in vector))
    if length == 0.0:  # every trigram met its opposite
        return [1.0] + [0.0] * (dimensions - 1)
    return [value / length for value in vector]
