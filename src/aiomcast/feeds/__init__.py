"""Feeds: what the numbers in packets tell, several lines made one, and packets recorded to files."""

from .capture import Capture
from .captured import Captured, CaptureStatistics
from .counting import SequenceCounter, SequenceStatistics
from .items import Gap, Restart
from .jitter import Jitter
from .line import LineStatistics, MergeStatistics
from .line_events import LineEvent, LineEventStream
from .merged import Merged, MergedBatches, merge
from .notices import LineEventKind
from .numbering import implementation
from .recording import Recorded, record
from .replaying import Replay
from .sequence import Sequence
from .watched import Watched, WatchedBatches, gaps

__all__ = [
    "Capture",
    "CaptureStatistics",
    "Captured",
    "Gap",
    "Jitter",
    "LineEvent",
    "LineEventKind",
    "LineEventStream",
    "LineStatistics",
    "MergeStatistics",
    "Merged",
    "MergedBatches",
    "Recorded",
    "Replay",
    "Restart",
    "Sequence",
    "SequenceCounter",
    "SequenceStatistics",
    "Watched",
    "WatchedBatches",
    "gaps",
    "implementation",
    "merge",
    "record",
]
