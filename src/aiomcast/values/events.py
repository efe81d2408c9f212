"""What happens to memberships, as values that `Receiver.events()` yields."""

from __future__ import annotations

import enum
from typing import final

import attrs

from .filters import SourceFilter
from .sealed import sealed

__all__ = ["Event", "EventKind"]


class EventKind(enum.Enum):
    """What happened."""

    JOINED = "joined"
    SWAPPED = "swapped"
    REFRESHED = "refreshed"
    LEFT = "left"
    FAILED = "failed"


@final
@sealed
@attrs.frozen(slots=True)
class Event:
    """One thing that happened to the membership of (group, port, interface name).

    `filter` is the filter in force after it; `error` is set when `kind` is FAILED.
    """

    kind: EventKind
    group: str
    port: int
    interface: str
    filter: SourceFilter
    error: Exception | None = None
