"""Storing packets as a relay does, one call at a time."""

from __future__ import annotations

from collections.abc import Collection
from typing import final

from aiomcast import Flow, Packet
from aiomcast.relay.broker import Broker, Demand, Outcome
from aiomcast.relay.counters import FlowCounter
from aiomcast.relay.messages import Message
from aiomcast.relay.subjects import Subject

from .conftest import GROUP, PORT, SOURCE

__all__ = ["Storing"]


@final
class Storing:
    """The packets of one relay, stored when they are asked to be: `await storing.store(b"1", b"2")`."""

    def __init__(self, broker: Broker, template: str, name: str = "a") -> None:
        self._broker = broker
        self._subject = Subject(template)
        self._name = name
        self._flows: dict[Flow, FlowCounter] = {}
        self._count = 0

    async def begin(self) -> None:
        """Have a stream."""
        await self._broker.check(Demand(self._subject.matching(), 60.0, 1500))

    async def store(
        self, *payloads: bytes, source: str = SOURCE, group: str = GROUP, port: int = PORT
    ) -> None:
        """Store packets of one flow."""
        flow = Flow(source, 4000, group, port, 1)
        await self.store_packets(*[Packet(data, flow, 1_700_000_000_000_000_000) for data in payloads])

    async def store_packets(self, *packets: Packet, but: Collection[int] = ()) -> None:
        """Store packets. Those at the places `but` are said to be stored, and are not."""
        messages, settling = [], []
        for place, packet in enumerate(packets):
            flow = packet.flow
            counter = self._flows.get(flow)
            if counter is None:
                counter = FlowCounter(flow, self._subject.of(flow), "eth0", self._name, "run")
                self._flows[flow] = counter
            number, tags = counter.next(packet)
            self._count += 1
            if place not in but:
                identity = f"{self._name}-{self._count}"
                messages.append(Message(counter.subject, tags, packet.data, identity))
            settling.append((counter, number))
        for at in range(0, len(messages), 256):
            outcomes = await self._broker.store(messages[at : at + 256])
            assert set(outcomes) == {Outcome.STORED}
        for counter, number in settling:
            counter.settle(number, Outcome.STORED)
