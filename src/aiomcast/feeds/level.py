"""`Level`: lines of a merge that bring one number after the other, and nothing else. Pure.

`_numbers` does the same in compiled code for numbers at a fixed place; the tests hold both to one behaviour.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias, final

from ..values.packets import Packet
from .items import Item
from .places import Numbers

__all__ = ["Brought", "Level", "Sample"]

Brought: TypeAlias = tuple[int, int, float, int]
"""Of a line: how many it has brought, and how many of these first; when, and how many all had then."""
Sample: TypeAlias = Callable[[int, int, Packet, float], object]

_SAMPLED = 7  # numbers without these bits are those by which lines are compared in time


@final
class Level:
    """Takes one packet of a line at a time as long as each has the number after the line's last one.

    It does so from `begin` on, until something else comes. `count` lines; the numbers are those of `numbers`
    without the bits that are not in `mask`. `sample` is called with the line, by how much the number is above
    the one that was due in the beginning, the packet and the time, of one packet in eight.
    """

    def __init__(self, count: int, numbers: Numbers, mask: int, sample: Sample) -> None:
        self._number = numbers.number
        self._mask = mask
        self._sample = sample
        self._count = count
        self.begin(0, [0] * count, 0, 0, 0)

    def begin(self, due: int, behind: list[int], back: int, room: int, came: int) -> None:
        """Take from `due` on: `room` numbers at most, of lines that are `behind` by so many.

        A line that is behind by more than `back` brings nothing here. `came` packets had come on all.
        """
        self._due = due
        self._room, self._put_out, self._came = room, 0, came
        self._next = [-one for one in behind]
        self._lowest = -back
        self._brought = [0] * self._count
        self._won = [0] * self._count
        self._at = [0.0] * self._count
        self._came_then = [0] * self._count

    def take(self, queued: dict[int, list[Packet]], now: float, out: list[Item]) -> bool:
        """Take what these lines bring, and put into `out` what is due; False, and nothing is taken, where it
        is something else than one packet each that can be taken.
        """
        put_out = self._put_out
        if put_out >= self._room:
            return False
        for index, batch in queued.items():
            following = self._next[index]
            if len(batch) != 1 or not self._lowest <= following <= put_out:
                return False
            if self._number(batch[0].data) != (self._due + following) & self._mask:
                return False
        self._came += len(queued)
        for index, batch in queued.items():
            following = self._next[index]
            self._next[index] = following + 1
            self._brought[index] += 1
            self._at[index] = now
            self._came_then[index] = self._came
            if following == self._put_out:
                self._put_out += 1
                self._won[index] += 1
                out.append(batch[0])
            if not (self._due + following) & _SAMPLED:
                self._sample(index, following, batch[0], now)
        return True

    def end(self) -> tuple[int, int, list[Brought]]:
        """Take no more; return how many numbers were put out, how many packets have come, of each line."""
        self._room = 0
        each = zip(self._brought, self._won, self._at, self._came_then, strict=True)
        return self._put_out, self._came, list(each)
