"""What a relay needs of the server in the middle: the seam between relays and the engines that store."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Protocol, TypeAlias, final

import attrs

from ..errors import ArgumentTypeError
from ..values.shown import shown
from .messages import Message

__all__ = ["Broker", "Demand", "Outcome", "Start", "StartAt", "Stored", "check_start"]


@final
class Outcome(StrEnum):
    """What became of a message: STORED, MERGED as it was there already, REFUSED for now."""

    STORED = "stored"
    MERGED = "merged"
    REFUSED = "refused"


@final
@attrs.frozen(slots=True)
class Demand:
    """What is asked of a server before the first packet.

    `pattern` matches all subjects, with `*` for a word. For `window` seconds an identity is remembered,
    at the least. No message has more than `largest` bytes of payload.
    """

    pattern: str
    window: float
    largest: int


@final
class Start(StrEnum):
    """From where on messages are wanted: LIVE, from the FIRST that is kept."""

    LIVE = "live"
    FIRST = "first"


StartAt: TypeAlias = Start | datetime


def check_start(start: StartAt) -> StartAt:
    """Return `start`. ArgumentTypeError for what is none, and for a time without a zone."""
    if isinstance(start, datetime) and start.tzinfo is None:
        raise ArgumentTypeError(f"start {shown(start)} has no zone", "give it one: datetime.now(UTC)")
    if not isinstance(start, (Start, datetime)):
        raise ArgumentTypeError(f"start {shown(start)}", "give Start.LIVE, Start.FIRST or a datetime")
    return start


@final
@attrs.frozen(slots=True)
class Stored:
    """A message as it was stored, and when, by the server's time in nanoseconds."""

    time_ns: int
    message: Message


class Broker(Protocol):
    """A server that stores messages, each identity once, and hands them out in order."""

    @property
    def refusal(self) -> str:
        """What it said when it last refused to store."""

    async def check(self, demand: Demand) -> None:
        """Connect, and look whether what is demanded is so. RelayError where it is not."""

    async def store(self, messages: Sequence[Message]) -> list[Outcome]:
        """Store these in order; return what became of each, once the server has said so.

        What was sent goes on in the order of the calls. UnreachableError where the server went
        before it had answered: it may have stored any of them, and storing them again is safe.
        """

    async def reachable(self) -> None:
        """Return when the server can be asked again. RelayError where that will never be."""

    async def returned(self) -> None:
        """Return when the server is back the next time it was away, if it may have lost what it acknowledged.

        Never, where what is acknowledged outlives the server's process.
        """

    def read(self, pattern: str, start: StartAt) -> AsyncGenerator[list[Stored], None]:
        """Yield what is stored under subjects that match, list by list, and what comes, without end.

        The first list comes as soon as it is settled from where on is read, and may be empty. What is not
        taken waits at the server. What is taken up again after it was away goes on behind the last that was
        yielded. RelayError where nothing can be read, and where nothing more can.
        """

    async def aclose(self) -> None:
        """End the connection. Doing so twice is fine."""
