"""What can happen to a line of a merge, as the machine tells it. Pure."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple, final

__all__ = ["LineEventKind", "Notice"]


@final
class LineEventKind(Enum):
    """What happened to a line of a merge.

    SILENT: it has brought nothing for a second in which others did. BACK: it does again. APART: its numbers
    are far from those of the others, and it is left out. TOGETHER: they are not any more. FAILED: its stream
    has raised an error, and others go on; where there is none, iterating raises it. ENDED: its stream was
    closed, and nothing more comes of it.
    """

    SILENT = "silent"
    BACK = "back"
    APART = "apart"
    TOGETHER = "together"
    FAILED = "failed"
    ENDED = "ended"


class Notice(NamedTuple):
    """It is so of the line of this index `since` then; of what is over, it was so for `seconds`."""

    kind: LineEventKind
    line: int
    since: float
    seconds: float | None = None
