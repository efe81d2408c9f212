"""Putting IP datagrams together from their fragments (RFC 791, RFC 8200, RFC 5722). Pure, and bounded."""

from __future__ import annotations

from typing import Final, NamedTuple, final

from ..values import bounds

__all__ = ["Fragment", "Fragments", "Head"]

_TIMEOUT_NS: Final = {4: 30_000_000_000, 6: 60_000_000_000}  # Linux: ipfrag_time; RFC 8200, 4.5
_LARGEST = 65535  # bytes: no length says more


class Head(NamedTuple):
    """What of the first fragment's headers is kept: the hop limit, the traffic class, what follows."""

    hop_limit: int
    traffic_class: int
    protocol: int


class Fragment(NamedTuple):
    """A fragment: where `data` begins in the datagram, and whether more is to follow."""

    start: int
    data: bytes
    is_last: bool
    head: Head


class _Parts:
    """What has come of one datagram. `is_given_up`: it stays to take in what else comes of it."""

    __slots__ = ("begun_ns", "end", "is_given_up", "pieces", "size")

    def __init__(self, begun_ns: int) -> None:
        self.begun_ns = begun_ns
        self.pieces: dict[int, Fragment] = {}
        self.size = 0
        self.end: int | None = None
        self.is_given_up = False

    def give_up(self) -> None:
        self.is_given_up = True
        self.pieces.clear()

    def add(self, fragment: Fragment) -> None:
        """Keep a fragment, or give up where they contradict each other."""
        start, data, is_last, _ = fragment
        end = start + len(data)
        known = self.pieces.get(start)
        if known is not None and known.data == data and known.is_last == is_last:
            return  # the network has doubled it, which RFC 8200 lets pass
        wrong = not data or end > _LARGEST or (not is_last and len(data) % 8)
        wrong = wrong or (self.end is not None and (end > self.end or (is_last and end != self.end)))
        wrong = wrong or (is_last and any(one.start + len(one.data) > end for one in self.pieces.values()))
        if wrong or any(
            start < one.start + len(one.data) and one.start < end for one in self.pieces.values()
        ):
            self.give_up()
            return
        self.pieces[start] = fragment
        self.size += len(data)
        if is_last:
            self.end = end

    def whole(self) -> bytes | None:
        """Return the datagram, if nothing of it is missing: no two overlap."""
        if self.end is None or self.size != self.end:
            return None
        return b"".join(self.pieces[start].data for start in sorted(self.pieces))


@final
class Fragments:
    """Datagrams of which fragments have come, oldest first; time is the capture's.

    Of one whose fragments overlap nothing is delivered, whatever else comes of it.
    """

    def __init__(self) -> None:
        self.incomplete: int = 0
        """Datagrams that were given up."""
        self._known: dict[tuple[object, ...], _Parts] = {}

    @property
    def waiting(self) -> int:
        """Datagrams that are not whole, and not given up."""
        return sum(not one.is_given_up for one in self._known.values())

    def add(
        self, family: int, key: tuple[object, ...], fragment: Fragment, stamp_ns: int
    ) -> tuple[bytes, Head] | None:
        """Take a fragment of the datagram `key`; return that one and its first head once it is whole."""
        self._expire(stamp_ns)
        parts = self._known.get(key)
        if parts is not None and abs(stamp_ns - parts.begun_ns) > _TIMEOUT_NS[family]:
            self._forget(key)
            parts = None
        if parts is None:
            if len(self._known) >= bounds.FRAGMENTED:
                self._forget(next(iter(self._known)))
            parts = self._known[key] = _Parts(stamp_ns)
        if parts.is_given_up:
            return None
        parts.add(fragment)
        if parts.is_given_up:
            self.incomplete += 1
            return None
        data = parts.whole()
        if data is None:
            return None
        del self._known[key]
        return data, parts.pieces[0].head

    def _expire(self, stamp_ns: int) -> None:
        while self._known:
            key, parts = next(iter(self._known.items()))
            if stamp_ns - parts.begun_ns <= _TIMEOUT_NS[6]:
                return
            self._forget(key)

    def _forget(self, key: tuple[object, ...]) -> None:
        self.incomplete += not self._known.pop(key).is_given_up
