"""Which filters may have been in force when: what the calls on a membership leave open and what not."""

from __future__ import annotations

from bisect import bisect_right

from ..history import Change, Datagram, Membership

__all__ = ["UNKNOWN_FLIGHT", "Timeline", "latest"]

UNKNOWN_FLIGHT = 2_000_000_000
"""How long a datagram of which nobody knows when it had arrived may have been on its way."""


def latest(datagram: Datagram) -> int:
    """Return the time by which a datagram had certainly arrived."""
    return datagram.end + UNKNOWN_FLIGHT if datagram.arrived is None else datagram.arrived


class Timeline:
    """The changes of one membership that took effect, in the order in which they were called."""

    def __init__(self, membership: Membership) -> None:
        self.membership = membership
        self.changes = [one for one in membership.changes if not one.refused and one.kind != "refresh"]
        self._began = [one.began for one in self.changes]
        self._returned = [one.returned for one in self.changes]
        self.losing = [one for one in membership.changes if one.lossy]

    def in_force(self, time: int) -> range:
        """Return which changes may be the one in force at `time`: one, unless calls overlapped."""
        begun = bisect_right(self._began, time)
        low = begun
        while low > 0:
            low -= 1
            returned = self._returned[low]
            if returned is not None and returned < time:
                # It had taken effect. Those called before it count only where they overlapped with it.
                began = self.changes[low].began
                while low > 0 and ((before := self._returned[low - 1]) is None or before >= began):
                    low -= 1
                break
        return range(low, begun)

    def may_come(self, datagram: Datagram, source: str, time: int, is_stamped: bool = True) -> bool:
        """Whether the filters let a stream yield this packet at `time`."""
        candidates = self.in_force(time)
        if any(self.changes[number].filter.allows(source) for number in candidates):
            return True
        if not candidates:
            return False
        number = candidates[0]
        while number > 0 and self.changes[number].pending == "deliver":
            # What had arrived before this swap is judged by the filter before.
            cut = self.changes[number].returned
            if cut is not None and datagram.begin > cut and is_stamped:
                return False
            number -= 1
            if self.changes[number].filter.allows(source):
                return True
        return False

    def touching(self, since: int, until: int) -> list[Change]:
        """Return the changes in force or called between two times, in order."""
        low = self.in_force(since)
        start = low[0] if low else 0
        return self.changes[start : bisect_right(self._began, until)]

    def loss_excused(self, begin: int, end: int) -> str:
        """Return the exception that lets a packet in flight between these times be lost, or ""."""
        for change in self.losing:
            if change.began <= end and (change.returned is None or change.returned >= begin):
                return change.lossy
        return ""
