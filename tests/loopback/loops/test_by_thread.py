"""Receivers and endpoints on a loop without `add_reader`, as the Windows proactor loop is: a thread waits."""

import gc

import pytest

import aiomcast
from aiomcast import Overflow, Receiver, SourceFilter
from tests.support.accounts import accounted
from tests.support.inside import is_settled
from tests.support.packets import rest, take
from tests.support.platforms import needs_drops
from tests.support.sending import A, B, C, Sources
from tests.support.waiting import turns, until

from .unwatching import ENDS, PORT, run, sources

__all__ = ["sources"]


def test_a_receiver_works_on_such_a_loop(any_group: str) -> None:
    async def main() -> None:
        async with (
            aiomcast.Receiver() as receiver,
            aiomcast.Sender(any_group, PORT, source=A, interface="lo") as a,
            aiomcast.Sender(any_group, PORT, source=B, interface="lo") as b,
        ):
            membership = await receiver.join(any_group, PORT, sources=[A], interface="lo")
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
            await a.send(b"a")  # nobody listens yet: it waits in the kernel
            await membership.swap([B], pending)
            await b.send(b"b")
            packets = await take(aiter(receiver), len(expected))
            assert [packet.data for packet in packets] == expected

    run(main())


def test_an_endpoint_works_on_such_a_loop(any_group: str, sources: Sources) -> None:
    async def main() -> None:
        got: list[bytes] = []

        class Echo(aiomcast.MulticastProtocol):
            def datagram_received(self, data: bytes, addr: tuple[str | object, int]) -> None:
                got.append(data)

        transport, _ = await aiomcast.create_multicast_endpoint(
            Echo, any_group, PORT, sources=None, interface="lo", loop=True
        )
        sources.send(A, b"one")
        await until(lambda: got == [b"one"])
        transport.sendto(b"two")
        await until(lambda: got == [b"one", b"two"])
        transport.pause_reading()
        sources.send(A, b"three")
        await turns(20)
        assert len(got) == 2
        transport.resume_reading()
        await until(lambda: len(got) == 3)
        transport.close()
        await turns()

    run(main())
    gc.collect()


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("waited", [0, 1, 2, 30], ids="{} turns".format)
@pytest.mark.parametrize("count", [1, 30, 200])
@pytest.mark.parametrize("listens", [True, False], ids=["listened to", "nobody listens"])
def test_what_the_system_holds_at_the_end_comes_or_is_counted(
    any_group: str, sources: Sources, end: str, waited: int, count: int, listens: bool
) -> None:
    async def main() -> None:
        async with Receiver() as receiver:
            membership = await receiver.join(any_group, PORT, sources=[A], interface="lo")
            stream = receiver.packets() if listens else None
            sources.send(A, *(b"%d" % number for number in range(count)))
            await turns(waited)
            await ENDS[end](receiver, membership)
            for statistics in (membership.statistics(), receiver.statistics()):
                assert statistics.received == count
                assert statistics.octets == sum(map(len, sources.sent))
                assert statistics.queue_drops == (0 if listens else count)
                assert statistics.kernel_drops == 0
            await receiver.aclose()
            if stream is not None:
                assert receiver.statistics().queued == count
                assert await rest(stream) == sources.sent
                accounted(receiver.statistics(), count)

    run(main())


@pytest.mark.parametrize("listens", [True, False], ids=["listened to", "nobody listens"])
@pytest.mark.parametrize("pending", ["deliver", "discard"])
@pytest.mark.parametrize("waited", [0, 3, 30], ids="{} turns".format)
def test_a_swap_judges_what_the_system_holds(
    any_group: str, sources: Sources, pending: aiomcast.Pending, waited: int, listens: bool
) -> None:
    """Of what had arrived, some is read already and some is still in the socket: there is no difference."""

    async def main() -> None:
        async with Receiver() as receiver:
            membership = await receiver.join(any_group, PORT, sources=[A, C], interface="lo")
            stream = receiver.packets() if listens else None
            for number in range(10):
                sources.send(A, b"a%d" % number)
                sources.send(C, b"c%d" % number)
            sources.send(B, b"refused")
            await turns(waited)
            await membership.swap([B, C], pending)
            sources.send(A, b"too late")
            sources.send(C, b"c10")
            sources.send(B, b"b")
            stream = stream or receiver.packets()
            expected = [*sources.sent[:20], b"c10", b"b"]
            if pending == "discard":
                expected = [data for data in expected if not data.startswith(b"a")]
            packets = await take(stream, len(expected))
            assert [packet.data for packet in packets] == expected
            await turns(20)
            statistics = receiver.statistics()
            accounted(statistics, len(expected))
            assert statistics.received == 22
            assert statistics.filtered == (10 if pending == "discard" else 0)

    run(main())


@pytest.mark.parametrize("pending", ["deliver", "discard"])
def test_a_change_of_mode_judges_what_the_system_holds(
    any_group: str, sources: Sources, pending: aiomcast.Pending
) -> None:
    async def main() -> None:
        async with Receiver() as receiver:
            membership = await receiver.join(any_group, PORT, sources=[A, B], interface="lo")
            sources.send(A, b"a1")
            sources.send(B, b"b1")
            await membership.swap(SourceFilter.exclude([A]), pending)
            sources.send(A, b"refused")
            sources.send(B, b"b2")
            sources.send(C, b"c2")
            await membership.swap([C], pending)
            sources.send(B, b"refused")
            sources.send(C, b"c3")
            expected = [b"a1", b"b1", b"b2", b"c2", b"c3"] if pending == "deliver" else [b"c2", b"c3"]
            packets = await take(aiter(receiver), len(expected))
            assert [packet.data for packet in packets] == expected
            await turns(20)
            accounted(receiver.statistics(), len(expected))

    run(main())


@pytest.mark.parametrize("pending", ["deliver", "discard"])
def test_swaps_of_a_list_that_is_spread_over_sockets(
    any_group: str, sources: Sources, pending: aiomcast.Pending
) -> None:
    many = [f"127.0.1.{number}" for number in range(1, 26)]

    async def main() -> None:
        async with Receiver() as receiver:
            membership = await receiver.join(any_group, PORT, sources=many, interface="lo")
            stream = receiver.packets()
            for source in many:
                sources.send(source, b"before " + source.encode())
            await membership.swap(many[20:], pending)
            for source in many[20:]:
                sources.send(source, b"after " + source.encode())
            kept = many if pending == "deliver" else many[20:]
            expected = {b"before " + source.encode() for source in kept}
            expected |= {b"after " + source.encode() for source in many[20:]}
            packets = await take(stream, len(expected))
            assert {packet.data for packet in packets} == expected
            # The sockets that hold nothing any more close.
            await until(lambda: is_settled(membership))
            accounted(receiver.statistics(), len(expected))
            assert receiver.statistics().received == 30

    run(main())


def test_a_full_stream_stops_it_soon(any_group: str, sources: Sources) -> None:
    """What it does not read stays in the kernel, which tells what it drops."""

    async def main() -> None:
        async with Receiver(capacity=10, receive_buffer=1 << 20) as receiver:
            membership = await receiver.join(any_group, PORT, sources=[A], interface="lo")
            stream = receiver.packets()
            sources.send(A, *(b"%d" % number for number in range(20)))
            await until(lambda: len(stream) == 20)
            sources.send(A, *(b"%d" % number for number in range(20, 200)))
            await turns(50)
            assert membership.statistics().received == len(stream) == 20
            assert [packet.data for packet in await take(stream, 200)] == sources.sent
            accounted(receiver.statistics(), 200)

    run(main())


@pytest.mark.parametrize("overflow", Overflow)
def test_every_datagram_is_in_one_place_at_any_moment(
    any_group: str, sources: Sources, overflow: Overflow
) -> None:
    filters: list[aiomcast.Sources] = [[A], [A, B], SourceFilter.exclude([A]), [B], SourceFilter.any(), ()]

    async def main() -> None:
        async with Receiver(capacity=16, overflow=overflow) as receiver:
            membership = await receiver.join(any_group, PORT, sources=[A, B], interface="lo")
            stream = receiver.packets()
            taken = 0
            for step in range(300):
                sources.send((A, B)[step % 2], *[b"%d" % step] * (step % 7))
                await turns(step % 5)
                accounted(receiver.statistics(), taken)
                if step % 3 == 0:
                    wanted = filters[step // 3 % len(filters)]
                    await membership.swap(wanted, "deliver" if step % 2 else "discard")
                    accounted(receiver.statistics(), taken)
                for _ in range(min(len(stream), step % 9)):
                    await anext(stream)
                    taken += 1
                    accounted(receiver.statistics(), taken)
            await membership.leave()
            accounted(receiver.statistics(), taken)
            await stream.aclose()
            taken += len(await rest(stream))
            accounted(receiver.statistics(), taken)
            assert receiver.statistics().kernel_drops == 0
            assert receiver.statistics().received > taken > 0

    run(main())


def test_empty_datagrams(any_group: str, sources: Sources) -> None:
    """By the thread, and out of the socket at the end."""

    async def main() -> None:
        async with Receiver() as receiver:
            membership = await receiver.join(any_group, PORT, sources=[A], interface="lo")
            sources.send(A, b"", b"1")
            stream = receiver.packets()
            sources.send(A, b"")
            assert [packet.data for packet in await take(stream, 3)] == [b"", b"1", b""]
            sources.send(A, b"", b"", b"2")
            await membership.leave()
            await receiver.aclose()
            assert await rest(stream) == [b"", b"", b"2"]
            assert (receiver.statistics().received, receiver.statistics().octets) == (6, 2)

    run(main())


@needs_drops
def test_what_the_kernel_drops_is_counted_where_it_tells(any_group: str, sources: Sources) -> None:
    async def main() -> None:
        async with Receiver(receive_buffer=4096) as receiver:
            membership = await receiver.join(any_group, PORT, sources=[A], interface="lo")
            stream = receiver.packets()
            sources.send(A, *[bytes(1000)] * 100)
            drops = receiver.statistics().kernel_drops
            assert 0 < drops < 100
            await take(stream, 100 - drops)
            await membership.leave()
            assert receiver.statistics().kernel_drops == drops
            assert receiver.statistics().received == 100 - drops

    run(main())
