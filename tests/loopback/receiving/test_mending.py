"""Memberships that mend themselves, on a network in memory: what is done, told, and left alone."""

import asyncio
import errno

import pytest

from aiomcast import (
    ALL_INTERFACES,
    Event,
    EventKind,
    EventStream,
    InconsistentError,
    InterfaceGoneError,
    NoRouteError,
    NoSuchInterfaceError,
    Receiver,
    RefusedError,
    SourceFilter,
    listen,
)
from aiomcast.testing import MemoryNetwork
from aiomcast.testing.hosts import MemoryHost
from tests.support.packets import take

GROUP, PORT = "239.1.1.1", 5000
SOON = 5
A, B = "192.0.2.10", "192.0.2.11"


@pytest.fixture
def net() -> MemoryNetwork:
    """A host on two links."""
    net = MemoryNetwork()
    net.host.add_interface("eth1", "198.51.100.1")
    return net


def told(events: EventStream) -> list[Event]:
    """What has happened."""
    return [events.receive_nowait() for _ in range(len(events))]


def happened(events: EventStream) -> list[tuple[EventKind, str | None, str | None]]:
    """What has happened, where, and why."""
    return [(one.kind, one.interface, one.cause) for one in told(events)]


async def test_an_interface_that_was_made_anew_is_joined_again(net: MemoryNetwork) -> None:
    async with Receiver(network=net) as receiver:
        feed = await receiver.join(GROUP, PORT, sources={A}, interface="eth1")
        other = await receiver.join(GROUP, PORT, sources={A}, interface="eth0")
        events, packets = receiver.events(), receiver.packets()
        net.host.remove_interface("eth1")
        await net.run_for(2)
        assert happened(events) == [(EventKind.LOST, "eth1", "gone")]
        assert feed.on_device() == {"eth1": False}
        made = net.host.add_interface("eth1", "198.51.100.1")
        await net.run_for(0.25)
        (event,) = told(events)
        assert (event.kind, event.interface, event.cause) == (EventKind.HEALED, "eth1", "gone")
        assert event.seconds == pytest.approx(2)
        assert event.membership is feed
        assert feed.interface == made
        assert feed.on_device() == {"eth1": True}
        for link in ("eth0", "eth1"):
            net.send(A, GROUP, PORT, link.encode(), link=link)
        await net.settle()
        got = await take(packets, 2)
        assert {receiver.membership_of(one): one.data for one in got} == {feed: b"eth1", other: b"eth0"}
        await net.run_for(10)  # what looks again finds nothing
        assert happened(events) == []


async def test_a_carrier_that_comes_back_is_told(net: MemoryNetwork) -> None:
    async with listen(GROUP, PORT, interface="eth1", network=net) as feed:
        events = feed._keeper.telling.stream(lambda: None)  # type: ignore[attr-defined]  # the receiver's
        net.host.set_down("eth1")
        await net.run_for(1)
        net.host.set_up("eth1")
        await net.settle()
        assert happened(events) == [
            (EventKind.LOST, "eth1", "carrier"),
            (EventKind.HEALED, "eth1", "carrier"),
        ]


async def test_nothing_is_done_where_nothing_is_to_heal(net: MemoryNetwork) -> None:
    async with Receiver(network=net, heal=False) as receiver:
        feed = await receiver.join(GROUP, PORT, interface="eth1")
        events = receiver.events()
        net.host.remove_interface("eth1")
        net.host.add_interface("eth1")
        await net.run_for(10)
        assert happened(events) == []
        assert feed.on_device() == {"eth1": False}
        await feed.refresh()
        assert happened(events) == [(EventKind.REFRESHED, "eth1", None)]
        assert feed.on_device() == {"eth1": True}


async def test_a_membership_that_was_left_is_let_alone(net: MemoryNetwork) -> None:
    async with Receiver(network=net) as receiver:
        feed = await receiver.join(GROUP, PORT, interface="eth1")
        net.host.remove_interface("eth1")
        await net.settle()
        events = receiver.events()
        await feed.leave()
        net.host.add_interface("eth1")
        await net.settle()
        assert happened(events) == [(EventKind.LEFT, "eth1", None)]


async def test_one_of_a_list_is_waited_for_while_the_others_go_on(net: MemoryNetwork) -> None:
    async with Receiver(network=net) as receiver:
        feed = await receiver.join(GROUP, PORT, interface=["eth0", "eth1"])
        events = receiver.events()
        net.host.remove_interface("eth0")
        await net.settle()
        net.send(A, GROUP, PORT, b"1", link="eth1")
        await net.settle()
        net.host.add_interface("eth0")
        await net.settle()
        assert happened(events) == [(EventKind.LOST, "eth0", "gone"), (EventKind.HEALED, "eth0", "gone")]
        assert feed.on_device() == {"eth0": True, "eth1": True}


async def test_all_interfaces_are_followed(net: MemoryNetwork) -> None:
    async with Receiver(network=net) as receiver:
        feed = await receiver.join(GROUP, PORT, interface=ALL_INTERFACES)
        events = receiver.events()
        net.host.add_interface("eth2")
        await net.settle()
        net.host.remove_interface("eth0")
        await net.settle()
        assert happened(events) == [(EventKind.JOINED, "eth2", None), (EventKind.LEFT, "eth0", None)]
        assert [one.name for one in feed.interfaces] == ["eth1", "eth2"]


async def test_the_last_of_all_interfaces_is_lost_and_found(net: MemoryNetwork) -> None:
    net.host.remove_interface("eth1")
    async with Receiver(network=net) as receiver:
        feed = await receiver.join(GROUP, PORT, interface=ALL_INTERFACES)
        events = receiver.events()
        net.host.remove_interface("eth0")
        await net.settle()
        net.host.add_interface("eth3")
        await net.settle()
        assert happened(events) == [
            (EventKind.LOST, "eth0", "gone"),
            (EventKind.JOINED, "eth3", None),
            (EventKind.LEFT, "eth0", None),
        ]
        assert feed.on_device() == {"eth3": True}


async def test_what_refuses_is_told_and_tried_again(net: MemoryNetwork) -> None:
    async with Receiver(network=net) as receiver:
        feed = await receiver.join(GROUP, PORT, interface="eth1")
        events = receiver.events()
        net.host.remove_interface("eth1")
        net.refuse("join", errno.ENOBUFS, interface="eth1")
        net.host.add_interface("eth1")
        await net.settle()
        assert feed.on_device() == {"eth1": False}
        net.host.add_interface("eth2")  # anything that happens
        await net.settle()
        assert feed.on_device() == {"eth1": True}
        assert [kind for kind, *_ in happened(events)] == [
            EventKind.LOST,
            EventKind.FAILED,
            EventKind.HEALED,
        ]


async def test_one_of_all_that_refuses_is_told_once_and_tried_again(net: MemoryNetwork) -> None:
    async with Receiver(network=net) as receiver:
        feed = await receiver.join(GROUP, PORT, interface=ALL_INTERFACES)
        events = receiver.events()
        net.refuse("join", errno.ENOBUFS, 4, interface="eth2")
        net.host.add_interface("eth2")
        await net.settle()
        for name in ("eth3", "eth4"):  # whatever happens
            net.host.add_interface(name)
            await net.settle()
        assert [(kind, name) for kind, name, _ in happened(events)] == [
            (EventKind.FAILED, "eth2"),
            (EventKind.JOINED, "eth3"),
            (EventKind.JOINED, "eth4"),
        ]
        await net.run_for(5)
        assert happened(events) == [(EventKind.JOINED, "eth2", None)]
        assert set(feed.on_device().values()) == {True}


async def test_one_of_all_that_refused_the_join_is_told_once_and_tried_again(net: MemoryNetwork) -> None:
    async with Receiver(network=net) as receiver:
        events = receiver.events()
        net.refuse("join", errno.ENOBUFS, 3, interface="eth1")
        feed = await receiver.join(GROUP, PORT, interface=ALL_INTERFACES)
        net.host.add_interface("eth2")
        await net.settle()
        assert [(kind, name) for kind, name, _ in happened(events)] == [
            (EventKind.JOINED, "eth0"),
            (EventKind.FAILED, "eth1"),
            (EventKind.JOINED, "eth2"),
        ]
        await net.run_for(5)
        assert happened(events) == [(EventKind.JOINED, "eth1", None)]
        assert set(feed.on_device().values()) == {True}


async def test_what_refuses_is_tried_again_though_nothing_happens(net: MemoryNetwork) -> None:
    async with Receiver(network=net) as receiver:
        feed = await receiver.join(GROUP, PORT, interface="eth1")
        events = receiver.events()
        net.host.remove_interface("eth1")
        net.refuse("join", errno.ENOBUFS, 3, interface="eth1")
        net.host.add_interface("eth1")
        await net.run_for(5)
        assert feed.on_device() == {"eth1": True}
        assert [kind for kind, *_ in happened(events)] == [
            EventKind.LOST,
            EventKind.FAILED,
            EventKind.HEALED,
        ]


async def test_what_a_refresh_could_not_join_again_is_joined_later(net: MemoryNetwork) -> None:
    async with Receiver(network=net) as receiver:
        feed = await receiver.join(GROUP, PORT, sources={A}, interface="eth1")
        net.refuse("join", errno.ENOBUFS, 4, interface="eth1")
        with pytest.raises(InconsistentError):
            await feed.refresh()
        assert feed.on_device() == {"eth1": False}
        await net.run_for(5)
        assert feed.on_device() == {"eth1": True}
        assert feed.kernel_filter() == SourceFilter.include({A})


async def test_what_stays_refused_is_tried_ever_more_rarely(net: MemoryNetwork) -> None:
    async with Receiver(network=net) as receiver:
        feed = await receiver.join(GROUP, PORT, interface="eth1")
        net.host.remove_interface("eth1")
        net.refuse("join", errno.ENOBUFS, 8, interface="eth1")
        net.host.add_interface("eth1")
        await net.run_for(3)  # after 0.1, 0.3, 0.7, 1.5 seconds, and so on
        assert feed.on_device() == {"eth1": False}
        await net.run_for(60)
        assert feed.on_device() == {"eth1": True}


# Changes of the filter meanwhile


async def test_a_swap_while_an_interface_is_gone_holds_once_it_is_back(net: MemoryNetwork) -> None:
    async with Receiver(network=net) as receiver:
        feed = await receiver.join(GROUP, PORT, sources={A}, interface="eth1")
        events, packets = receiver.events(), feed.packets()
        net.send(A, GROUP, PORT, b"queued", link="eth1")
        await net.settle()
        net.send(A, GROUP, PORT, b"unread", link="eth1")
        net.host.remove_interface("eth1")
        await feed.swap({B})
        swapped = [one for one in told(events) if one.kind is EventKind.SWAPPED]
        assert [(one.interface, one.cause) for one in swapped] == [("eth1", "lost")]
        assert str(swapped[0]).endswith(f": {SourceFilter.include({B})}, once it is healed")
        assert feed.filter == SourceFilter.include({B})
        assert feed.kernel_filter() == SourceFilter.include({A}), "what the socket goes on to believe"
        await feed.join_source("192.0.2.12")
        await feed.swap({B})
        net.host.add_interface("eth1")
        await net.settle()
        assert feed.kernel_filter() == feed.filter == SourceFilter.include({B})
        for source in (A, B):
            net.send(source, GROUP, PORT, b"after", link="eth1")
        await net.settle()
        assert [(one.source, one.data) for one in await take(packets, 1)] == [(B, b"after")]
        assert feed.statistics().filtered == 2


async def test_a_swap_with_deliver_while_an_interface_is_gone_spares_what_came(net: MemoryNetwork) -> None:
    async with Receiver(network=net) as receiver:
        feed = await receiver.join(GROUP, PORT, sources={A}, interface="eth1")
        packets = feed.packets()
        net.send(A, GROUP, PORT, b"queued", link="eth1")
        await net.settle()
        net.host.remove_interface("eth1")
        await feed.swap(SourceFilter.any(), "deliver")
        await feed.swap({B}, "deliver")
        net.host.add_interface("eth1")
        await net.settle()
        assert feed.kernel_filter() == SourceFilter.include({B})
        net.send(B, GROUP, PORT, b"after", link="eth1")
        await net.settle()
        assert [one.data for one in await take(packets, 2)] == [b"queued", b"after"]


@pytest.mark.parametrize("wanted", [{B}, {B, "192.0.2.12"}, None, ()])
async def test_of_several_interfaces_those_that_are_there_are_swapped_at_once(
    net: MemoryNetwork, wanted: set[str] | None
) -> None:
    async with Receiver(network=net) as receiver:
        feed = await receiver.join(GROUP, PORT, sources={A}, interface=["eth0", "eth1"])
        other = await receiver.join(GROUP, PORT + 1, sources={A}, interface="eth0")
        net.host.remove_interface("eth1")
        await net.settle()
        events = receiver.events()
        await receiver.filters.apply({feed: wanted, other: {B}})
        assert [(kind, name, cause) for kind, name, cause in happened(events)] == [
            (EventKind.SWAPPED, None, None),
            (EventKind.SWAPPED, "eth1", "lost"),
            (EventKind.SWAPPED, "eth0", None),
        ]
        there, _ = (one.readers[0].sock.kernel_filter() for one in feed._presence.shards)
        assert there == feed.filter
        net.host.add_interface("eth1")
        await net.settle()
        assert [one.kernel_filter() for one in feed._presence.shards] == [feed.filter] * 2


async def test_a_swap_that_others_refuse_changes_nothing_where_an_interface_is_gone(
    net: MemoryNetwork,
) -> None:
    async with Receiver(network=net) as receiver:
        feed = await receiver.join(GROUP, PORT, sources={A}, interface=["eth0", "eth1"])
        net.host.remove_interface("eth1")
        await net.settle()
        net.refuse("set", errno.ENOMEM, 2, interface="eth0")
        with pytest.raises(RefusedError, match="eth0"):
            await feed.swap({B})
        assert feed.filter == SourceFilter.include({A})
        net.host.add_interface("eth1")
        await net.settle()
        assert feed.kernel_filter() == SourceFilter.include({A})


async def test_without_healing_a_swap_while_an_interface_is_gone_is_refused(net: MemoryNetwork) -> None:
    async with listen(GROUP, PORT, sources={A}, interface="eth1", network=net, heal=False) as feed:
        net.host.remove_interface("eth1")
        with pytest.raises(InterfaceGoneError):
            await feed.swap({B})
        assert feed.filter == SourceFilter.include({A})


# Waiting


async def test_a_join_waits_for_its_interface(net: MemoryNetwork) -> None:
    async with Receiver(network=net) as receiver:
        with pytest.raises(NoSuchInterfaceError, match="eth9"):
            await receiver.join(GROUP, PORT, sources={A}, interface="eth9")
        waiting = asyncio.create_task(
            receiver.join(GROUP, PORT, sources=iter([A]), interface="eth9", wait=True)
        )
        await net.run_for(0.25)
        assert not waiting.done()
        net.host.add_interface("eth9")
        await net.settle()
        feed = await asyncio.wait_for(waiting, SOON)
        assert feed.filter == SourceFilter.include({A})
        assert feed.interface.name == "eth9"


async def test_a_join_waits_for_a_route(net: MemoryNetwork) -> None:
    for name in ("eth0", "eth1"):
        net.host.remove_interface(name)
    with pytest.raises(NoRouteError):
        async with listen(GROUP, PORT, network=net):
            pass

    async def joined() -> str:
        async with listen(GROUP, PORT, network=net, wait=True) as feed:
            return feed.interface.name

    waiting = asyncio.create_task(joined())
    await net.settle()
    net.host.add_interface("eth5")
    await net.settle()
    assert await asyncio.wait_for(waiting, SOON) == "eth5"


async def test_a_join_that_waits_can_be_cancelled_and_ends_with_the_receiver(net: MemoryNetwork) -> None:
    async with Receiver(network=net) as receiver:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await receiver.join(GROUP, PORT, interface="eth9", wait=True)
        assert receiver.memberships == ()


async def test_what_is_wrong_is_not_waited_for(net: MemoryNetwork) -> None:
    async with Receiver(network=net) as receiver:
        with pytest.raises(ValueError, match="multicast"):
            await receiver.join("192.0.2.1", PORT, wait=True)


# Where leaving takes its time


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system where a group can be joined again a quarter of a second after it was left."""
    for owner in (MemoryHost, MemoryNetwork):
        monkeypatch.setattr(owner, "rejoin_pause", property(lambda _: 0.25))


async def test_where_leaving_takes_time_all_leave_and_then_all_join(net: MemoryNetwork, slow: None) -> None:
    async with Receiver(network=net) as receiver:
        feeds = [await receiver.join(GROUP, PORT + number, interface="eth1") for number in range(3)]
        refreshing = asyncio.create_task(feeds[0].refresh())
        await asyncio.sleep(0)
        assert [one.on_device() for one in feeds] == [{"eth1": False}] * 3
        await refreshing
        assert [one.on_device() for one in feeds] == [{"eth1": True}] * 3


# By hand


async def test_refresh_of_a_receiver_is_that_of_each_membership(net: MemoryNetwork) -> None:
    async with Receiver(network=net, heal=False) as receiver:
        one = await receiver.join(GROUP, PORT, interface="eth0")
        other = await receiver.join(GROUP, PORT, interface="eth1")
        gone = await receiver.join(GROUP, PORT + 1, interface="eth1")
        await gone.leave()
        events = receiver.events()
        net.host.remove_interface("eth1")
        with pytest.raises(NoSuchInterfaceError, match="eth1"):
            await receiver.refresh()
        assert happened(events) == [(EventKind.REFRESHED, "eth0", None)]
        net.host.add_interface("eth1")
        await receiver.refresh()
        assert [(event.kind, event.membership) for event in told(events)] == [
            (EventKind.REFRESHED, other),
            (EventKind.REFRESHED, one),
        ]


# Silence


async def test_silence_is_told_and_ended_by_a_packet(net: MemoryNetwork) -> None:
    async with Receiver(network=net, silence=0.5) as receiver:
        feed = await receiver.join(GROUP, PORT, interface="eth1")
        events, packets = receiver.events(), feed.packets()
        for _ in range(20):
            net.send(A, GROUP, PORT, b"1", link="eth1")
            await net.run_for(0.05)
        assert happened(events) == []
        await net.run_for(1)
        assert happened(events) == [(EventKind.SILENT, "eth1", "silence")]
        net.send(A, GROUP, PORT, b"2", link="eth1")
        await net.run_for(0.5)
        (event,) = told(events)
        assert (event.kind, event.cause) == (EventKind.HEALED, "silence")
        assert event.seconds is not None
        assert 0.5 < event.seconds < 1.25
        assert len(await take(packets, 21)) == 21


async def test_nobody_is_silent_whose_packets_nobody_takes(net: MemoryNetwork) -> None:
    async with Receiver(network=net, silence=0.5) as receiver:
        feed = await receiver.join(GROUP, PORT, interface="eth1")
        events = receiver.events()
        packets = feed.packets()
        net.send_many(A, GROUP, PORT, [b"1", b"2"], link="eth1")
        await net.settle()
        await packets.aclose()
        await net.run_for(5)
        assert happened(events) == []


async def test_a_silence_through_which_nobody_reads_is_still_healed(net: MemoryNetwork) -> None:
    async with Receiver(network=net, silence=0.5) as receiver:
        feed = await receiver.join(GROUP, PORT, interface="eth1")
        events, packets = receiver.events(), feed.packets()
        net.send_many(A, GROUP, PORT, [b"1", b"2"], link="eth1")
        await net.run_for(2)
        await packets.aclose()
        await net.run_for(2)
        async with feed.packets():
            net.send(A, GROUP, PORT, b"3", link="eth1")
            await net.run_for(0.25)
            net.send(A, GROUP, PORT, b"4", link="eth1")
            await net.run_for(0.25)
        assert [kind for kind, *_ in happened(events)] == [EventKind.SILENT, EventKind.HEALED]


async def test_what_lets_others_in_is_silent_only_when_these_have_come(net: MemoryNetwork) -> None:
    async with Receiver(network=net, silence=0.5) as receiver:
        feed = await receiver.join(GROUP, PORT, sources={A}, interface="eth1")
        events, packets = receiver.events(), feed.packets()
        net.send_many(A, GROUP, PORT, [b"1", b"2"], link="eth1")
        await net.run_for(0.2)
        await feed.swap({B})
        await net.run_for(5)
        assert [kind for kind, *_ in happened(events)] == [EventKind.SWAPPED]
        await packets.aclose()
