"""Which of several members is to have which channel, by rendezvous hashing, and which has it. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from typing import Final, final

__all__ = ["Holding", "owners"]

_MARK: Final = 5  # bytes for each channel: two of 10,000 are alike with a probability of 5e-5


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


@final
class Holding:
    """What a member says that it has joined: `key in Holding(said)`. A few bytes for each channel.

    Members whose channels are not the same understand each other.
    """

    __slots__ = ("_marks",)

    def __init__(self, said: bytes) -> None:
        self._marks = {said[at : at + _MARK] for at in range(0, len(said), _MARK)}

    def __contains__(self, channel: str) -> bool:
        return _mark(channel) in self._marks

    @staticmethod
    def of(channels: Iterable[str]) -> bytes:
        """Return what to say of these."""
        return b"".join(sorted(map(_mark, channels)))


def _mark(channel: str) -> bytes:
    return hashlib.blake2b(channel.encode(), digest_size=_MARK).digest()
