"""Feeds: what the numbers in packets tell of loss, and packets recorded to files that other tools read."""

from .counting import SequenceCounter, SequenceStatistics
from .jitter import Jitter
from .recording import Recorded, record
from .sequence import Sequence

__all__ = ["Jitter", "Recorded", "Sequence", "SequenceCounter", "SequenceStatistics", "record"]
