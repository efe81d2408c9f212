"""What a feed is read from: a stream of packets, or what has one to give."""

from __future__ import annotations

from typing import Protocol

from ..errors import ArgumentTypeError
from ..streams.packet_stream import PacketStream
from ..values.shown import shown

__all__ = ["Packets", "check_source", "stream_of"]


class Packets(Protocol):
    """What has a stream of packets to give: a `Membership` or a `Receiver`."""

    def packets(self) -> PacketStream:
        """Return a new stream."""


def check_source(given: Packets | PacketStream) -> None:
    """Raise an ArgumentTypeError for what can give no stream."""
    if not isinstance(given, PacketStream) and not callable(getattr(given, "packets", None)):
        raise ArgumentTypeError(f"{shown(given)} has no packets", "give a Membership or a PacketStream")


def stream_of(given: Packets | PacketStream) -> PacketStream:
    """Return the stream that was given, or a new one of what was given."""
    check_source(given)
    return given if isinstance(given, PacketStream) else given.packets()
