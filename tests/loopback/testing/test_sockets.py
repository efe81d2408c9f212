"""Sockets in memory against the kernel's rules: filters, limits, buffers, faults."""

import asyncio
import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiomcast import (
    FilterMode,
    InconsistentError,
    InterfaceGoneError,
    LimitError,
    RefusedError,
    SourceFilter,
    StateError,
)
from aiomcast.reading.contract import Reader
from aiomcast.testing import MemoryNetwork
from aiomcast.values.options import Options
from tests.support.kernel_model import IPV4, KernelSocket
from tests.support.memory import GROUP, PORT, A, B, C, joined, opened, placed

SOURCES = (A, B, C)
FILTERS = st.builds(SourceFilter, st.sampled_from(FilterMode), st.sets(st.sampled_from(SOURCES)))


def kernel_set(kernel: KernelSocket, wanted: SourceFilter) -> None:
    """Have the model hold `wanted`, by the calls of RFC 3678."""
    if GROUP not in kernel.held and not wanted.is_none:
        kernel.join_group(GROUP)
    if GROUP in kernel.held:
        kernel.set(GROUP, wanted.mode, sorted(wanted.sources))


@given(st.lists(st.one_of(FILTERS, st.sampled_from(SOURCES)), max_size=30))
def test_it_lets_in_what_the_kernel_lets_in(steps: list[SourceFilter | str]) -> None:
    """A datagram is judged by the filter in force when it arrives, whatever is set later."""

    async def compare() -> None:
        net, kernel = MemoryNetwork(), KernelSocket(IPV4)
        reader = opened(net.open(), net, sources=SourceFilter.any())
        expected: list[tuple[str, bytes]] = []
        for number, step in enumerate(steps):
            if isinstance(step, SourceFilter):
                reader.sock.set_filter(step)
                kernel_set(kernel, step)
                held = kernel.held.get(GROUP)
                assert reader.sock.kernel_filter() == (SourceFilter.none() if held is None else held.filter)
            else:
                data = str(number).encode()
                net.send(step, GROUP, PORT, data)
                if GROUP in kernel.held and kernel.get(GROUP).lets_in(step):
                    expected.append((step, data))
        packets, taken = reader.read(len(steps) + 1)
        assert [(packet.source, packet.data) for packet in packets] == expected
        assert (taken, reader.dry) == (len(expected), True)

    asyncio.run(compare())


@pytest.fixture
def net() -> MemoryNetwork:
    return MemoryNetwork()


async def test_a_socket_that_has_not_joined_hears_nothing(net: MemoryNetwork) -> None:
    reader = opened(net.open(), net)
    net.send(A, GROUP, PORT, b"1")
    assert reader.read(9) == ([], 0)
    assert reader.sock.filter.is_none
    assert reader.sock.fileno() >= 0


async def test_groups_ports_and_links_are_told_apart(net: MemoryNetwork) -> None:
    net.host.add_interface("eth1", "198.51.100.1")
    reading = net.open()
    _, on_first = joined(reading, net)
    _, on_second = joined(reading, net, interface="eth1")
    _, elsewhere = joined(reading, net, group="239.9.9.9")
    _, at_other_port = joined(reading, net, port=PORT + 1)
    _, at_other_host = joined(reading, net.add_host("other", "192.0.2.2"))
    net.send(A, GROUP, PORT, b"first")
    net.send(A, GROUP, PORT, b"second", link="eth1")
    net.send(A, GROUP, PORT, b"nowhere", link="eth9")
    await net.settle()
    assert on_first.data == at_other_host.data == [b"first"]
    assert on_second.data == [b"second"]
    assert on_second.packets[0].interface_index == net.find("eth1").index
    assert elsewhere.data == at_other_port.data == []
    assert on_first.packets[0].timestamp_ns == at_other_host.packets[0].timestamp_ns


async def test_one_source_too_many_is_refused_and_the_old_list_stays(net: MemoryNetwork) -> None:
    reader, heard = joined(net.open(), net, sources={A})
    many = {f"192.0.2.{number}" for number in range(20, 31)}
    with pytest.raises(LimitError) as caught:
        reader.sock.set_filter(many)
    assert (caught.value.errno, caught.value.value) == (errno.ENOBUFS, 10)
    assert caught.value.limit == "the number of sources per socket"
    assert reader.sock.filter == reader.sock.kernel_filter() == SourceFilter.include({A})
    net.set_source_limit(11)
    assert net.source_limit(GROUP) == 11
    reader.sock.set_filter(many)
    net.set_source_limit(None)
    reader.sock.set_filter({*many, A})
    net.send(A, GROUP, PORT, b"1")
    await net.settle()
    assert heard.data == [b"1"]


async def test_a_join_that_is_refused_half_way_is_undone(net: MemoryNetwork) -> None:
    reader = opened(net.open(), net, sources={A, B})
    net.refuse("set", errno.ENOMEM)
    with pytest.raises(RefusedError) as caught:
        reader.sock.set_filter({A, B})
    assert caught.value.errno == errno.ENOMEM
    assert reader.sock.filter.is_none
    reader.sock.set_filter({A, B})


async def test_an_undo_that_is_refused_too_is_told(net: MemoryNetwork) -> None:
    reader = opened(net.open(), net, sources={A, B})
    net.refuse("set", errno.ENOMEM)
    net.refuse("leave", errno.EPERM)
    with pytest.raises(InconsistentError):
        reader.sock.set_filter({A, B})
    assert reader.sock.filter == SourceFilter.include({A})


async def test_each_kind_of_call_can_be_refused_as_often_as_wanted(net: MemoryNetwork) -> None:
    reading = net.open()
    net.refuse("open", errno.EMFILE)
    into: list[Reader] = []
    with pytest.raises(LimitError):
        reading.open(GROUP, PORT, net.find("eth0"), SourceFilter.any(), Options(), into)
    assert into == []
    reader = opened(reading, net)
    net.refuse("join", errno.ENOBUFS, times=2)
    for _ in range(2):
        with pytest.raises(LimitError) as caught:
            reader.sock.set_filter(None)
        assert caught.value.limit == "memory"  # not the number of sources, of which there are none
    reader.sock.set_filter(None)


async def test_an_interface_that_is_gone_takes_its_memberships_with_it(net: MemoryNetwork) -> None:
    reader, heard = joined(net.open(), net, sources={A})
    net.host.remove_interface("eth0")
    net.host.add_interface("eth0", "192.0.2.1")
    net.send(A, GROUP, PORT, b"1")
    await net.settle()
    assert heard.data == []
    for change in ({B}, SourceFilter.none()):
        with pytest.raises(InterfaceGoneError) as caught:
            reader.sock.set_filter(change)
        assert caught.value.errno == errno.ENODEV
    assert reader.sock.held() == reader.sock.kernel_filter() == SourceFilter.include({A})
    with pytest.raises(InconsistentError):
        reader.sock.rejoin()
    reader.close()


async def test_nothing_arrives_without_a_carrier_and_memberships_stay(net: MemoryNetwork) -> None:
    reader, heard = joined(net.open(), net)
    net.host.set_down("eth0")
    net.send(A, GROUP, PORT, b"1")
    net.host.set_up("eth0")
    net.send(A, GROUP, PORT, b"2")
    reader.sock.rejoin()
    net.send(A, GROUP, PORT, b"3")
    await net.settle()
    assert heard.data == [b"2", b"3"]
    reader.sock.set_filter(SourceFilter.none())
    reader.sock.rejoin()
    net.send(A, GROUP, PORT, b"4")
    await net.settle()
    assert heard.data == [b"2", b"3"]


async def test_a_rejoin_that_is_refused_keeps_what_was_held(net: MemoryNetwork) -> None:
    reader, _ = joined(net.open(), net, sources={A})
    net.refuse("leave", errno.EPERM)
    with pytest.raises(RefusedError):
        reader.sock.rejoin()
    net.refuse("join", errno.ENOBUFS)
    with pytest.raises(LimitError):
        reader.sock.rejoin()
    assert reader.sock.filter == SourceFilter.include({A})


async def test_a_buffer_that_overflows_drops_and_the_next_datagram_tells(net: MemoryNetwork) -> None:
    reader, heard = joined(net.open(), net, options=Options(receive_buffer=3 * 300))
    placed(reader).discard()
    assert reader.count_drops() == 900
    net.send_many(A, GROUP, PORT, [bytes(44)] * 5)
    assert len(reader.read(2)[0]) == 2
    assert reader.kernel_drops == 0
    net.send(A, GROUP, PORT, b"after")
    placed(reader).add()
    await net.settle()
    assert (len(heard.packets), heard.data[-1]) == (2, b"after")
    assert (reader.kernel_drops, heard.losses) == (2, [2])


async def test_drops_can_be_asked_for(net: MemoryNetwork) -> None:
    reader, heard = joined(net.open(), net, options=Options(receive_buffer=1))
    net.send_many(A, GROUP, PORT, [b"1", b"2"])
    reader.count_drops()
    assert (reader.kernel_drops, heard.losses) == (1, [1])
    await net.settle()
    assert (heard.data, heard.losses) == ([b"1"], [1])


async def test_a_closed_socket(net: MemoryNetwork) -> None:
    reader, _ = joined(net.open(), net)
    net.send(A, GROUP, PORT, b"1")
    reader.close()
    reader.close()
    assert (reader.sock.fileno(), reader.count_drops()) == (-1, 0)
    with pytest.raises(RefusedError):
        reader.sock.set_filter({A})
    assert reader.read(9) == ([], 0)
    assert isinstance(reader.error, OSError)
    with pytest.raises(ValueError, match="no socket"):
        net.host.fail(GROUP, PORT, OSError(errno.EIO, "broken"))


def test_reading_needs_a_loop(net: MemoryNetwork) -> None:
    with pytest.raises(StateError):
        net.open()
