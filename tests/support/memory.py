"""Readers of a network in memory, and what they have handed on."""

from __future__ import annotations

from aiomcast.reading.contract import Network, Place, Reader, Reading, Socket
from aiomcast.values.filters import Sources
from aiomcast.values.interface import InterfaceLike
from aiomcast.values.options import Options
from aiomcast.values.packets import Packet

__all__ = ["GROUP", "PORT", "A", "B", "C", "Heard", "joined", "opened", "placed"]

A, B, C = "192.0.2.10", "192.0.2.11", "192.0.2.12"
GROUP, PORT = "239.1.1.1", 5000


class Heard:
    """What a reader has told: packets, errors, losses."""

    def __init__(self, reader: Reader) -> None:
        self.packets: list[Packet] = []
        self.batches: list[int] = []
        self.errors: list[OSError] = []
        self.losses: list[int] = []
        reader.sink, reader.failed, reader.lost = self._take, self.errors.append, self.losses.append

    def _take(self, batch: list[Packet]) -> None:
        self.batches.append(len(batch))
        self.packets += batch

    @property
    def data(self) -> list[bytes]:
        """The payloads, in order."""
        return [packet.data for packet in self.packets]


def opened(
    reading: Reading,
    network: Network,
    *,
    sources: Sources = None,
    group: str = GROUP,
    port: int = PORT,
    interface: InterfaceLike = None,
    options: Options | None = None,
) -> Reader:
    """Return a reader of a socket that has not joined."""
    wanted, (found,) = network.place(group, sources, interface)
    into: list[Reader] = []
    reading.open(group, port, found, wanted, options or Options(), into)
    (reader,) = into
    return reader


def joined(
    reading: Reading,
    network: Network,
    *,
    sources: Sources = None,
    group: str = GROUP,
    port: int = PORT,
    interface: InterfaceLike = None,
    options: Options | None = None,
) -> tuple[Reader, Heard]:
    """Return a reader that has joined and is read, and what it tells."""
    reader = opened(
        reading, network, sources=sources, group=group, port=port, interface=interface, options=options
    )
    heard = Heard(reader)
    sock: Socket = reader.sock
    sock.set_filter(reader.gate.current)
    placed(reader).add()
    return reader, heard


def placed(reader: Reader) -> Place:
    """Return the place of a reader, which it has."""
    assert reader.place is not None
    return reader.place
