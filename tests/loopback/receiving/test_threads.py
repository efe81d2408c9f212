"""Receivers in several threads of a process, each with an event loop of its own."""

from __future__ import annotations

import asyncio
import threading
from contextlib import ExitStack
from types import ModuleType

import aiomcast
from aiomcast import SourceFilter, open_socket
from tests.support.packets import payloads
from tests.support.readers import PORT, reading
from tests.support.sending import A, sending

__all__ = ["reading"]


class SlowSources(frozenset[str]):
    """A list of sources that is looked up for so long that another thread reads meanwhile."""

    looked_up: threading.Event
    other_has_read: threading.Event

    def __contains__(self, source: object) -> bool:
        self.looked_up.set()
        assert self.other_has_read.wait(10)
        return super().__contains__(source)


def test_a_read_of_another_thread_in_the_middle_of_one(reading: ModuleType, any_group: str) -> None:
    with ExitStack() as stack:
        socks = [stack.enter_context(open_socket(any_group, PORT + n, "lo")) for n in range(2)]
        readers = []
        for number, sock in enumerate(socks):
            sock.set_filter(SourceFilter.any())
            readers.append(reading.Reader(sock, SourceFilter.any()))
            sender = stack.enter_context(sending(A, any_group, PORT + number))
            sender.send(b"first")
            assert payloads(readers[-1].read(1)[0]) == [b"first"]  # stamped: the next read takes all at once
            for one in range(30):
                sender.send(b"%d of %d" % (one, number))
        slow = SourceFilter.include([A])
        sources = SlowSources([A])
        sources.looked_up, sources.other_has_read = threading.Event(), threading.Event()
        object.__setattr__(slow, "sources", sources)
        readers[0].set_filter(slow)
        got: list[list[aiomcast.Packet]] = []
        thread = threading.Thread(target=lambda: got.append(readers[0].read(64)[0]))
        thread.start()
        assert sources.looked_up.wait(10)
        others = readers[1].read(64)[0]
        sources.other_has_read.set()
        thread.join(10)
        assert payloads(others) == [b"%d of 1" % one for one in range(30)]
        assert payloads(got[0]) == [b"%d of 0" % one for one in range(30)]


async def test_a_read_out_of_the_middle_of_one_in_the_same_thread(
    reading: ModuleType, any_group: str
) -> None:
    """As a signal handler might."""
    with ExitStack() as stack:
        sock = stack.enter_context(open_socket(any_group, PORT, "lo"))
        other = stack.enter_context(open_socket(any_group, PORT + 1, "lo"))
        for one in (sock, other):
            one.set_filter(SourceFilter.any())
        reader, inner = reading.Reader(sock, SourceFilter.any()), reading.Reader(other, SourceFilter.any())
        senders = [stack.enter_context(sending(A, any_group, PORT + n)) for n in range(2)]
        for sender, each in zip(senders, (reader, inner), strict=True):
            sender.send(b"first")
            each.read(1)[0]
        for number in range(10):
            senders[0].send(b"outer %d" % number)
            senders[1].send(b"inner %d" % number)
        read: list[aiomcast.Packet] = []

        class Sources(frozenset[str]):
            def __contains__(self, source: object) -> bool:
                read.extend(inner.read(64)[0])
                return super().__contains__(source)

        wanted = SourceFilter.include([A])
        object.__setattr__(wanted, "sources", Sources([A]))
        reader.set_filter(wanted)
        assert payloads(reader.read(64)[0]) == [b"outer %d" % number for number in range(10)]
        assert payloads(read) == [b"inner %d" % number for number in range(10)]


THREADS, SENDERS, ROUNDS = 4, 200, 8


def receive(number: int, group: str, errors: list[str], go: threading.Barrier) -> None:
    """Receive in a loop of this thread what many senders send, while the filter changes."""

    async def main() -> None:
        async with aiomcast.Receiver(receive_buffer=8 << 20, capacity=100_000) as receiver:
            one = await receiver.join(group, PORT + number, sources=[A], interface="lo")
            stream = receiver.packets()
            with ExitStack() as stack:
                senders = [stack.enter_context(sending(A, group, PORT + number)) for _ in range(SENDERS)]
                ports = {sender.getsockname()[1] for sender in senders}
                go.wait(10)
                for turn in range(ROUNDS):
                    for sender in senders:
                        sender.send(b"%d %d %d" % (number, turn, sender.getsockname()[1]))
                    wanted = SourceFilter.exclude(["127.0.0.9"]) if turn % 2 else SourceFilter.include([A])
                    await one.swap(wanted, pending="deliver")
                    await asyncio.sleep(0)
                async with asyncio.timeout(20):
                    for _ in range(SENDERS * ROUNDS):
                        packet = await anext(stream)
                        sent = b"%d %b %d" % (number, packet.data.split()[1], packet.source_port)
                        if packet.data != sent or packet.port != PORT + number:
                            errors.append(f"{packet} in {number}")
                        if packet.source_port not in ports:
                            errors.append(f"{packet.source_port} sent nothing to {number}")

    try:
        asyncio.run(main())
    except BaseException as error:
        errors.append(repr(error))


def test_every_thread_gets_its_own(any_group: str) -> None:
    errors: list[str] = []
    go = threading.Barrier(THREADS)
    threads = [threading.Thread(target=receive, args=(n, any_group, errors, go)) for n in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(50)
    assert errors == []
