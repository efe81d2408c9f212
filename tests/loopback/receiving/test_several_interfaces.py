"""One membership on several interfaces: one filter, one iterator, all or nothing; links come and go."""

import errno

import pytest

from aiomcast import (
    ALL_INTERFACES,
    ArgumentError,
    Event,
    EventKind,
    EventStream,
    Interface,
    InterfaceError,
    InterfaceGoneError,
    Membership,
    Receiver,
    RefusedError,
    SourceFilter,
    StateError,
    UnsupportedError,
    listen,
)
from aiomcast.testing import MemoryNetwork
from aiomcast.values import bounds
from tests.support.inside import is_settled, readers_of
from tests.support.packets import payloads, take

GROUP, PORT = "239.1.1.1", 5000
A, B, C = "192.0.2.10", "192.0.2.11", "192.0.2.12"
LINKS = ("eth0", "eth1")
MANY = [f"192.0.2.{number}" for number in range(10, 45)]


@pytest.fixture
def net() -> MemoryNetwork:
    """A host on two links."""
    net = MemoryNetwork()
    net.host.add_interface("eth1", "198.51.100.1")
    return net


def send(net: MemoryNetwork, source: str, *data: bytes, links: tuple[str, ...] = LINKS) -> None:
    """Send each payload on each link, the link's name behind it."""
    for link in links:
        net.send_many(source, GROUP, PORT, [one + link.encode() for one in data], link=link)


def happened(events: EventStream) -> list[tuple[EventKind, str | None]]:
    """What has happened, and where."""
    told: list[tuple[EventKind, str | None]] = []
    while len(events):
        event = events.receive_nowait()
        told.append((event.kind, event.interface))
    return told


def held(membership: Membership) -> list[SourceFilter]:
    """What each socket holds."""
    return [reader.sock.kernel_filter() for reader in readers_of(membership)]


async def test_one_iterator_with_packets_tagged_by_interface(net: MemoryNetwork) -> None:
    async with listen(GROUP, PORT, sources={A}, interface=LINKS, network=net) as feed:
        packets = feed.packets()
        send(net, A, b"1", b"2")
        send(net, B, b"no")
        got = await take(packets, 4)
        by_interface = {net.find(link).index: [b"1" + link.encode(), b"2" + link.encode()] for link in LINKS}
        assert {
            index: [packet.data for packet in got if packet.interface_index == index]
            for index in by_interface
        } == by_interface
        assert [one.name for one in feed.interfaces] == list(LINKS)
        assert feed.interface == feed.interfaces[0] == net.find("eth0")
        assert repr(feed) == f"<Membership {GROUP} port {PORT} on eth0, eth1: {feed.filter!r}>"
        assert feed.statistics().received == 4, "the kernel has refused the others"


async def test_the_receiver_knows_the_membership_of_every_packet(net: MemoryNetwork) -> None:
    async with Receiver(network=net) as receiver:
        feed = await receiver.join(GROUP, PORT, interface=LINKS)
        packets = receiver.packets()
        send(net, A, b"1")
        assert [receiver.membership_of(packet) for packet in await take(packets, 2)] == [feed, feed]
        assert receiver.memberships == (feed,)
        assert receiver.filters == {feed: SourceFilter.any()}
        assert receiver.statistics() == feed.statistics()


async def test_counters_are_summed_over_the_interfaces(net: MemoryNetwork) -> None:
    async with listen(GROUP, PORT, interface=LINKS, network=net, by_source=True) as feed:
        packets = feed.packets(source=A)
        send(net, A, b"1")
        send(net, B, b"22", links=("eth1",))
        await take(packets, 2)
        await net.settle()
        counted = feed.statistics()
        assert (counted.received, counted.octets, counted.filtered) == (3, 2 * 5 + 6, 1)
        assert counted.receive_buffer == 2 * 212_992
        assert {source: one.packets for source, one in feed.statistics_by_source().items()} == {A: 2, B: 1}
    assert feed.statistics().received == 3


async def test_what_nobody_took_is_counted_once(net: MemoryNetwork) -> None:
    async with Receiver(network=net) as receiver:
        feed = await receiver.join(GROUP, PORT, interface=LINKS)
        send(net, A, b"1", b"2")
        await feed.leave()
        assert feed.statistics().queue_drops == receiver.statistics().queue_drops == 4


async def test_an_interface_counts_once_however_it_is_named(net: MemoryNetwork) -> None:
    named: list[str | int | Interface] = ["eth1", net.find("eth1").index, "198.51.100.1", net.find("eth1")]
    async with listen(GROUP, PORT, interface=named, network=net) as feed:
        assert feed.interfaces == (net.find("eth1"),)
        assert len(readers_of(feed)) == 1


@pytest.mark.parametrize("wrong", [[], ["eth0", "eth9"], ["eth0", None]])
async def test_a_list_that_cannot_be_meant_joins_nothing(net: MemoryNetwork, wrong: list[str]) -> None:
    async with Receiver(network=net) as receiver:
        with pytest.raises(InterfaceError) as caught:
            await receiver.join(GROUP, PORT, interface=wrong)
        assert caught.value.hint
        assert receiver.memberships == ()


async def test_no_two_memberships_share_an_interface(net: MemoryNetwork) -> None:
    async with Receiver(network=net) as receiver:
        first = await receiver.join(GROUP, PORT, interface="eth1")
        for several in (LINKS, ALL_INTERFACES):
            with pytest.raises(StateError, match="joined already on eth1"):
                await receiver.join(GROUP, PORT, interface=several)
        assert receiver.memberships == (first,)
        await receiver.join(GROUP, PORT, interface="eth0")  # nothing of the attempts has stayed
        await receiver.join(GROUP, PORT + 1, interface=LINKS)


# All or nothing


@pytest.mark.parametrize("call", ["open", "join"])
@pytest.mark.parametrize("sources", [{A}, MANY, SourceFilter.any()], ids=["one", "many", "any"])
async def test_a_list_is_joined_whole_or_not_at_all(net: MemoryNetwork, call: str, sources: object) -> None:
    async with Receiver(network=net) as receiver:
        net.refuse(call, errno.ENOMEM, interface="eth1")  # type: ignore[arg-type]  # one of its values
        with pytest.raises(RefusedError, match="eth1") as caught:
            await receiver.join(GROUP, PORT, sources=sources, interface=LINKS)  # type: ignore[arg-type]  # right ones
        assert caught.value.errno == errno.ENOMEM
        assert receiver.memberships == ()
        feed = await receiver.join(GROUP, PORT, sources=sources, interface=LINKS)  # type: ignore[arg-type]  # right ones
        assert [one.name for one in feed.interfaces] == list(LINKS)


SWAPS = [
    pytest.param(SourceFilter.include({A}), SourceFilter.include({A, B}), "set", id="a source more"),
    pytest.param(SourceFilter.include({A, B}), SourceFilter.include({B}), "set", id="a source less"),
    pytest.param(SourceFilter.include({A}), SourceFilter.include(MANY), "join", id="more sockets"),
    pytest.param(SourceFilter.include(MANY), SourceFilter.include({A}), "set", id="fewer sockets"),
    pytest.param(SourceFilter.include({A}), SourceFilter.exclude({B}), "join", id="another mode"),
    pytest.param(SourceFilter.exclude({A}), SourceFilter.include(MANY), "join", id="another mode, many"),
    pytest.param(SourceFilter.exclude({A}), SourceFilter.exclude({B}), "set", id="others blocked"),
]


@pytest.mark.parametrize(("before", "after", "call"), SWAPS)
@pytest.mark.parametrize("refusing", LINKS)
async def test_a_swap_that_one_interface_refuses_changes_nothing_on_any(
    net: MemoryNetwork, before: SourceFilter, after: SourceFilter, call: str, refusing: str
) -> None:
    async with listen(GROUP, PORT, sources=before, interface=LINKS, network=net) as feed:
        packets = feed.packets()
        holding = held(feed)
        net.refuse(call, errno.ENOMEM, interface=refusing)  # type: ignore[arg-type]  # one of its values
        with pytest.raises(RefusedError, match=refusing):
            await feed.swap(after)
        assert (feed.filter, held(feed)) == (before, holding)
        for number, source in enumerate((A, B, C)):
            send(net, source, b"%d" % number)
        allowed = [b"%d" % number for number, source in enumerate((A, B, C)) if before.allows(source)]
        got = payloads(await take(packets, 2 * len(allowed)))
        assert sorted(got) == sorted(one + link.encode() for one in allowed for link in LINKS)
        await feed.swap(after)
        assert feed.kernel_filter() == feed.filter == after
        await net.run_for(1)
        assert is_settled(feed)


async def test_apply_over_two_memberships_of_several_interfaces(net: MemoryNetwork) -> None:
    async with Receiver(network=net) as receiver:
        one = await receiver.join(GROUP, PORT, sources={A}, interface=LINKS)
        other = await receiver.join("239.1.1.2", PORT, sources={A}, interface=LINKS)
        wanted = {one: SourceFilter.include({A, B}), other: SourceFilter.any()}
        net.refuse("join", errno.ENOBUFS, interface="eth1")
        with pytest.raises(RefusedError, match="eth1"):
            await receiver.filters.apply(wanted)
        assert set(held(one) + held(other)) == {SourceFilter.include({A})}
        await receiver.filters.apply(wanted)
        assert set(held(one)) == {SourceFilter.include({A, B})}
        assert set(held(other)) == {SourceFilter.any()}


async def test_a_list_beyond_the_limit_warns_once(net: MemoryNetwork) -> None:
    async with listen(GROUP, PORT, interface=LINKS, network=net) as feed:
        with pytest.warns(RuntimeWarning, match="in user space") as warned:
            await feed.swap(SourceFilter.exclude(MANY))
        assert len(warned) == 1


async def test_what_is_queued_of_any_interface_does_not_leak(net: MemoryNetwork) -> None:
    async with listen(GROUP, PORT, sources=MANY, interface=LINKS, network=net) as feed:
        packets = feed.packets()
        send(net, A, b"old")
        send(net, B, b"kept")
        await net.settle()
        assert len(packets) == 4
        await feed.swap({B})
        assert sorted(payloads(await take(packets, 2))) == [b"kepteth0", b"kepteth1"]
        assert feed.statistics().filtered == 2


async def test_a_change_of_mode_goes_on_everywhere_when_the_reading_does(net: MemoryNetwork) -> None:
    """What waits in replaced sockets while all reading stands still is not forgotten on any interface."""
    async with Receiver(network=net, capacity=2) as receiver:
        feed = await receiver.join(GROUP, PORT, sources={A}, interface=LINKS)
        packets = receiver.packets()
        send(net, A, b"1", b"2")
        await net.settle()
        assert len(packets) == 4, "it is full, and all reading stands still"
        send(net, A, b"3")
        await feed.swap(SourceFilter.any())
        send(net, A, b"4")
        await net.run_for(1)  # no timer is left
        assert not is_settled(feed)
        await take(packets, 4)
        await net.run_for(1)
        assert sorted(payloads(await take(packets, 4))) == [b"3eth0", b"3eth1", b"4eth0", b"4eth1"]
        await net.run_for(1)
        assert is_settled(feed)


async def test_the_kernels_filter_is_what_every_interface_lets_in(net: MemoryNetwork) -> None:
    async with listen(GROUP, PORT, sources={A, B}, interface=LINKS, network=net) as feed:
        assert feed.kernel_filter() == feed.filter
        readers_of(feed)[1].sock.set_filter({B})  # as a kernel that has forgotten
        assert feed.kernel_filter() == SourceFilter.include({B})


# Which fail


async def test_one_failing_interface_does_not_end_the_iteration(net: MemoryNetwork) -> None:
    listener = listen(GROUP, PORT, interface=LINKS, network=net)
    async with listener as feed:
        packets, events = feed.packets(), listener.receiver.events()
        net.host.fail(GROUP, PORT, OSError(errno.ENETDOWN, "down"), interface="eth1")
        await net.settle()
        assert happened(events) == [(EventKind.FAILED, "eth1")]
        send(net, A, b"1", links=("eth0",))
        assert payloads(await take(packets, 1)) == [b"1eth0"]
        net.host.fail(GROUP, PORT, OSError(errno.ENETDOWN, "down"), interface="eth0")
        await net.settle()
        with pytest.raises(RefusedError, match="eth0") as caught:
            await anext(packets)
        assert caught.value.errno == errno.ENETDOWN
        assert happened(events) == [(EventKind.FAILED, "eth0")]


async def test_an_interface_that_receives_again_is_alive_again(net: MemoryNetwork) -> None:
    async with listen(GROUP, PORT, interface=LINKS, network=net) as feed:
        packets = feed.packets()
        for failing, other in (LINKS, reversed(LINKS), LINKS):
            net.host.fail(GROUP, PORT, OSError(errno.ENETDOWN, "down"), interface=failing)
            await net.settle()
            send(net, A, b"1")
            assert set(payloads(await take(packets, 2))) == {b"1eth0", b"1eth1"}, other


async def test_drops_are_told_for_each_interface() -> None:
    net = MemoryNetwork(receive_buffer=600)
    net.host.add_interface("eth1", "198.51.100.1")
    listener = listen(GROUP, PORT, interface=LINKS, network=net)
    async with listener as feed:
        events = listener.receiver.events()
        send(net, A, b"1", b"2", b"3", b"4", links=("eth1",))
        send(net, A, b"1", b"2", b"3", links=("eth0",))
        async with feed.packets():
            await net.settle()
            feed.statistics()
            await net.settle()
        told: list[Event] = [events.receive_nowait() for _ in range(len(events))]
        assert sorted((event.interface, event.count) for event in told) == [("eth0", 1), ("eth1", 2)]


# All interfaces


async def test_all_interfaces_are_joined(net: MemoryNetwork) -> None:
    async with listen(GROUP, PORT, sources={A}, interface=ALL_INTERFACES, network=net) as feed:
        assert feed.interfaces == net.host.interfaces
        send(net, A, b"1")
        assert sorted(payloads(await take(aiter(feed), 2))) == [b"1eth0", b"1eth1"]


async def test_of_all_interfaces_one_that_refuses_is_left_out_and_told_of(net: MemoryNetwork) -> None:
    async with Receiver(network=net) as receiver:
        events = receiver.events()
        net.refuse("join", errno.ENOMEM, interface="eth0")
        feed = await receiver.join(GROUP, PORT, interface=ALL_INTERFACES)
        assert feed.interfaces == (net.find("eth1"),)
        joined, failed = [events.receive_nowait() for _ in range(2)]
        assert (joined.kind, joined.interface, joined.membership) == (EventKind.JOINED, "eth1", feed)
        assert (failed.kind, failed.interface, failed.membership) == (EventKind.FAILED, "eth0", feed)
        assert "eth0" in str(failed)
        await feed.refresh()
        assert feed.interfaces == net.host.interfaces
        assert happened(events) == [(EventKind.JOINED, "eth0"), (EventKind.REFRESHED, "eth1")]


async def test_where_all_refuse_it_is_the_error(net: MemoryNetwork) -> None:
    async with Receiver(network=net) as receiver:
        events = receiver.events()
        net.refuse("join", errno.ENOMEM, 2)
        with pytest.raises(RefusedError, match="eth0"):
            await receiver.join(GROUP, PORT, interface=ALL_INTERFACES)
        assert (receiver.memberships, happened(events)) == ((), [])
        for link in LINKS:
            net.host.remove_interface(link)
        with pytest.raises(InterfaceError, match="no interface"):
            await receiver.join(GROUP, PORT, interface=ALL_INTERFACES)


async def test_refresh_joins_what_has_come_and_leaves_what_has_gone(net: MemoryNetwork) -> None:
    listener = listen(GROUP, PORT, sources=MANY, interface=ALL_INTERFACES, network=net)
    async with listener as feed:
        packets, events = feed.packets(), listener.receiver.events()
        send(net, A, b"before")
        await net.settle()
        assert len(packets) == 2
        net.host.add_interface("eth2", "203.0.113.1")
        net.host.remove_interface("eth1")
        await feed.refresh()
        assert [one.name for one in feed.interfaces] == ["eth0", "eth2"]
        assert happened(events) == [
            (EventKind.JOINED, "eth2"),
            (EventKind.LEFT, "eth1"),
            (EventKind.REFRESHED, "eth0"),
        ]
        assert len(readers_of(feed)) == 2 * 4, "the sockets of the one that went are closed"
        send(net, A, b"after", links=("eth0", "eth1", "eth2"))
        assert sorted(payloads(await take(packets, 4))) == [
            b"aftereth0", b"aftereth2", b"beforeeth0", b"beforeeth1",
        ]  # fmt: skip
        counted = feed.statistics()
        assert (counted.received, counted.queued) == (4, 0)
        await feed.swap({B})
        assert happened(events) == [(EventKind.SWAPPED, None)]
        assert held(feed) == [SourceFilter.include({B})] * 2
    assert (listener.receiver.statistics().received, happened(events)) == (4, [(EventKind.LEFT, None)])


async def test_what_waits_at_an_interface_that_goes_is_delivered(net: MemoryNetwork) -> None:
    async with listen(GROUP, PORT, interface=ALL_INTERFACES, network=net) as feed:
        async with feed.packets() as packets:
            send(net, A, b"unread", links=("eth1",))
            net.host.remove_interface("eth1")
            await feed.refresh()
            assert payloads(await take(packets, 1)) == [b"unreadeth1"]
        assert feed.statistics().received == 1


async def test_what_is_queued_of_an_interface_that_went_does_not_leak(net: MemoryNetwork) -> None:
    async with listen(GROUP, PORT, interface=ALL_INTERFACES, network=net) as feed:
        packets = feed.packets()
        send(net, A, b"old", links=("eth1",))
        await net.settle()
        net.host.remove_interface("eth1")
        await feed.refresh()
        await feed.swap(SourceFilter.exclude({A}))
        send(net, B, b"new", links=("eth0",))
        assert payloads(await take(packets, 1)) == [b"neweth0"]
        assert feed.statistics().filtered == 1


async def test_of_very_many_interfaces_that_came_and_went_only_what_is_queued_is_known(
    net: MemoryNetwork,
) -> None:
    most = bounds.INTERFACES_LEFT
    async with Receiver(network=net) as receiver:
        feed = await receiver.join(GROUP, PORT, interface=ALL_INTERFACES)
        packets = receiver.packets()
        for number in range(3 * most):
            net.host.add_interface("tun0", "203.0.113.1")
            await feed.refresh()
            if number < 2:
                send(net, A, b"old", links=("tun0",))
                send(net, B, b"old", links=("tun0",))
                await net.settle()
            net.host.remove_interface("tun0")
            await feed.refresh()
        assert len(feed._outlet.keys) <= most + 2 + len(LINKS)
        assert len(receiver._keeper.known) == len(receiver._dispatcher._outlets) == len(feed._outlet.keys)
        await feed.swap({B})  # lets through of what is queued what it allows
        got = await take(packets, 2)
        assert {(packet.source, receiver.membership_of(packet)) for packet in got} == {(B, feed)}
        assert feed.statistics().filtered == 2
        for _ in range(most):
            net.host.add_interface("tun0", "203.0.113.1")
            await feed.refresh()
            net.host.remove_interface("tun0")
            await feed.refresh()
        assert [receiver.membership_of(packet) for packet in got] == [None, None]


async def test_what_another_has_joined_since_is_not_taken_from_it(net: MemoryNetwork) -> None:
    async with Receiver(network=net) as receiver:
        feed = await receiver.join(GROUP, PORT, interface=ALL_INTERFACES)
        feed._presence.follow([net.find("eth0")])  # as where it is set down for a while
        other = await receiver.join(GROUP, PORT, interface="eth1")
        packets = receiver.packets()
        send(net, A, b"1", links=("eth1",))
        await net.settle()
        await feed.swap({B})
        (got,) = await take(packets, 1)
        assert (got.source, receiver.membership_of(got)) == (A, other)


async def test_an_interface_that_comes_takes_nothing_from_what_is_queued(net: MemoryNetwork) -> None:
    async with listen(GROUP, PORT, interface=ALL_INTERFACES, network=net) as feed:
        packets = feed.packets()
        send(net, A, b"spared", links=("eth0",))
        await feed.swap({B}, "deliver")
        await net.settle()
        net.host.add_interface("eth2", "203.0.113.1")
        await feed.refresh()
        assert payloads(await take(packets, 1)) == [b"sparedeth0"]


async def test_an_interface_made_anew_is_joined_again(net: MemoryNetwork) -> None:
    for several in (ALL_INTERFACES, LINKS):
        async with Receiver(network=net) as receiver:
            feed = await receiver.join(GROUP, PORT, interface=several)
            events, packets = receiver.events(), receiver.packets()
            before = net.find("eth1").index
            send(net, A, b"old", links=("eth1",))
            (old,) = await take(packets, 1)
            net.host.remove_interface("eth1")
            net.host.add_interface("eth1", "198.51.100.1")
            await feed.refresh()
            assert sorted(happened(events), key=str) == [
                (EventKind.REFRESHED, "eth0"), (EventKind.REFRESHED, "eth1"),
            ]  # fmt: skip
            send(net, A, b"new", links=("eth1",))
            (new,) = await take(packets, 1)
            assert (new.data, new.interface_index) == (b"neweth1", net.find("eth1").index)
            assert old.interface_index == before != new.interface_index
            assert receiver.membership_of(old) is receiver.membership_of(new) is feed
            await feed.leave()
            assert receiver.membership_of(old) is receiver.membership_of(new) is None


async def test_refresh_finds_what_another_membership_has(net: MemoryNetwork) -> None:
    async with Receiver(network=net) as receiver:
        feed = await receiver.join(GROUP, PORT, interface=ALL_INTERFACES)
        net.host.add_interface("eth2", "203.0.113.1")
        other = await receiver.join(GROUP, PORT, interface="eth2")
        events = receiver.events()
        await feed.refresh()
        assert [one.name for one in feed.interfaces] == list(LINKS)
        first = events.receive_nowait()
        assert (first.kind, first.interface, type(first.error)) == (EventKind.FAILED, "eth2", StateError)
        await other.leave()
        await feed.refresh()
        assert [one.name for one in feed.interfaces] == [*LINKS, "eth2"]


async def test_without_any_interface_left_a_membership_stays_as_it_is(net: MemoryNetwork) -> None:
    for several in (ALL_INTERFACES, LINKS):
        async with Receiver(network=net) as receiver:
            feed = await receiver.join(GROUP, PORT, sources={A}, interface=several)
            for link in LINKS:
                net.host.remove_interface(link)
            events = receiver.events()
            with pytest.raises(InterfaceError):
                await feed.refresh()
            assert ([one.name for one in feed.interfaces], happened(events)) == ([*LINKS], [])
            for link in LINKS:
                net.host.add_interface(link, "198.51.100.1")
            await feed.refresh()
            packets = feed.packets()
            send(net, A, b"1")
            assert sorted(payloads(await take(packets, 2))) == [b"1eth0", b"1eth1"]


# A list of which one is gone


async def test_a_swap_names_the_interface_that_is_gone_and_refresh_goes_on_without(
    net: MemoryNetwork,
) -> None:
    async with Receiver(network=net, heal=False) as receiver:
        feed = await receiver.join(GROUP, PORT, sources={A}, interface=LINKS)
        packets, events = feed.packets(), receiver.events()
        net.host.remove_interface("eth1")
        with pytest.raises(InterfaceGoneError, match="eth1"):
            await feed.swap({B})
        assert set(held(feed)) == {SourceFilter.include({A})}
        await feed.refresh()
        gone, refreshed = [events.receive_nowait() for _ in range(2)]
        assert (gone.kind, gone.interface, type(gone.error)) == (EventKind.FAILED, "eth1", InterfaceGoneError)
        assert (refreshed.kind, refreshed.interface) == (EventKind.REFRESHED, "eth0")
        await feed.swap({B})
        send(net, B, b"1", links=("eth0",))
        assert payloads(await take(packets, 1)) == [b"1eth0"]
        net.host.add_interface("eth1", "198.51.100.1")
        net.host.add_interface("eth2", "203.0.113.1")  # not asked for
        await feed.refresh()
        assert [one.name for one in feed.interfaces] == list(LINKS)
        assert (EventKind.JOINED, "eth1") in happened(events)
        send(net, B, b"2", links=("eth0", "eth1", "eth2"))
        assert sorted(payloads(await take(packets, 2))) == [b"2eth0", b"2eth1"]


async def test_a_refresh_that_one_interface_refuses_is_done_on_the_others(net: MemoryNetwork) -> None:
    async with Receiver(network=net) as receiver:
        feed = await receiver.join(GROUP, PORT, interface=LINKS)
        events = receiver.events()
        net.refuse("leave", errno.EPERM, interface="eth0")
        await feed.refresh()
        assert happened(events) == [(EventKind.REFRESHED, "eth1"), (EventKind.FAILED, "eth0")]
        net.refuse("leave", errno.EPERM, 2)
        with pytest.raises(RefusedError, match="eth0"):
            await feed.refresh()
        assert set(held(feed)) == {SourceFilter.any()}


async def test_whoever_watches_hands_over_all_interfaces_there_are(net: MemoryNetwork) -> None:
    async with Receiver(network=net) as receiver:
        listed = await receiver.join(GROUP, PORT, interface=LINKS)
        of_all = await receiver.join(GROUP, PORT + 1, interface=ALL_INTERFACES)
        events = receiver.events()
        net.host.remove_interface("eth1")
        net.host.add_interface("eth2", "203.0.113.1")
        for feed in (listed, of_all):
            feed._presence.tell_followed(feed._presence.follow(net.host.interfaces))
        assert [one.name for one in listed.interfaces] == ["eth0"]
        assert [one.name for one in of_all.interfaces] == ["eth0", "eth2"]
        assert happened(events) == [
            (EventKind.FAILED, "eth1"),
            (EventKind.JOINED, "eth2"),
            (EventKind.LEFT, "eth1"),
        ]
        listed._presence.tell_followed(listed._presence.follow(net.host.interfaces))
        assert happened(events) == []
        with pytest.raises(InterfaceGoneError, match="eth0"):
            listed._presence.tell_followed(listed._presence.follow([net.find("eth2")]))
        assert [one.name for one in listed.interfaces] == ["eth0"]


# Ports and sockets


async def test_the_system_chooses_one_port_for_all(net: MemoryNetwork) -> None:
    async with Receiver(network=net) as receiver:
        feed = await receiver.join(GROUP, 0, sources={A}, interface=LINKS)
        other = await receiver.join(GROUP, 0, sources={A}, interface=LINKS)
        assert PORT < feed.port != other.port > PORT
        await feed.swap(SourceFilter.any())  # new sockets
        await feed.swap(MANY)
        assert {reader.sock.port for reader in readers_of(feed)} == {feed.port}
        packets = receiver.packets()
        for link in LINKS:
            net.send(A, GROUP, feed.port, b"1", link=link)
        await net.settle()
        got = await take(packets, 2)
        assert {(packet.port, receiver.membership_of(packet)) for packet in got} == {(feed.port, feed)}
        with pytest.raises(StateError):
            await receiver.join(GROUP, feed.port, interface="eth1")


async def test_one_socket_cannot_be_adopted_for_several_interfaces(net: MemoryNetwork) -> None:
    async with Receiver(network=net) as receiver:
        for several in (LINKS, ALL_INTERFACES):
            with pytest.raises(ArgumentError, match="several interfaces"):
                await receiver.join(GROUP, PORT, interface=several, sock=0)
        with pytest.raises(UnsupportedError):
            await receiver.join(GROUP, PORT, sock=0)
        assert receiver.memberships == ()
