"""`Subscription`: the other end of relays, as the same iterator of packets."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from typing import Self, final

from ..values.addresses import Address
from ..values.closing import Closing
from ..values.packets import Packet
from ..values.sealed import sealed
from .broker import Broker, Start, StartAt, Stored, check_start
from .messages import packet_of
from .once import Missing, Once, SubscriptionStatistics
from .subjects import DEFAULT_SUBJECT, Subject

__all__ = ["Subscription"]


@final
@sealed
class Subscription(Closing):
    """The packets that relays have stored: `async for packet in Subscription(JetStream(url), group=...)`.

    `group`, `port` and `source` say which; what is not said is any. `start` is Start.LIVE, Start.FIRST, or
    a datetime with a zone: from the server's time on. `subject` is the template of the relays.

    Packets come as `Packet`, in the order in which they were stored, each once: what two relays could not
    know to be the same, as their clocks differ, is known here by the server's time. Their
    `interface_index` is 0. It never ends by itself; while the server is away it waits, and goes on behind
    the last that came. `missing()` yields a `Missing` between packets too, where a relay had received
    some that were never stored, or are not kept any more.

    One task at a time. An async context manager, which ends it.
    """

    def __init__(
        self,
        broker: Broker,
        *,
        group: Address | None = None,
        port: int | None = None,
        source: Address | None = None,
        start: StartAt = Start.LIVE,
        subject: str = DEFAULT_SUBJECT,
    ) -> None:
        self._pattern = Subject(subject).matching(group, port, source)
        self._broker = broker
        self._read = broker.read(self._pattern, check_start(start))
        self._once = Once()
        self._items: deque[Packet | Missing] = deque()
        self._is_closed = False

    def __repr__(self) -> str:
        return f"<Subscription {self._pattern} of {self._broker!r}>"

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Packet:
        while True:
            item = await self._next()
            if isinstance(item, Packet):
                return item

    async def missing(self) -> AsyncIterator[Packet | Missing]:
        """Yield packets, and a `Missing` where some are."""
        while True:
            try:
                item = await self._next()
            except StopAsyncIteration:
                return
            yield item

    def statistics(self) -> SubscriptionStatistics:
        """Return what has come so far."""
        return self._once.statistics()

    async def aclose(self) -> None:
        """End it; the connection stays. Doing so twice is fine."""
        self._is_closed = True
        await self._read.aclose()

    async def _next(self) -> Packet | Missing:
        while not self._items:
            if self._is_closed:
                raise StopAsyncIteration
            for stored in await anext(self._read):
                self._take(stored)
        return self._items.popleft()

    def _take(self, stored: Stored) -> None:
        packet = packet_of(stored.message.tags, stored.message.data)
        is_new, missing = self._once.take(stored, is_packet=packet is not None)
        if missing is not None:
            self._items.append(missing)
        if is_new and packet is not None:
            self._items.append(packet)
