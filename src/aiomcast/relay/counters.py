"""What a relay keeps of each flow: the counter of its packets, and how far it is settled. Pure."""

from __future__ import annotations

from typing import final

import attrs

from ..values.packets import Flow, Packet
from ..values.sealed import sealed
from .broker import Outcome
from .messages import tags_of_flow, tags_of_packet

__all__ = ["FlowCounter", "RelayStatistics"]


@final
@sealed
@attrs.frozen(slots=True)
class RelayStatistics:
    """What a relay has done.

    `received` packets came from its streams. `stored` of them are in the server's stream by this relay,
    `merged` were there already, by another. `pending` wait for the server's answer. `retried` counts what
    was sent again, `refused` how often the server would not store for now. `too_long` packets had more
    payload than was agreed on, and were not sent. `dropped` were lost before the relay had them: by the
    kernel, or by the streams' overflow policy.

    received = stored + merged + pending + too_long, at every moment.
    """

    received: int = 0
    stored: int = 0
    merged: int = 0
    pending: int = 0
    retried: int = 0
    refused: int = 0
    too_long: int = 0
    dropped: int = 0


class FlowCounter:
    """The packets of one flow, counted: `next` gives each its tags, `settle` says what became of it."""

    __slots__ = ("_ahead", "_count", "_merged", "_settled", "_shared", "_text", "subject")

    def __init__(self, flow: Flow, subject: str, interface: str, relay: str, run: str) -> None:
        self.subject: str = subject
        self._shared = tags_of_flow(flow, interface, relay, run)
        self._count = self._settled = self._merged = 0
        self._ahead: dict[int, bool] = {}  # what is settled beyond what is settled without a hole
        self._text = "0/0"

    def next(self, packet: Packet) -> tuple[int, dict[str, str]]:
        """Return the counter and the tags of the next packet."""
        self._count += 1
        return self._count, tags_of_packet(packet, self._shared, self._count, self._text)

    def settle(self, counter: int, outcome: Outcome) -> None:
        """Note that this one is stored now."""
        ahead = self._ahead
        ahead[counter] = outcome is Outcome.MERGED
        while (merged := ahead.pop(self._settled + 1, None)) is not None:
            self._settled += 1
            self._merged += merged
        self._text = f"{self._settled}/{self._merged}"
