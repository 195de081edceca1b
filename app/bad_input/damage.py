"""Damage to bytes: as of a full disk, a bad cable, a wrong copy."""

from collections.abc import Callable

import numpy as np


def _cut(rng: np.random.Generator, content: bytes) -> tuple[str, bytes]:
    at = int(rng.integers(len(content)))
    return f"cut at byte {at}", content[:at]


def _flipped(rng: np.random.Generator, content: bytes) -> tuple[str, bytes]:
    at, bit = int(rng.integers(len(content))), int(rng.integers(8))
    changed = bytearray(content)
    changed[at] ^= 1 << bit
    return f"bit {bit} of byte {at} flipped", bytes(changed)


def _zeroed(rng: np.random.Generator, content: bytes) -> tuple[str, bytes]:
    at, size = int(rng.integers(len(content))), int(rng.integers(1, 65))
    size = min(size, len(content) - at)
    return f"{size} bytes from {at} zeroed", content[:at] + bytes(size) + content[at + size :]


def _removed(rng: np.random.Generator, content: bytes) -> tuple[str, bytes]:
    at, size = int(rng.integers(len(content))), int(rng.integers(1, 65))
    return f"{size} bytes from {at} removed", content[:at] + content[at + size :]


def _inserted(rng: np.random.Generator, content: bytes) -> tuple[str, bytes]:
    at, more = int(rng.integers(len(content) + 1)), rng.bytes(int(rng.integers(1, 65)))
    return f"{len(more)} bytes inserted at {at}", content[:at] + more + content[at:]


def _emptied(rng: np.random.Generator, content: bytes) -> tuple[str, bytes]:
    return "emptied", b""


def _doubled(rng: np.random.Generator, content: bytes) -> tuple[str, bytes]:
    return "twice in a row", content + content


def _noise(rng: np.random.Generator, content: bytes) -> tuple[str, bytes]:
    return "random bytes of the same size", rng.bytes(len(content))


Damage = Callable[[np.random.Generator, bytes], tuple[str, bytes]]
DAMAGES: tuple[Damage, ...] = (
    *(_cut, _flipped, _zeroed, _removed, _inserted),
    *(_emptied, _doubled, _noise),
)


def damaged(rng: np.random.Generator, content: bytes) -> tuple[str, bytes]:
    """(what was done, the changed bytes) of some content; of nothing, random bytes."""
    if not content:
        return "random bytes where there were none", rng.bytes(int(rng.integers(1, 65)))
    return DAMAGES[int(rng.integers(len(DAMAGES)))](rng, content)
