"""What a network in memory does to datagrams on their way, and how its clock is moved."""

import asyncio

import pytest

from aiomcast import Packet
from aiomcast.testing import MemoryNetwork
from aiomcast.testing.fixtures import multicast_network  # noqa: F401  a fixture
from aiomcast.values.options import Options
from tests.support.memory import GROUP, PORT, A, B, Heard, joined

MANY = [str(number).encode() for number in range(1000)]


async def heard_of(net: MemoryNetwork) -> Heard:
    """Return what is heard of `MANY`."""
    _, heard = joined(net.open(), net, options=Options(receive_buffer=1 << 20))
    net.send_many(A, GROUP, PORT, MANY)
    await net.settle()
    return heard


async def test_a_datagram_is_at_its_socket_when_it_was_sent() -> None:
    net = MemoryNetwork(start_ns=1000)
    reader, _ = joined(net.open(), net)
    net.send(A, GROUP, PORT, b"1")
    packets, _ = reader.read(9)
    assert [packet.timestamp_ns for packet in packets] == [1001]


async def test_with_latency_it_arrives_when_the_clock_is_moved() -> None:
    net = MemoryNetwork(latency=0.25)
    reader, heard = joined(net.open(), net)
    begin = net.time_ns()
    net.send(A, GROUP, PORT, b"1")
    await net.run_for(0.2)
    net.send(A, GROUP, PORT, b"2")
    await net.settle()
    assert heard.data == []
    reader.sock.set_filter({A})
    await net.run_for(0.05)
    assert heard.data == [b"1"]
    reader.sock.set_filter({B})  # judged on arrival
    await net.run_for(1)
    assert heard.data == [b"1"]
    assert heard.packets[0].timestamp_ns == begin + 250_000_001
    assert net.time_ns() == begin + 1_250_000_000


async def test_the_loop_turns_between_what_is_due_at_different_times() -> None:
    net = MemoryNetwork(latency=0.1)
    _, heard = joined(net.open(), net)
    for number in range(3):
        net.send(A, GROUP, PORT, MANY[number])
        net.advance(0.01)
    await net.run_for(0.1)
    assert heard.batches == [1, 1, 1]


async def test_tasks_that_answer_are_waited_for() -> None:
    net = MemoryNetwork()
    reader, heard = joined(net.open(), net)
    queue: asyncio.Queue[bytes] = asyncio.Queue()
    take = reader.sink

    def take_and_pass_on(batch: list[Packet]) -> None:
        take(batch)
        for packet in batch:
            queue.put_nowait(packet.data)

    reader.sink = take_and_pass_on

    async def answer() -> None:
        for _ in range(4):
            net.send(B, GROUP, PORT, await queue.get())

    task = asyncio.create_task(answer())
    net.send(A, GROUP, PORT, b"ping")
    await net.settle()
    assert heard.data == [b"ping"] * 5
    await task


@pytest.mark.parametrize("rate", [0.0, 0.1, 1.0])
async def test_loss(rate: float) -> None:
    heard = await heard_of(MemoryNetwork(loss=rate, seed=1))
    again = await heard_of(MemoryNetwork(loss=rate, seed=1))
    assert heard.data == again.data
    assert heard.data == sorted(heard.data, key=int)
    assert abs(len(heard.data) - 1000 * (1 - rate)) <= 1000 * rate * (1 - rate)


async def test_other_seeds_have_other_fates() -> None:
    one, two = [await heard_of(MemoryNetwork(loss=0.5, seed=seed)) for seed in (1, 2)]
    assert one.data != two.data


async def test_duplication() -> None:
    heard = await heard_of(MemoryNetwork(duplication=0.1, seed=1))
    assert set(heard.data) == set(MANY)
    assert 1050 < len(heard.data) < 1150
    assert len({packet.timestamp_ns for packet in heard.packets}) == len(heard.data)


async def test_reordering_loses_nothing_and_the_stamps_stay_in_order() -> None:
    heard = await heard_of(MemoryNetwork(reordering=0.1, seed=1))
    assert heard.data != MANY
    assert sorted(heard.data, key=int) == MANY
    stamps = [packet.timestamp_ns or 0 for packet in heard.packets]
    assert stamps == sorted(stamps)


async def test_what_nothing_overtakes_arrives_when_the_clock_moves() -> None:
    for latency in (0.0, 0.5):
        net = MemoryNetwork(reordering=1.0, latency=latency)
        reader, _ = joined(net.open(), net)
        net.send(A, GROUP, PORT, b"1")
        assert reader.read(9)[0] == []
        net.advance(latency)
        assert len(reader.read(9)[0]) == 1


async def test_the_duplicates_of_a_seed_do_not_depend_on_its_losses() -> None:
    whole = await heard_of(MemoryNetwork(duplication=0.2, seed=5))
    torn = await heard_of(MemoryNetwork(duplication=0.2, loss=0.2, seed=5))
    for data in set(torn.data):
        assert torn.data.count(data) == whole.data.count(data)


def test_a_fixture_gives_a_network(multicast_network: MemoryNetwork) -> None:  # noqa: F811
    assert list(multicast_network.hosts) == ["host"]
