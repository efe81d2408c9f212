"""`Sender`: what it sends arrives as it was meant, and what cannot be meant is refused."""

import asyncio
import contextlib
import errno
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

import aiomcast
from aiomcast import (
    AddressError,
    ArgumentError,
    ArgumentTypeError,
    InterfaceError,
    RefusedError,
    Sender,
    StateError,
)
from aiomcast.endpoint.sender import _PER_TURN
from aiomcast.system.sharing import bind_alone
from tests.support.accounts import open_descriptors
from tests.support.interfaces import ipv6_way
from tests.support.packets import take
from tests.support.platforms import IS_WINDOWS, TAKEN, needs_datagram_pairs
from tests.support.seam import Faults, faults
from tests.support.sending import LO, A
from tests.support.waiting import turns

__all__ = ["faults"]


@pytest.mark.parametrize("ttl", [0, 1, 255])
async def test_what_is_sent(ttl: int, group: str) -> None:
    async with (
        aiomcast.listen(group, 5000, sources=[A], interface=LO, ancillary=["hop_limit"]) as feed,
        Sender(group, 5000, source=A, interface=LO, ttl=ttl) as sender,
    ):
        assert sender.source == A
        for data in (b"", b"text", bytes(65507)):
            await sender.send(data)
        packets = await take(aiter(feed), 3)
        assert [len(packet.data) for packet in packets] == [0, 4, 65507]
        assert {(packet.source, packet.hop_limit) for packet in packets} == {(A, ttl)}


@pytest.mark.parametrize("loop", [True, False])
async def test_loop_reaches_the_kernel(loop: bool, any_group: str, group6: str) -> None:
    """On lo the wire itself brings everything back, so the option is asked."""
    async with Sender(any_group, 5000, source=A, interface=LO, loop=loop) as sender:
        asked = sender._socket.getsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP)
        assert bool(asked) is loop is sender.loop
    interface, source = ipv6_way()
    async with Sender(group6, 5000, source=source, interface=interface, loop=loop) as sender:
        asked = sender._socket.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP)
        assert bool(asked) is loop


@pytest.mark.parametrize("source", ["127.0.0.1", A])
async def test_the_source_says_the_interface(source: str, group: str) -> None:
    async with Sender(group, 5000, source=source) as sender:
        assert sender.interface.index == LO
        assert sender.source == source


@pytest.mark.parametrize(
    ("arguments", "options", "error"),
    [
        (("192.0.2.1", 5000), {}, AddressError), (("nonsense", 5000), {}, AddressError),
        (("232.1.1.1", 0), {}, ArgumentError), (("232.1.1.1", "x"), {}, ArgumentError),
        (("232.1.1.1", 5000), {"ttl": 256}, ArgumentError), (("232.1.1.1", 5000), {"ttl": -1}, ArgumentError),
        (("232.1.1.1", 5000), {"ttl": True}, ArgumentError),
        (("232.1.1.1", 5000), {"source": "::1"}, AddressError),
        (("232.1.1.1", 5000), {"source": "224.0.0.1"}, AddressError),
        (("232.1.1.1", 5000), {"source": "198.51.100.1"}, RefusedError),
        (("232.1.1.1", 5000), {"interface": "nosuch0"}, InterfaceError),
        (("232.1.1.1", 5000), {"source_port": 65536}, ArgumentError),
        (("232.1.1.1", 5000), {"source_port": "7"}, ArgumentTypeError),
        (("232.1.1.1", 5000), {"loop": 1}, ArgumentTypeError),
        (("232.1.1.1", 5000), {"source": A, "foreign": 1}, ArgumentTypeError),
        (("232.1.1.1", 5000), {"heal": 1}, ArgumentTypeError),
    ],
)  # fmt: skip
async def test_wrong_arguments(
    # Any: wrong on purpose
    arguments: tuple[Any, Any],
    options: dict[str, Any],
    error: type[aiomcast.MulticastError],
) -> None:
    before = open_descriptors()
    with pytest.raises(error) as caught:
        Sender(*arguments, **{"interface": LO, **options})
    assert caught.value.hint
    assert open_descriptors() == before


async def test_too_long_a_datagram(group: str) -> None:
    async with Sender(group, 5000, source=A, interface=LO) as sender:
        with pytest.raises(RefusedError) as caught:
            await sender.send(bytes(65508))
        assert caught.value.errno == errno.EMSGSIZE
        assert "65508" in str(caught.value)
        await sender.send(b"short")


async def test_a_closed_sender(group: str) -> None:
    sender = Sender(group, 5000, source=A, interface=LO)
    await sender.aclose()
    await sender.aclose()
    for late in (
        lambda: sender.source, lambda: sender.source_port, lambda: sender.ttl, lambda: sender.loop,
        lambda: setattr(sender, "ttl", 2), lambda: setattr(sender, "loop", False),
    ):  # fmt: skip
        with pytest.raises(StateError) as caught:
            late()
        assert caught.value.hint
    with pytest.raises(StateError) as caught:
        await sender.send(b"late")
    assert caught.value.hint


async def test_a_refused_option_leaves_nothing_open(group: str, faults: Faults) -> None:
    await Sender(group, 5000, source=A, interface=LO, source_port=5000).aclose()
    calls = faults.stop()
    before = open_descriptors()
    for failing in range(1, calls + 1):
        faults.fail_at(failing, errno.EPERM)
        with pytest.raises(aiomcast.NoPermissionError):
            Sender(group, 5000, source=A, interface=LO, source_port=5000)
        assert open_descriptors() == before
    assert calls > (3 if IS_WINDOWS else 4)


async def test_a_refused_change_changes_nothing(any_group: str, faults: Faults) -> None:
    async with Sender(any_group, 5000, source=A, interface=LO, ttl=3) as sender:
        faults.fail(lambda call: True, errno.EPERM)
        with pytest.raises(aiomcast.NoPermissionError):
            sender.ttl = 4
        with pytest.raises(aiomcast.NoPermissionError):
            sender.loop = False
        faults.stop()
        assert (sender.ttl, sender.loop) == (3, True)


async def test_a_port_that_is_not_shared(any_group: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
        bind_alone(holder, (A, 0))
        with pytest.raises(RefusedError) as caught:
            Sender(any_group, 5000, source=A, interface=LO, source_port=holder.getsockname()[1])
    assert caught.value.errno == TAKEN
    assert ("for itself alone" if IS_WINDOWS else "SO_REUSEADDR") in caught.value.hint
    assert "join" not in caught.value.hint


async def test_many_senders_at_once(any_group: str) -> None:
    async with aiomcast.listen(any_group, 5000, interface=LO, receive_buffer=1 << 20) as feed:

        async def send(number: int) -> None:
            async with Sender(any_group, 5000, source=f"127.0.2.{number}", interface=LO) as sender:
                await sender.send(b"%d" % number)

        async with asyncio.TaskGroup() as tasks:
            for number in range(1, 101):
                tasks.create_task(send(number))
        packets = await take(aiter(feed), 100)
        assert {packet.source: packet.data for packet in packets} == {
            f"127.0.2.{number}": b"%d" % number for number in range(1, 101)
        }


async def test_ttl_and_loop_can_be_changed(any_group: str) -> None:
    async with (
        aiomcast.listen(any_group, 5000, interface=LO, ancillary=["hop_limit"]) as feed,
        Sender(any_group, 5000, source=A, interface=LO, ttl=3, loop=False) as sender,
    ):
        assert (sender.ttl, sender.loop) == (3, False)
        await sender.send(b"one")
        sender.ttl, sender.loop = 250, True
        assert (sender.ttl, sender.loop) == (250, True)
        await sender.send(b"two")
        assert [packet.hop_limit for packet in await take(aiter(feed), 2)] == [3, 250]
        for wrong in (-1, 256, True, "1"):
            with pytest.raises(ArgumentError):
                sender.ttl = wrong  # type: ignore[assignment]  # wrong on purpose
        with pytest.raises(ArgumentTypeError):
            sender.loop = 1  # type: ignore[assignment]  # wrong on purpose
        assert (sender.ttl, sender.loop) == (250, True)


async def test_the_source_port(any_group: str) -> None:
    async with (
        aiomcast.listen(any_group, 5000, interface=LO) as feed,
        Sender(any_group, 5000, source=A, interface=LO, source_port=5000) as one,
        Sender(any_group, 5000, source=A, interface=LO, source_port=5000) as other,
        Sender(any_group, 5000, source=A, interface=LO) as chosen,
    ):
        for sender in (one, other, chosen):
            await sender.send(b"x")
        ports = [packet.source_port for packet in await take(aiter(feed), 3)]
        assert ports == [5000, 5000, chosen.source_port] == [one.source_port, other.source_port, ports[2]]
        assert chosen.source_port not in (0, 5000)


async def test_sending_without_end_starves_nobody(any_group: str) -> None:
    async with Sender(any_group, 5000, source=A, interface=LO) as sender:
        turned = asyncio.Event()
        asyncio.get_running_loop().call_soon(turned.set)
        sent = 0
        while not turned.is_set() and sent < 1000:
            await sender.send(b"x")
            sent += 1
        assert 0 < sent < 1000


@pytest.mark.parametrize(
    ("number", "hint"),
    [(errno.EADDRNOTAVAIL, "address of this host"), (errno.ENETUNREACH, "set the interface up")],
)
async def test_hints_speak_of_senders(number: int, hint: str, any_group: str, faults: Faults) -> None:
    faults.fail_at(1, number)
    with pytest.raises(RefusedError) as caught:
        Sender(any_group, 5000, source=A, interface=LO)
    assert (caught.value.errno, hint in caught.value.hint) == (number, True)
    assert "join" not in caught.value.hint


# A full buffer. On lo the kernel takes whatever comes, so the sender has the end of a pair of sockets that
# takes no more than a few datagrams until they are read at the other.


class Full:
    """A sender that has sent until there was no more room, and the other end."""

    def __init__(self, sender: Sender) -> None:
        self.sender = sender
        self.end, self.other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.end.setblocking(False)
        self.other.setblocking(False)
        sender._socket.close()
        sender._socket = self.end
        self.before = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                self.end.send(b"before")
                self.before += 1

    async def read(self, count: int) -> list[bytes]:
        """Make room for `count` at the other end."""
        loop = asyncio.get_running_loop()
        return [await loop.sock_recv(self.other, 100) for _ in range(count)]


KINDS = ["a loop that watches", "a loop that does not"]


@pytest_asyncio.fixture(params=[pytest.param(kind, marks=needs_datagram_pairs) for kind in KINDS])
async def full(
    request: pytest.FixtureRequest, any_group: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Full]:
    """Give a full one, also on a loop that cannot tell when it may be written to, as Windows' default."""
    loop = asyncio.get_running_loop()
    if request.param == "a loop that does not":

        def unable(*arguments: object) -> None:
            raise NotImplementedError

        monkeypatch.setattr(loop, "add_writer", unable)
        monkeypatch.setattr(loop, "remove_writer", unable)
    async with Sender(any_group, 5000, source=A, interface=LO) as sender:
        made = Full(sender)
        yield made
        made.other.close()


async def test_all_who_wait_for_room_get_it_in_order(full: Full) -> None:
    tasks = [asyncio.create_task(full.sender.send(b"%d" % number)) for number in range(5)]
    await turns(20)
    assert not any(task.done() for task in tasks)
    async with asyncio.timeout(10):
        got = await full.read(full.before + 5)
        await asyncio.gather(*tasks)
    assert got[full.before :] == [b"%d" % number for number in range(5)]


async def test_nobody_overtakes_who_waits(full: Full) -> None:
    first = asyncio.create_task(full.sender.send(b"first"))
    await turns()
    full.other.recv(100)  # there is room now, and it is the first one's
    second = asyncio.create_task(full.sender.send(b"second"))
    async with asyncio.timeout(10):
        got = await full.read(full.before + 1)
        await asyncio.gather(first, second)
    assert got[-2:] == [b"first", b"second"]


async def test_who_lets_others_go_first_is_not_overtaken(any_group: str) -> None:
    async with (
        aiomcast.listen(any_group, 5000, interface=LO, receive_buffer=1 << 20) as feed,
        Sender(any_group, 5000, source=A, interface=LO) as sender,
    ):
        count = 3 * _PER_TURN
        async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
            for number in range(count):
                tasks.create_task(sender.send(b"%d" % number))
        packets = await take(aiter(feed), count)
        assert [packet.data for packet in packets] == [b"%d" % number for number in range(count)]


async def test_a_close_while_one_lets_others_go_first(full: Full) -> None:
    waits = asyncio.create_task(full.sender.send(b"waits"))
    await turns()
    full.sender._sent = _PER_TURN - 1
    lets = asyncio.create_task(full.sender.send(b"lets others"))
    await turns(1)
    await full.sender.aclose()
    async with asyncio.timeout(10):
        results = await asyncio.gather(waits, lets, return_exceptions=True)
    assert [type(result) for result in results] == [StateError] * 2


@needs_datagram_pairs
async def test_a_loop_that_cannot_watch_the_socket_strands_nobody(
    any_group: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Sender(any_group, 5000, source=A, interface=LO) as sender:
        made = Full(sender)
        with made.other:

            def unable(*arguments: object) -> None:
                raise OSError(errno.ENOSPC, "no more may be watched")

            with monkeypatch.context() as patched:
                patched.setattr(asyncio.get_running_loop(), "add_writer", unable)
                with pytest.raises(RefusedError) as caught:
                    await sender.send(b"fails")
            assert caught.value.errno == errno.ENOSPC
            task = asyncio.create_task(sender.send(b"goes on"))
            async with asyncio.timeout(10):
                assert (await made.read(made.before + 1))[-1] == b"goes on"
                await task


@needs_datagram_pairs
async def test_who_has_sent_lets_the_next_one_try(any_group: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Told of room once, all who wait go on: a loop that watches nothing tells seldom."""
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "add_writer", lambda *_: None)
    monkeypatch.setattr(loop, "remove_writer", lambda *_: None)
    async with Sender(any_group, 5000, source=A, interface=LO) as sender:
        made = Full(sender)
        with made.other:
            tasks = [asyncio.create_task(sender.send(b"%d" % number)) for number in range(3)]
            await turns()
            for _ in range(made.before):
                made.other.recv(100)
            sender._wake()
            async with asyncio.timeout(10):
                await asyncio.gather(*tasks)
            assert [made.other.recv(100) for _ in tasks] == [b"0", b"1", b"2"]


async def test_who_is_woken_in_vain_keeps_its_place(full: Full) -> None:
    tasks = [asyncio.create_task(full.sender.send(b"%d" % number)) for number in range(3)]
    await turns()
    full.sender._wake()
    await turns()
    async with asyncio.timeout(10):
        got = await full.read(full.before + 3)
        await asyncio.gather(*tasks)
    assert got[-3:] == [b"0", b"1", b"2"]


@needs_datagram_pairs
async def test_the_loop_watches_only_while_somebody_waits(any_group: str) -> None:
    loop = asyncio.get_running_loop()
    async with Sender(any_group, 5000, source=A, interface=LO) as sender:
        full = Full(sender)
        with full.other:
            task = asyncio.create_task(sender.send(b"x"))
            await turns()
            async with asyncio.timeout(10):
                await full.read(full.before + 1)
                await task
            assert not loop.remove_writer(full.end)


@needs_datagram_pairs
async def test_a_closed_descriptor_is_not_watched(any_group: str) -> None:
    """Not for one turn of the loop: by then it may be another's."""
    loop = asyncio.get_running_loop()
    sender = Sender(any_group, 5000, source=A, interface=LO)
    full = Full(sender)
    with full.other:
        task = asyncio.create_task(sender.send(b"x"))
        await turns()
        number = full.end.fileno()
        await sender.aclose()
        assert not loop.remove_writer(number)
        with pytest.raises(StateError):
            await task


@pytest.mark.parametrize("cancelled", [0, 1, 2])
@pytest.mark.parametrize("woken", [False, True], ids=["waiting", "on its turn"])
async def test_cancelling_one_strands_no_other(full: Full, cancelled: int, woken: bool) -> None:
    tasks = [asyncio.create_task(full.sender.send(b"%d" % number)) for number in range(3)]
    await turns()
    if woken:
        full.other.recv(100)
        full.sender._wake()
    tasks[cancelled].cancel()
    async with asyncio.timeout(10):
        got = await full.read(full.before - woken + 2)
        results = await asyncio.gather(*tasks, return_exceptions=True)
    others = [number for number in range(3) if number != cancelled]
    assert got[-2:] == [b"%d" % number for number in others]
    assert [isinstance(result, asyncio.CancelledError) for result in results] == [
        number == cancelled for number in range(3)
    ]
    await full.sender.send(b"goes on")


async def test_a_close_ends_all_who_wait(full: Full) -> None:
    tasks = [asyncio.create_task(full.sender.send(b"x")) for _ in range(3)]
    await turns()
    await full.sender.aclose()
    async with asyncio.timeout(10):
        results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [StateError] * 3
