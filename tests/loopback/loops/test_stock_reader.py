"""`StockReader` and `StockLoop` by themselves: what is handed over, and when no more is."""

import asyncio
import itertools
import socket

import aiomcast
from aiomcast import SourceFilter
from aiomcast.loops.stock_loop import StockLoop
from aiomcast.loops.stock_reader import StockReader
from aiomcast.values.packets import Packet
from tests.support.sending import A, Sources
from tests.support.waiting import turns, until

from .unwatching import PORT, run, sources

__all__ = ["sources"]


def test_nothing_is_handed_over_after_discard(any_group: str, sources: Sources) -> None:
    async def main() -> None:
        with aiomcast.open_socket(any_group, PORT, "lo") as sock:
            sock.set_filter(SourceFilter.include([A]))
            loop = StockLoop(asyncio.get_running_loop())
            reader = StockReader(sock, sock.filter)
            place = loop.reserve(reader)
            batches: list[list[Packet]] = []
            reader.sink = batches.append
            for end in (place.discard, loop.pause, loop.close):
                sources.send(A, b"kept", b"kept")
                await until(lambda: len(reader._kept) == 2)
                place.add()
                end()
                await turns()
                assert batches == []
                sources.send(A, b"in the socket")
                reader.set_filter(sock.filter, 1)
                await turns()
                assert batches == []
                assert len(reader.read(10)[0]) == 3
                loop.resume()
                place.discard()
            reader.close()
            await turns()

    run(main())


def test_a_sink_that_pauses_gets_no_more(any_group: str, sources: Sources) -> None:
    async def main() -> None:
        with aiomcast.open_socket(any_group, PORT, "lo") as sock:
            sock.set_filter(SourceFilter.include([A]))
            loop = StockLoop(asyncio.get_running_loop())
            reader = StockReader(sock, sock.filter)
            place = loop.reserve(reader)
            batches: list[list[Packet]] = []

            def sink(batch: list[Packet]) -> None:
                batches.append(batch)
                loop.pause()

            reader.sink = sink
            sources.send(A, *(b"%d" % number for number in range(150)))
            await until(lambda: len(reader._kept) == 150)
            place.add()
            for count in itertools.count(1):
                await turns()
                assert len(batches) == count
                if sum(map(len, batches)) == 150:
                    break
                loop.resume()
            assert [packet.data for batch in batches for packet in batch] == sources.sent
            reader.close()
            await turns()

    run(main())


def test_drops_are_told_once_each(any_group: str, sources: Sources) -> None:
    """Those that the system counts when asked, and those for which there was no room when handing on."""

    async def main() -> None:
        with aiomcast.open_socket(any_group, PORT, "lo") as sock:
            sock.set_filter(SourceFilter.include([A]))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            loop = StockLoop(asyncio.get_running_loop())
            reader = StockReader(sock, sock.filter)
            told: list[int] = []
            batches: list[list[Packet]] = []
            reader.sink, reader.lost = batches.append, told.append
            place = loop.reserve(reader)
            sources.send(A, *[bytes(1000)] * 100)
            for _ in range(2):
                reader.count_drops()
                assert told == [reader.kernel_drops]
            await until(lambda: len(reader._kept) == 100 - told[0])
            for _ in range(5000):
                reader.datagram_received(b"x", (A, 1))
            place.add()
            await until(lambda: len(told) == 2)
            assert sum(map(len, batches)) >= 512
            assert sum(told) == reader.kernel_drops == reader.told_drops
            await turns(20)
            assert len(told) == 2
            assert reader.received + reader.kernel_drops == 5100
            reader.close()
            await turns()

    run(main())
