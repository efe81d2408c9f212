"""What becomes of memberships by what devices know, in a namespace of its own: no switch, no traffic."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from aiomcast import (
    ALL_INTERFACES,
    Event,
    EventKind,
    EventStream,
    Membership,
    NoRouteError,
    Receiver,
    RefusedError,
    SourceFilter,
    open_socket,
)
from aiomcast.receiving import turns
from aiomcast.system.announcements import Announcements
from aiomcast.system.device_groups import device_groups
from aiomcast.values.links import Announcement, DeviceGroup
from tests.support.loops import LOOPS, NewLoop
from tests.support.sandbox import apart, needs_seccomp, without_sockets_of

from .place import Place

GROUPS = ("239.1.1.1", "ff1e::1:1")
SOON = 5


@pytest.fixture
def place() -> Iterator[Place]:
    """A host with a cable, v0 here and p0 at its other end."""
    with Place() as made:
        made.cable("v0", "p0", "192.0.2.1/24")
        yield made


async def joined(receiver: Receiver, port: int = 5000) -> list[Membership]:
    """Join a group of each family on v0."""
    return [await receiver.join(group, port, interface="v0") for group in GROUPS]


async def until(events: EventStream, kind: EventKind, count: int = 1) -> list[Event]:
    """Return the next `count` events of this kind; what else happens meanwhile does not count."""
    found: list[Event] = []
    async with asyncio.timeout(SOON):
        while len(found) < count:
            event = await events.receive()
            if event.kind is kind:
                found.append(event)
    return found


def are_on(feeds: list[Membership], name: str) -> bool:
    return all(feed.on_device() == {name: True} for feed in feeds)


def make_anew(place: Place, index: int | None, name: str = "v0") -> None:
    """Delete the interface and make one of its name, with this index (None: another)."""
    numbered = "" if index is None else f" index {index}"
    place.ip(
        f"link del {name}",
        f"link add {name}{numbered} type veth peer name p0",
        "link set p0 up",
        f"link set {name} up",
        f"addr add 192.0.2.1/24 dev {name}",
    )


@pytest.mark.parametrize("is_same_index", [True, False])
async def test_many_memberships_leave_others_their_turn_while_they_are_mended(
    place: Place, is_same_index: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "_TURN", 0.0)  # however fast this machine is
    async with Receiver() as receiver:
        feeds = [await receiver.join(f"239.2.{n % 2}.{n // 2}", 5000, interface="v0") for n in range(200)]
        events = receiver.events()
        seen: set[int] = set()

        async def see() -> None:
            while len(events) < 2 * len(feeds):
                seen.add(len(events))
                await asyncio.sleep(0)

        async with asyncio.timeout(SOON):
            changed = asyncio.to_thread(make_anew, place, feeds[0].interface.index if is_same_index else None)
            await asyncio.gather(changed, see())
        assert are_on(feeds, "v0")
        assert len(seen) > 10, "more than before, while all were lost, and once all were healed"


async def test_many_interfaces_that_come_at_once_leave_others_their_turn(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "_TURN", 0.0)
    count = 40
    async with Receiver() as receiver:
        feeds = [await receiver.join(GROUPS[0], port, interface=ALL_INTERFACES) for port in range(5000, 5004)]
        place.batch(*(f"link add a{n} type veth peer name b{n}" for n in range(count)))
        place.batch(*(f"link set {end}{n} up" for n in range(count) for end in "ab"))
        seen: set[int] = set()
        async with asyncio.timeout(SOON):
            while any(len(feed.interfaces) < 1 + 2 * count for feed in feeds):
                seen.add(sum(len(feed.interfaces) for feed in feeds))
                await asyncio.sleep(0)
        assert len(seen) > 10, "more than there are reads of what was announced"
        assert all(set(feed.on_device().values()) == {True} for feed in feeds)


@pytest.mark.parametrize("is_same_index", [True, False])
async def test_all_receivers_of_a_thread_mend_their_ghosts_together(
    place: Place, is_same_index: bool
) -> None:
    async with Receiver() as one, Receiver() as other:
        feeds = await joined(one) + await joined(other, 5001)
        listed = await other.join(GROUPS[0], 5002, sources=["192.0.2.9"], interface="v0")
        events = (one.events(), other.events())
        index = feeds[0].interface.index
        make_anew(place, index if is_same_index else None)
        await until(events[0], EventKind.HEALED, 2)
        await until(events[1], EventKind.HEALED, 3)
        assert are_on([*feeds, listed], "v0")
        assert (feeds[0].interface.index == index) is is_same_index
        for feed in (listed, *feeds):  # what one of them leaves is still joined for the others
            assert are_on(feeds[feeds.index(feed) if feed in feeds else 0 :], "v0")
            await feed.leave()


async def test_a_ghost_can_be_swapped_and_left_like_any_other(place: Place) -> None:
    async with Receiver() as receiver:
        many = [f"198.51.100.{number}" for number in range(30)]
        feed = await receiver.join(GROUPS[0], 5000, sources=many, interface="v0")
        other = await receiver.join(GROUPS[0], 5001, interface="v0")
        events = receiver.events()
        make_anew(place, feed.interface.index)
        await until(events, EventKind.HEALED, 2)
        assert feed.kernel_filter() == SourceFilter.include(many)
        for wanted in (SourceFilter.include(many[5:]), SourceFilter.any(), SourceFilter.include(many[:25])):
            await feed.swap(wanted)
            assert feed.kernel_filter() == wanted
        await feed.leave()
        assert are_on([other], "v0")


MANY = {"239.1.1.1": "198.51.100.{}", "ff1e::1:1": "2001:db8::{}"}


@pytest.mark.parametrize("is_same_index", [True, False])
@pytest.mark.parametrize("is_heard", [True, False])
@pytest.mark.parametrize("group", GROUPS, ids=["ipv4", "ipv6"])
async def test_a_swap_while_the_interface_is_gone_holds_once_it_is_back(
    place: Place, group: str, is_heard: bool, is_same_index: bool
) -> None:
    listed = [MANY[group].format(number) for number in range(1, 31)]
    filters = (
        SourceFilter.include(listed[:1]),
        SourceFilter.include(listed),
        SourceFilter.any(),
        SourceFilter.include(listed[5:]),
        SourceFilter.exclude(listed[:3]),
        SourceFilter.none(),
        SourceFilter.include(listed[7:9]),
    )
    async with Receiver() as receiver:
        feed = await receiver.join(group, 5000, sources=listed[2:4], interface="v0")
        other = await receiver.join(group, 5001, sources=listed[:2], interface="v0")
        events = receiver.events()
        for wanted in filters:
            index = feed.interface.index
            again = f"link add v0{f' index {index}' * is_same_index} type veth peer name p0"
            place.ip("link del v0")
            if is_heard:
                await until(events, EventKind.LOST)
            await feed.swap(wanted)
            assert feed.filter == wanted
            place.ip(again, "link set p0 up", "link set v0 up")
            async with asyncio.timeout(SOON):
                while feed.kernel_filter() != wanted or not are_on([other], "v0"):
                    await asyncio.sleep(0.01)
            assert are_on([feed], "v0")
            assert other.kernel_filter() == other.filter


async def test_a_swap_of_a_ghost_holds_once_it_is_mended(place: Place) -> None:
    async with Receiver() as receiver:
        feeds = await joined(receiver)
        wanted = [SourceFilter.exclude([MANY[group].format(9)]) for group in GROUPS]
        make_anew(place, feeds[0].interface.index)
        await receiver.filters.apply(dict(zip(feeds, wanted, strict=True)))  # nobody has heard of it yet
        async with asyncio.timeout(SOON):
            while not are_on(feeds, "v0"):
                await asyncio.sleep(0.01)
        assert [feed.kernel_filter() for feed in feeds] == [feed.filter for feed in feeds] == wanted


async def test_a_swap_while_ipv6_has_no_room_holds_once_it_has(place: Place) -> None:
    async with Receiver() as receiver:
        (_, feed) = await joined(receiver)
        events = receiver.events()
        place.ip("link set v0 mtu 1000")
        await until(events, EventKind.LOST)
        wanted = SourceFilter.include([MANY[GROUPS[1]].format(1)])
        await feed.swap(wanted)
        assert feed.on_device() == {"v0": False}
        place.ip("link set v0 mtu 1500")
        await until(events, EventKind.HEALED)
        assert are_on([feed], "v0")
        assert feed.kernel_filter() == feed.filter == wanted


@pytest.mark.parametrize("by_hand", [True, False])
async def test_what_another_program_has_joined_by_then_is_joined_again_here(
    place: Place, by_hand: bool
) -> None:
    async with Receiver() as receiver:
        (_, feed) = await joined(receiver)
        events = receiver.events()
        place.ip("link set v0 mtu 1000")
        await until(events, EventKind.LOST)
        wanted = SourceFilter.include([MANY[GROUPS[1]].format(1)])
        await feed.swap(wanted)
        place.ip("link set v0 mtu 1500")
        with open_socket(GROUPS[1], 5001, "v0") as other:
            other.set_filter(None)
            if by_hand:
                await feed.refresh()
            else:
                await until(events, EventKind.HEALED)
            assert feed.kernel_filter() == feed.filter == wanted


async def test_a_swap_finds_out_what_nobody_has_told(place: Place) -> None:
    ghost = open_socket(GROUPS[0], 5001, "v0")
    ghost.set_filter(None)
    make_anew(place, ghost.interface.index)
    async with Receiver() as receiver:
        (feed, _) = await joined(receiver)
        ghost.close()  # another program's, that takes the group from the device
        assert feed.on_device() == {"v0": False}
        wanted = SourceFilter.exclude([MANY[GROUPS[0]].format(1)])
        await feed.swap(wanted)
        async with asyncio.timeout(SOON):
            while not are_on([feed], "v0"):
                await asyncio.sleep(0.01)
        assert feed.kernel_filter() == feed.filter == wanted


async def test_names_go_with_their_interfaces(place: Place) -> None:
    place.cable("v1", "p1")
    async with Receiver() as receiver:
        feeds = {
            name: await receiver.join(GROUPS[0], 5000, interface=name, sources=["192.0.2.9"])
            for name in ("v0", "v1")
        }
        indexes = {name: feed.interface.index for name, feed in feeds.items()}
        events = receiver.events()
        place.batch("link set v0 name x", "link set v1 name v0", "link set x name v1")
        await until(events, EventKind.RENAMED, 2)
        # the last of several renamings in one batch is what counts
        async with asyncio.timeout(SOON):
            while [feed.interface.name for feed in feeds.values()] != ["v1", "v0"]:
                await events.receive()
        await receiver.refresh()
        assert {name: feed.interface.index for name, feed in feeds.items()} == indexes
        assert [feed.interface.name for feed in feeds.values()] == ["v1", "v0"]


async def test_an_index_that_another_interface_has_next_is_not_joined_on(place: Place) -> None:
    place.cable("v1", "p1")
    async with Receiver() as receiver, Receiver() as second:
        feeds = await joined(receiver)
        others = [await second.join(group, 5002, interface="v0") for group in GROUPS]
        lists = [await receiver.join(group, 5001, interface=["v0", "v1"]) for group in GROUPS]
        index = feeds[0].interface.index
        events, told = receiver.events(), second.events()
        place.ip("link del v0")
        await until(events, EventKind.LOST, 4)
        place.ip(f"link add w0 index {index} type veth peer name q0", "link set q0 up", "link set w0 up")
        async with asyncio.timeout(SOON):
            while any(feed.interface.index == index for feed in feeds):  # until it was heard
                await asyncio.sleep(0.01)
            there = await receiver.join(GROUPS[0], 5000, interface="w0")  # nobody is there
            while DeviceGroup(index, GROUPS[1]) in device_groups(6) or not are_on([there], "w0"):
                await asyncio.sleep(0.01)
        assert [feed.interface.name for feed in feeds] == ["v0", "v0"]
        for feed in (*feeds, *others):
            assert feed.on_device() == {"v0": False}
            await feed.swap(SourceFilter.any())
        for feed in lists:
            assert feed.on_device() == {"v0": False, "v1": True}
        place.cable("v0", "p0")
        await until(events, EventKind.HEALED, 4)
        await until(told, EventKind.HEALED, 2)
        assert are_on([*feeds, *others], "v0")
        assert are_on([there], "w0")
        assert all(feed.on_device() == {"v0": True, "v1": True} for feed in lists)
        assert all(feed.kernel_filter() == SourceFilter.any() for feed in (*feeds, *others, *lists))


async def test_an_alternative_name_is_followed_to_what_has_it_next(place: Place) -> None:
    altname = "a-name-that-stays-with-the-card"
    place.cable("v1", "p1")
    place.ip(f"link property add dev v0 altname {altname}")
    async with Receiver() as receiver:
        feed = await receiver.join(GROUPS[0], 5000, interface=altname)
        both = await receiver.join(GROUPS[0], 5001, interface=[altname, "v1"])
        events = receiver.events()
        place.ip("link del v0")
        await until(events, EventKind.LOST, 2)
        place.ip("link add w0 type veth peer name p0", f"link property add dev w0 altname {altname}")
        place.ip("link set p0 up", "link set w0 up")
        healed = await until(events, EventKind.HEALED, 2)
        assert {event.interface for event in healed} == {"w0"}
        assert are_on([feed], "w0")
        assert both.on_device() == {"w0": True, "v1": True}
        place.ip("link del w0")
        await until(events, EventKind.LOST, 2)
        place.cable("w0", "p0")  # by the name that it had last, without the other
        await until(events, EventKind.HEALED, 2)
        assert are_on([feed], "w0")


def listening() -> int:
    """Return how many netlink sockets this process has."""
    count = 0
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # that of the list itself
            if os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):
                with socket.socket(fileno=os.dup(int(name))) as found:
                    count += found.family == socket.AF_NETLINK
    return count


async def test_receivers_of_one_loop_are_told_by_one_socket(place: Place) -> None:
    before = listening()
    async with Receiver() as one:
        (feed, _) = await joined(one)
        assert listening() == before + 1
        async with Receiver() as other:
            await joined(other, 5001)
            assert listening() == before + 1
        events = one.events()
        place.ip("link set v0 name w0")
        await until(events, EventKind.RENAMED)
        assert feed.interface.name == "w0"
    assert listening() == before


async def test_what_is_refused_while_it_listens_is_made_up_for(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Receiver() as receiver:
        (feed, _) = await joined(receiver)
        events = receiver.events()
        broken = Announcements.read

        def read(self: Announcements) -> list[Announcement]:
            monkeypatch.setattr(Announcements, "read", broken)
            raise RefusedError(errno.ENOMEM, "reading announcements of interfaces")

        monkeypatch.setattr(Announcements, "read", read)
        place.ip("link set v0 name w0")
        await until(events, EventKind.RENAMED, 2)
        place.ip("link set w0 name v0")  # it listens again
        await until(events, EventKind.RENAMED, 2)
        assert are_on([feed], "v0")


async def test_after_an_overrun_what_is_there_counts(place: Place) -> None:
    async with Receiver() as receiver:
        (feed, _) = await joined(receiver)
        events = receiver.events()
        # The loop does not turn meanwhile: more is announced than there is room for.
        changes = [f"link set v0 mtu {1400 + number % 50}" for number in range(3000)]
        place.batch(
            "link set v0 down", "link set v0 name x", "link set x name v0", "link set v0 up", *changes
        )
        place.ip("link set p0 down")
        place.batch("link set v0 down", "link set v0 name w0", "link set w0 up")
        place.ip("link set p0 up")
        async with asyncio.timeout(SOON):
            while feed.interface.name != "w0":
                await events.receive()
        make_anew(place, None, "w0")
        await until(events, EventKind.HEALED)
        assert are_on([feed], "w0")


REMOTE = "203.0.113.9"


@pytest.fixture
def routed(place: Place) -> Place:
    """The remote source lies behind v0; there is a v1, too."""
    place.cable("v1", "p1", "198.51.100.1/24")
    place.ip("route add 203.0.113.0/24 via 192.0.2.2 dev v0")
    return place


async def test_a_membership_follows_its_route(routed: Place) -> None:
    async with Receiver() as receiver:
        feed = await receiver.join(GROUPS[0], 5000, sources=[REMOTE])
        named = await receiver.join(GROUPS[0], 5001, sources=[REMOTE], interface="v0")
        events = receiver.events()
        assert are_on([feed], "v0")
        routed.ip("route replace 203.0.113.0/24 via 198.51.100.2 dev v1")
        (moved,) = await until(events, EventKind.MOVED)
        assert (moved.interface, moved.membership, moved.cause) == ("v1", feed, "route")
        assert are_on([feed], "v1")
        assert are_on([named], "v0")
        routed.ip("route replace unreachable 203.0.113.0/24")  # nowhere: it stays where it is
        routed.ip("rule add to 203.0.113.0/24 lookup 7", "route add 203.0.113.0/24 dev v0 table 7")
        await until(events, EventKind.MOVED)
        assert are_on([feed], "v0")


async def test_a_swap_to_what_lies_elsewhere_moves_a_membership_that_follows_its_route(routed: Place) -> None:
    async with Receiver() as receiver:
        feed = await receiver.join(GROUPS[0], 5000, sources=[REMOTE])
        named = await receiver.join(GROUPS[0], 5001, sources=[REMOTE], interface="v0")
        events = receiver.events()
        await receiver.filters.apply({feed: ["198.51.100.9"], named: ["198.51.100.9"]})
        await until(events, EventKind.MOVED)
        assert are_on([feed], "v1")
        assert are_on([named], "v0")
        assert feed.kernel_filter() == SourceFilter.include(["198.51.100.9"])


async def test_a_join_waits_for_a_route(place: Place) -> None:
    async with Receiver() as receiver:
        with pytest.raises(NoRouteError):
            await receiver.join(GROUPS[0], 5000, sources=[REMOTE])
        waiting = asyncio.create_task(receiver.join(GROUPS[0], 5000, sources=[REMOTE], wait=True))
        await asyncio.sleep(0)
        place.ip("route add default via 192.0.2.2")
        assert are_on([await asyncio.wait_for(waiting, SOON)], "v0")


async def test_refresh_without_healing_goes_by_the_index(place: Place) -> None:
    place.cable("v1", "p1")
    async with Receiver(heal=False) as receiver:
        (feed, _) = await joined(receiver)
        index = feed.interface.index
        events = receiver.events()
        place.batch("link set v0 name x", "link set v1 name v0")
        await feed.refresh()
        assert (feed.interface.index, feed.interface.name) == (index, "x")
        assert [(await events.receive()).kind for _ in range(2)] == [EventKind.RENAMED, EventKind.REFRESHED]


async def test_refresh_mends_all_that_is_a_ghost_of_the_same_group(place: Place) -> None:
    async with Receiver(heal=False) as receiver:
        feed = await receiver.join(GROUPS[0], 5000, interface="v0")
        other = await receiver.join(GROUPS[0], 5001, interface="v0")
        make_anew(place, feed.interface.index)
        assert feed.on_device() == other.on_device() == {"v0": False}
        assert feed.kernel_filter() == SourceFilter.any()  # what the socket believes
        await feed.refresh()
        await feed.leave()
        assert are_on([other], "v0")


async def test_ipv6_is_lost_with_a_small_mtu_and_comes_back_with_it(place: Place) -> None:
    async with Receiver() as receiver:
        feeds = await joined(receiver)
        events = receiver.events()
        place.ip("link set v0 mtu 1000")
        (lost,) = await until(events, EventKind.LOST)
        assert (lost.group, lost.cause) == (GROUPS[1], "device")
        assert lost.error is not None
        assert [feed.on_device() for feed in feeds] == [{"v0": True}, {"v0": False}]
        place.ip("link set v0 mtu 1500")
        (healed,) = await until(events, EventKind.HEALED)
        assert (healed.group, healed.cause) == (GROUPS[1], "device")
        assert are_on(feeds, "v0")


@needs_seccomp
@pytest.mark.parametrize("new_loop", LOOPS.values(), ids=LOOPS)
def test_without_netlink_interfaces_are_looked_at_once_a_second(place: Place, new_loop: NewLoop) -> None:
    async def watched() -> None:
        async with Receiver() as receiver:
            feeds = await joined(receiver)
            events = receiver.events()
            await asyncio.wrap_future(outside.submit(make_anew, place, None))
            await until(events, EventKind.HEALED, 2)
            assert are_on(feeds, "v0")

    def work() -> None:
        without_sockets_of(socket.AF_NETLINK)
        with asyncio.Runner(loop_factory=new_loop) as running:
            running.run(watched())

    with ThreadPoolExecutor(1) as outside:
        outside.submit(int).result()  # its thread is there before, and may do what that one may not
        apart(work)
