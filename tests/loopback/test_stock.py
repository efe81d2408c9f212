"""A loop without `add_reader`, as the Windows proactor loop is: the stock transport serves it."""

import asyncio
import gc

import pytest

import aiomcast
from aiomcast.stock import StockReader

from .conftest import take

A, B = "127.0.0.2", "127.0.0.3"
PORT = 5000


class Unwatching(asyncio.SelectorEventLoop):
    """asyncio's loop without the calls that the proactor loop lacks."""

    def add_reader(self, fd: object, callback: object, *args: object) -> None:
        raise NotImplementedError

    def remove_reader(self, fd: object) -> bool:
        raise NotImplementedError


def run(main: object) -> None:
    with asyncio.Runner(loop_factory=Unwatching) as runner:
        runner.run(main)  # type: ignore[arg-type]  # a coroutine


def test_a_receiver_works_on_such_a_loop(any_group: str) -> None:
    async def main() -> None:
        async with (
            aiomcast.Receiver() as receiver,
            aiomcast.Sender(any_group, PORT, source=A, interface="lo") as a,
            aiomcast.Sender(any_group, PORT, source=B, interface="lo") as b,
        ):
            membership = await receiver.join(any_group, PORT, sources=[A], interface="lo")
            assert isinstance(membership.readers[0], StockReader)
            await b.send(b"stranger")
            await a.send(b"one")
            await a.send(b"two")
            packets = await take(aiter(receiver), 2)
            assert [packet.data for packet in packets] == [b"one", b"two"]
            assert packets[0].channel == aiomcast.Channel(A, any_group)
            await membership.swap(aiomcast.SourceFilter.exclude([A]))
            assert membership.kernel_filter() == membership.filter
            await a.send(b"refused")
            await b.send(b"three")
            assert [packet.data for packet in await take(aiter(receiver), 1)] == [b"three"]

    run(main())


@pytest.mark.parametrize(("pending", "expected"), [("deliver", [b"a", b"b"]), ("discard", [b"b"])])
def test_what_waits_is_spared_or_dropped_as_asked(
    any_group: str, pending: aiomcast.Pending, expected: list[bytes]
) -> None:
    async def main() -> None:
        async with (
            aiomcast.Receiver() as receiver,
            aiomcast.Sender(any_group, PORT, source=A, interface="lo") as a,
            aiomcast.Sender(any_group, PORT, source=B, interface="lo") as b,
        ):
            membership = await receiver.join(any_group, PORT, sources=[A, B], interface="lo")
            reader = membership.readers[0]
            await a.send(b"a")
            async with asyncio.timeout(10):
                while not len(reader._kept):  # nobody listens yet: it waits in the reader
                    await asyncio.sleep(0)
            await membership.swap([B], pending)
            await b.send(b"b")
            packets = await take(aiter(receiver), len(expected))
            assert [packet.data for packet in packets] == expected

    run(main())


def test_an_endpoint_is_refused_with_what_to_do_instead(any_group: str) -> None:
    async def main() -> None:
        with pytest.raises(aiomcast.UnsupportedError, match="create_datagram_endpoint"):
            await aiomcast.create_multicast_endpoint(
                aiomcast.MulticastProtocol, any_group, PORT, interface="lo"
            )

    run(main())
    gc.collect()
