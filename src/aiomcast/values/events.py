"""`EventKind`: what can happen to memberships and streams."""

from __future__ import annotations

import enum
from typing import final

__all__ = ["EventKind"]


@final
class EventKind(enum.Enum):
    """What happened.

    JOINED, LEFT: the whole membership, or (the event names one of its several interfaces) one that has
    come or gone. REFRESHED: each interface by itself. FAILED: a socket has reported an error, and
    iterations of its membership's own streams raise it unless another interface still receives; or one
    of several interfaces could not be joined, or is gone. DROPPED: the kernel has dropped datagrams at
    a socket, as its buffer was full or, on Linux, their checksum wrong. STALLED: a stream is full and
    nobody receives from it, while somebody else waits for packets that it holds up. TIGHT: the receive
    buffer that is asked for by default holds less than 50 ms of what comes; told once of a receiver.

    Of what becomes of an interface. DOUBTFUL: as things stand nothing can come there, though the system has
    not refused the join. LOST: nothing can come any more for now, as the carrier or the interface is gone.
    SILENT: nothing has come for longer than before, and the receiver was made to watch for that. HEALED:
    what was lost, or silent, has been mended. MOVED: the route leads by another interface, and the
    membership is there now. RENAMED: the interface has another name.
    """

    JOINED = "joined"
    SWAPPED = "swapped"
    REFRESHED = "refreshed"
    LEFT = "left"
    FAILED = "failed"
    DROPPED = "dropped"
    STALLED = "stalled"
    TIGHT = "tight"
    DOUBTFUL = "doubtful"
    LOST = "lost"
    SILENT = "silent"
    HEALED = "healed"
    MOVED = "moved"
    RENAMED = "renamed"
