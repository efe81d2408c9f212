"""`MulticastProtocol` on the loop's own transport, where EXCLUDE lists do not block in the kernel."""

import asyncio

from aiomcast import Packet, SourceFilter, open_socket
from aiomcast.endpoint.peers import SocketAddress
from aiomcast.endpoint.protocol import MulticastProtocol
from tests.support.bsd_loopback import BsdLoopback, bsd_loopback

from ..conftest import Senders

__all__ = ["bsd_loopback"]


class Datagrams(MulticastProtocol):
    """Takes datagrams, until the one that says it is the last."""

    def __init__(self) -> None:
        self.got: list[tuple[str, bytes]] = []
        self.last = asyncio.Event()

    def datagram_received(self, data: bytes, addr: SocketAddress) -> None:
        self.take(str(addr[0]), data)

    def take(self, source: str, data: bytes) -> None:
        if data == b"last":
            self.last.set()
        else:
            self.got.append((source, data))


class Packets(Datagrams):
    """Takes packets."""

    datagram_received = MulticastProtocol.datagram_received

    def packets_received(self, packets: list[Packet]) -> None:
        for packet in packets:
            self.take(packet.source, packet.data)


async def come(kind: type[Datagrams], group: str, senders: Senders, *filters: SourceFilter) -> Datagrams:
    """Return what got three datagrams of three sources under each of the filters."""
    transport, protocol = await asyncio.get_running_loop().create_datagram_endpoint(
        kind, sock=open_socket(group, senders.port, "lo")
    )
    for number, wanted in enumerate(filters):
        protocol.set_filter(wanted)
        for source in ("127.0.0.2", "127.0.0.3", "127.0.0.4"):
            await senders.send(source, group, b"%d" % number)
        protocol.last.clear()
        await senders.send("127.0.0.9", group, b"last")
        async with asyncio.timeout(10):
            await protocol.last.wait()
    transport.close()
    await asyncio.sleep(0)
    return protocol


async def test_blocked_sources_do_not_come(
    any_group: str, senders: Senders, bsd_loopback: BsdLoopback
) -> None:
    filters = (
        SourceFilter.exclude(["127.0.0.2"]),
        SourceFilter.include(["127.0.0.3", "127.0.0.9"]),
        SourceFilter.exclude(["127.0.0.3", "127.0.0.4"]),
        SourceFilter.any(),
    )
    for kind in (Datagrams, Packets):
        got = (await come(kind, any_group, senders, *filters)).got
        assert got == [
            ("127.0.0.3", b"0"),
            ("127.0.0.4", b"0"),
            ("127.0.0.3", b"1"),
            ("127.0.0.2", b"2"),
            ("127.0.0.2", b"3"),
            ("127.0.0.3", b"3"),
            ("127.0.0.4", b"3"),
        ]
        bsd_loopback.deaf.clear()  # the second joins at once; see docs/reference/platforms.md


async def test_nothing_is_judged_twice_where_lists_block(any_group: str, senders: Senders) -> None:
    protocol = await come(Datagrams, any_group, senders, SourceFilter.exclude(["127.0.0.2"]))
    assert protocol.got == [("127.0.0.3", b"0"), ("127.0.0.4", b"0")]
    assert "datagram_received" not in vars(protocol)
