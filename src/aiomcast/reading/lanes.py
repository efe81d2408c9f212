"""Several sockets of one membership, read together: in the order of arrival, not socket by socket."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import final

from ..values import bounds
from ..values.packets import Packet
from .contract import Reader

__all__ = ["Lanes"]


class _Lane:
    """A reader, and what was read from it and has to wait for earlier packets of others."""

    __slots__ = ("held", "is_dry", "reader")

    def __init__(self, reader: Reader | None) -> None:
        self.reader = reader  # None: gone, all that is left is `held`
        self.held: list[tuple[int, Packet]] = []  # (latest stamp up to here, packet)
        self.is_dry = True

    def read(self, limit: int) -> int:
        """Read ahead; return how many datagrams that used up."""
        reader = self.reader
        if reader is None or reader.rests:
            return 0
        packets, used = reader.read(limit)
        self.is_dry = reader.dry
        latest = self.held[-1][0] if self.held else 0
        for packet in packets:
            stamp = packet.timestamp_ns
            if stamp is not None and stamp > latest:
                latest = stamp
            self.held.append((latest, packet))
        return used


@final
class Lanes:
    """Reads `readers` in turn and merges what they give by the kernel's time of arrival.

    A packet is handed over once no socket can hold an earlier one: what was read later than that
    is `held` until the next read. A packet without a stamp keeps its place in its socket.

    What `before` holds comes over, also of readers that are not among these, and `before` is empty
    then. `time_ns` is the clock that stamps the packets.
    """

    __slots__ = ("_per_lane", "_rows", "_time_ns", "turn")

    def __init__(
        self,
        readers: Sequence[Reader],
        before: Lanes | None = None,
        *,
        time_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.turn: int = -1  # of the read set that has visited it last
        self._time_ns = time_ns
        self._rows: list[_Lane]
        known = {row.reader: row for row in before._rows if row.reader is not None} if before else {}
        self._rows = [known.pop(one) if one in known else _Lane(one) for one in readers]
        if before is not None:
            for row in before._rows:
                if row not in self._rows and row.held:
                    row.reader, row.is_dry = None, True
                    self._rows.append(row)
            before._rows = []
        self._per_lane = max(bounds.READ_AHEAD_EACH, bounds.READ_AHEAD // max(len(readers), 1))

    @property
    def readers(self) -> tuple[Reader, ...]:
        """The sockets' readers."""
        return tuple(row.reader for row in self._rows if row.reader is not None)

    @property
    def is_dry(self) -> bool:
        """Whether the last read has found every socket empty, and nothing is held."""
        return all(row.is_dry and not row.held for row in self._rows)

    def __len__(self) -> int:
        return sum(len(row.held) for row in self._rows)

    def read(self, limit: int) -> tuple[list[Packet], int]:
        """Return what is due, after about `limit` datagrams more at most, and how many were read.

        Errors are left in the readers, as `Reader.read` does.
        """
        due: list[Packet] = []
        spent = 0
        # All sockets are read after this moment and after what is held was read, so a socket that
        # is found empty can hold nothing that is earlier than either.
        complete = max([self._time_ns(), *(row.held[-1][0] for row in self._rows if row.held)])
        for row in self._rows:
            if row.is_dry or not row.held:
                spent += row.read(self._per_lane)
        while True:
            due += self._due(complete)
            slow = [row for row in self._rows if not row.is_dry and not row.held]
            if not slow or spent >= limit:
                return due, spent
            for row in slow:
                spent += row.read(self._per_lane)

    def _due(self, complete: int) -> list[Packet]:
        """Remove and return what no socket can hold anything earlier than."""
        behind = [row for row in self._rows if not row.is_dry]
        bound = min([complete, *(row.held[-1][0] for row in behind if row.held)])
        if any(not row.held for row in behind):
            return []
        due: list[tuple[int, Packet]] = []
        for row in self._rows:
            count = len(row.held)
            while count and row.held[count - 1][0] > bound:
                count -= 1
            due += row.held[:count]
            del row.held[:count]
        due.sort(key=_stamp)  # stable: within a socket the order stays
        return [packet for _, packet in due]

    def take_all(self) -> list[Packet]:
        """Remove and return what is held, in order."""
        held = [one for row in self._rows for one in row.held]
        for row in self._rows:
            row.held.clear()
        held.sort(key=_stamp)
        return [packet for _, packet in held]

    def refuse(self, refused: Callable[[Packet], bool]) -> int:
        """Drop what is held and refused; return how many packets that was."""
        before = len(self)
        for row in self._rows:
            row.held = [one for one in row.held if not refused(one[1])]
        return before - len(self)


def _stamp(one: tuple[int, Packet]) -> int:
    return one[0]
