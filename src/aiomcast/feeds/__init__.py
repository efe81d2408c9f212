"""Feeds: what stands in the payload of packets, and what its numbers tell of loss."""

from .counting import SequenceCounter, SequenceStatistics
from .jitter import Jitter
from .sequence import Sequence

__all__ = ["Jitter", "Sequence", "SequenceCounter", "SequenceStatistics"]
