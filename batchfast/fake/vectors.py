"""Embeddings: a vector of length one for a text, the same for the same text."""

from __future__ import annotations

import math
import struct

from batchfast.fake.ids import seeded


def unit_vector(text: str, dimensions: int) -> list[float]:
    """Numbers of single precision, so that they read the same written out and packed."""
    source = seeded(f"vector:{text}")
    numbers = [source.random() - 0.5 for _ in range(dimensions)]
    length = math.sqrt(math.fsum(number * number for number in numbers))
    return list(struct.unpack(f"<{dimensions}f", struct.pack(f"<{dimensions}f", *(one / length for one in numbers))))
