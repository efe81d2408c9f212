"""Which of several members has which channel: rendezvous hashing. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Collection

__all__ = ["owners"]


def owners(channel: str, members: Collection[str], copies: int) -> tuple[str, ...]:
    """Return the `copies` members that have `channel`, the first of them first; all where there are fewer.

    Everybody who knows the same members comes to the same answer, in whatever order they are known. When
    one goes, only its channels move; one that comes takes about its share, from all alike (highest random
    weight, Thaler and Ravishankar 1998).
    """
    return tuple(
        sorted(members, key=lambda member: (_weight(channel, member), member), reverse=True)[:copies]
    )


def _weight(channel: str, member: str) -> bytes:
    return hashlib.blake2b(f"{channel}\0{member}".encode(), digest_size=8).digest()
