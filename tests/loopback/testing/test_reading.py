"""Reading in memory: turns, pauses, places, errors, threads."""

import asyncio
import errno
import gc
import threading
import weakref
from collections.abc import Callable

import pytest

from aiomcast import Flow, Packet, SourceFilter, StateError
from aiomcast.memory.reader import MemoryReader
from aiomcast.memory.sockets import MemorySocket
from aiomcast.reading.contract import Reader, Reading
from aiomcast.testing import MemoryNetwork
from aiomcast.values.options import Options
from tests.support.memory import GROUP, PORT, A, B, C, joined, opened, placed
from tests.support.waiting import turns


@pytest.fixture
def net() -> MemoryNetwork:
    return MemoryNetwork()


def numbered(count: int, first: int = 0) -> list[bytes]:
    return [str(number).encode() for number in range(first, first + count)]


async def test_a_packet_has_all_its_tags(net: MemoryNetwork) -> None:
    reader, heard = joined(net.open(), net, sources={A})
    before = net.time_ns()
    net.send(A, GROUP, PORT, b"one", source_port=7000, hop_limit=3, traffic_class=0x20)
    net.send(A, GROUP, PORT, b"two", source_port=7000)
    await net.settle()
    one, two = heard.packets
    assert (one.source, one.source_port, one.group, one.port) == (A, 7000, GROUP, PORT)
    assert one.interface_index == net.find("eth0").index
    assert one.flow is two.flow
    assert one.timestamp_ns is not None
    assert two.timestamp_ns is not None
    assert before < one.timestamp_ns < two.timestamp_ns == net.time_ns() == reader.latest_ns
    assert (one.truncated, one.hop_limit, one.traffic_class) == (False, None, None)
    assert (reader.received, reader.octets, reader.filtered) == (2, 6, 0)


async def test_extra_tags_come_where_they_were_asked_for(net: MemoryNetwork) -> None:
    options = Options(ancillary={"hop_limit", "traffic_class"})
    _, heard = joined(net.open(), net, options=options)
    net.send(A, GROUP, PORT, b"one", hop_limit=3, traffic_class=0x20)
    await net.settle()
    assert (heard.packets[0].hop_limit, heard.packets[0].traffic_class) == (3, 0x20)


async def test_senders_are_remembered_up_to_a_bound(net: MemoryNetwork) -> None:
    _, heard = joined(net.open(), net, options=Options(receive_buffer=1 << 20))
    for source_port in range(1, 1026):
        net.send(A, GROUP, PORT, b"", source_port=source_port)
    net.send(A, GROUP, PORT, b"", source_port=1)
    await net.settle()
    assert heard.packets[-1].flow == heard.packets[0].flow
    assert heard.packets[-1].flow is not heard.packets[0].flow


async def test_the_gate_judges_what_was_in_the_buffer(net: MemoryNetwork) -> None:
    reader, heard = joined(net.open(), net, sources={A, B})
    net.send(A, GROUP, PORT, b"old")
    net.send(B, GROUP, PORT, b"stays")
    reader.sock.set_filter({B})
    reader.set_filter(SourceFilter.include({B}))
    await net.settle()
    assert (heard.data, reader.filtered) == ([b"stays"], 1)


async def test_what_a_swap_spares_still_comes(net: MemoryNetwork) -> None:
    reader, heard = joined(net.open(), net, sources={A, B})
    net.send(A, GROUP, PORT, b"old")
    reader.sock.set_filter({B})
    reader.set_filter(SourceFilter.include({B}), net.time_ns())
    assert reader.gate.timed
    await net.settle()
    assert (heard.data, reader.gate.timed) == ([b"old"], False)


async def test_a_look_ends_what_is_spared_where_nothing_waits(net: MemoryNetwork) -> None:
    reader, _ = joined(net.open(), net, sources={A})
    reader.set_filter(SourceFilter.include({B}), net.time_ns())
    reader.look()
    assert not reader.gate.timed


async def test_a_handover_delivers_each_packet_once_though_the_clock_stands_still(
    net: MemoryNetwork,
) -> None:
    """Old and new socket see one stamp, and the cut lies between what was sent before and after it."""
    reading = net.open()
    old, from_old = joined(reading, net, sources={A, B})
    net.send(A, GROUP, PORT, b"before")
    begun = reading.time_ns()
    new, from_new = joined(reading, net, sources=SourceFilter.exclude({B}))
    cut = reading.time_ns()
    old.deliver_until(cut)
    new.deliver_since(begun, cut, old.gate.passing)
    net.send(A, GROUP, PORT, b"after")
    net.send(C, GROUP, PORT, b"new")
    await net.settle()
    assert (from_old.data, from_new.data) == ([b"before"], [b"after", b"new"])
    assert old.gate.until_has_passed


async def test_about_512_datagrams_are_read_in_a_turn(net: MemoryNetwork) -> None:
    reading = net.open()
    _, one = joined(reading, net)
    _, two = joined(reading, net)
    net.send_many(A, GROUP, PORT, numbered(600))
    assert one.data == []
    await turns(1)
    assert (len(one.data), len(two.data)) == (256, 256)
    await net.settle()
    assert one.data == two.data == numbered(600)
    assert max(one.batches) == 64


async def test_a_pause_ends_the_reading_at_once_and_the_buffer_fills(net: MemoryNetwork) -> None:
    reading = net.open()
    reader, heard = joined(reading, net)
    take = reader.sink

    def take_and_pause(batch: list[Packet]) -> None:
        take(batch)
        reading.pause()

    reader.sink = take_and_pause
    _, other = joined(reading, net)
    net.send_many(A, GROUP, PORT, numbered(200))
    await net.settle()
    assert (heard.data, other.data) == (numbered(64), [])
    reader.sink = take
    reading.resume()
    await net.settle()
    assert heard.data == other.data == numbered(200)


async def test_what_has_no_place_among_the_read_waits(net: MemoryNetwork) -> None:
    reader, heard = joined(net.open(), net)
    placed(reader).discard()
    net.send(A, GROUP, PORT, b"1")
    await net.settle()
    assert heard.data == []
    placed(reader).add()
    placed(reader).add()
    await net.settle()
    assert heard.data == [b"1"]
    placed(reader).forget()
    placed(reader).forget()
    placed(reader).add()
    net.send(A, GROUP, PORT, b"2")
    await net.settle()
    assert heard.data == [b"1"]


async def test_a_reader_that_a_sink_takes_out_is_not_read(net: MemoryNetwork) -> None:
    reading = net.open()
    one, _ = joined(reading, net)
    two, from_two = joined(reading, net)
    one.sink = lambda batch: placed(two).discard()
    net.send(A, GROUP, PORT, b"1")
    await net.settle()
    assert from_two.data == []


async def test_a_sink_that_raises_is_told_of_by_the_loop_and_counted(net: MemoryNetwork) -> None:
    raised: list[BaseException] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: raised.append(context["exception"]))
    reader, _ = joined(net.open(), net)
    reader.sink = lambda batch: batch[9]  # type: ignore[assignment]  # raises
    net.send(A, GROUP, PORT, b"1")
    await net.settle()
    assert reader.unmade == 1
    assert isinstance(raised[0], IndexError)


async def test_what_a_socket_reports_comes_before_what_is_in_it(net: MemoryNetwork) -> None:
    reader, heard = joined(net.open(), net)
    net.send(A, GROUP, PORT, b"1")
    net.host.fail(GROUP, PORT, OSError(errno.ENETDOWN, "down"))
    await net.settle()
    assert [error.errno for error in heard.errors] == [errno.ENETDOWN]
    assert (heard.data, reader.failures, reader.error) == ([b"1"], 0, None)


async def test_a_socket_that_goes_on_failing_rests_longer_each_time() -> None:
    net = MemoryNetwork(real_timers=False)
    reader, heard = joined(net.open(), net)
    for _ in range(4):
        net.host.fail(GROUP, PORT, OSError(errno.ENETDOWN, "down"))
    net.send(A, GROUP, PORT, b"1")
    await net.run_for(0.0)
    assert (reader.failures, len(heard.errors), heard.data) == (2, 1, [])
    await net.run_for(0.01)
    assert (reader.failures, heard.data) == (3, [])
    await net.run_for(0.019)
    assert reader.failures == 3
    await net.run_for(0.001)
    assert reader.failures == 4
    await net.run_for(0.04)
    assert (reader.failures, len(heard.errors), heard.data) == (0, 1, [b"1"])


async def test_a_socket_that_rests_can_be_taken_out() -> None:
    net = MemoryNetwork(real_timers=False)
    for change in ("discard", "forget"):
        reader, heard = joined(net.open(), net)
        for _ in range(2):
            net.host.fail(GROUP, PORT, OSError(errno.ENETDOWN, "down"))
        net.send(A, GROUP, PORT, b"1")
        await net.run_for(0.0)
        getattr(placed(reader), change)()
        await net.run_for(1.0)
        assert heard.data == []
        reader.close()


async def test_a_socket_that_somebody_has_closed_is_never_read_again(net: MemoryNetwork) -> None:
    reading = net.open()
    reader, heard = joined(reading, net)
    net.host.fail(GROUP, PORT, OSError(errno.EBADF, "closed"))
    net.send(A, GROUP, PORT, b"1")
    await net.settle()
    placed(reader).add()
    await net.run_for(10)
    assert (len(heard.errors), heard.data) == (1, [])
    reading.close()


async def test_after_the_end_nothing_is_read_and_the_sockets_stay_open() -> None:
    net = MemoryNetwork(real_timers=False)
    reading = net.open()
    reader, heard = joined(reading, net)
    for _ in range(2):
        net.host.fail(GROUP, PORT, OSError(errno.ENETDOWN, "down"))
    net.send(A, GROUP, PORT, b"1")
    await net.settle()
    reading.close()
    reading.resume()
    await net.run_for(1)
    assert heard.data == []
    assert reader.sock.fileno() >= 0
    assert reader.read(9)[1] == 1


async def test_what_nobody_holds_can_be_ended_from_another_thread(net: MemoryNetwork) -> None:
    reading = net.open()
    reader, _ = joined(reading, net)
    thread = threading.Thread(target=reading.abandon)
    thread.start()
    thread.join()
    assert reader.sock.fileno() == -1
    net.send(A, GROUP, PORT, b"1")


async def test_it_belongs_to_one_thread_and_one_loop(net: MemoryNetwork) -> None:
    reading = net.open()
    reading.check()

    def elsewhere(call: Callable[[], object]) -> BaseException | None:
        caught: list[BaseException] = []

        def run() -> None:
            try:
                call()
            except StateError as error:
                caught.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        return caught[0] if caught else None

    async def check() -> None:
        reading.check()

    assert elsewhere(reading.check) is not None
    assert elsewhere(lambda: asyncio.run(check())) is not None


async def test_a_call_from_another_thread_comes_in_the_next_turn(net: MemoryNetwork) -> None:
    reading, came = net.open(), asyncio.Event()
    thread = threading.Thread(target=reading.call_soon, args=(came.set,))
    thread.start()
    thread.join()
    async with asyncio.timeout(10):
        await came.wait()


def test_a_loop_that_has_closed_is_left_alone(net: MemoryNetwork) -> None:
    kept: list[tuple[Reading, Reader]] = []

    async def leave_behind() -> None:
        reading = net.open()
        kept.append((reading, joined(reading, net)[0]))

    async def settle() -> None:
        await net.settle()

    asyncio.run(leave_behind())
    (reading, reader), called = kept[0], list[int]()
    net.send(A, GROUP, PORT, b"1")
    reading.call_soon(lambda: called.append(1))
    asyncio.run(settle())
    assert called == []
    assert reader.read(9)[1] == 1
    reading.abandon()
    gc.collect()


async def test_whatever_is_raised_in_a_read_is_told_to_the_loop(
    net: MemoryNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    raised: list[BaseException] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: raised.append(context["exception"]))
    reader, heard = joined(net.open(), net)
    net.send(A, GROUP, PORT, b"1")
    net.send(B, GROUP, PORT, b"2")
    flow = MemoryReader._flow

    def fail_at_b(reader: MemoryReader, source: str, port: int) -> Flow:
        if source == B:
            raise MemoryError
        return flow(reader, source, port)

    monkeypatch.setattr(MemoryReader, "_flow", fail_at_b)
    await net.settle()
    assert [type(error) for error in raised] == [MemoryError]
    assert (heard.data, reader.received, reader.unmade) == ([b"1"], 2, 1)


async def test_a_reader_nobody_has_set_up_says_so(net: MemoryNetwork) -> None:
    reader = opened(net.open(), net)
    with pytest.raises(AssertionError):
        reader.sink([])
    with pytest.raises(OSError, match="down"):
        reader.failed(OSError(errno.ENETDOWN, "down"))
    reader.lost(1)


async def test_sockets_may_close_while_a_datagram_arrives(net: MemoryNetwork) -> None:
    """As they do when a receiver that nobody holds is collected."""
    reading = net.open()
    first, _ = joined(reading, net)
    second, heard = joined(reading, net)
    assert isinstance(first.sock, MemorySocket)
    first.sock.wake = first.close
    net.send(A, GROUP, PORT, b"1")
    await net.settle()
    assert heard.data == [b"1"]
    assert second.sock.fileno() >= 0


async def test_a_network_keeps_nothing_that_nobody_else_holds(net: MemoryNetwork) -> None:
    reading = net.open()
    reader, heard = joined(reading, net)
    net.send(A, GROUP, PORT, b"1")
    await net.settle()
    kept = [weakref.ref(one) for one in (reading, reader, reader.sock, heard)]
    del reading, reader, heard
    gc.collect()
    assert [one() for one in kept] == [None] * 4
    net.send(A, GROUP, PORT, b"2")
    await net.settle()
