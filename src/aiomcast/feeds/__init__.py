"""Feeds: what stands in the payload of packets, what its numbers tell, and several lines made one."""

from .counting import SequenceCounter, SequenceStatistics
from .items import Gap, Restart
from .jitter import Jitter
from .line import LineStatistics
from .merged import Merged, MergedBatches, merge
from .merging import MergeStatistics
from .sequence import Sequence
from .watched import Watched, gaps

__all__ = [
    "Gap",
    "Jitter",
    "LineStatistics",
    "MergeStatistics",
    "Merged",
    "MergedBatches",
    "Restart",
    "Sequence",
    "SequenceCounter",
    "SequenceStatistics",
    "Watched",
    "gaps",
    "merge",
]
