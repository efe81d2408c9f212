"""Sockets to send from: what they are bound to, whom they share with, and when they may be written to."""

import asyncio
import contextlib
import errno
import socket
from collections.abc import Callable
from contextlib import closing
from typing import Any, TypeVarTuple

import pytest

import aiomcast
from aiomcast import Interface, RefusedError
from aiomcast.endpoint.sending import Writable, loop_of, open_sending, set_loop, set_ttl, ttl_of
from aiomcast.rfc3678.abi import native
from tests.support.accounts import open_descriptors
from tests.support.interfaces import ipv6_way
from tests.support.loops import LOOPS, NewLoop
from tests.support.packets import take
from tests.support.platforms import IS_WINDOWS, TAKEN, linux_only, needs_datagram_pairs
from tests.support.seam import Faults, faults, intercepted
from tests.support.sending import LO, A
from tests.support.waiting import turns, until

__all__ = ["faults"]

Ts = TypeVarTuple("Ts")

PORT = 5000
HOST = "127.0.0.1"
LOOPBACK = Interface(LO, "lo", (HOST,), True)


def opened(group: str, interface: Interface = LOOPBACK, **arguments: Any) -> socket.socket:
    """Open one, by default from an address and a port that the system chooses."""
    named = {"ttl": 1, "loop": True, "source": None, "source_port": 0, **arguments}
    return open_sending(group, PORT, interface, **named)


def ways(group: str, group6: str) -> list[tuple[str, Interface]]:
    """Return a group and an interface for it, of each family that can multicast here."""
    found = [(group, LOOPBACK)]
    with contextlib.suppress(pytest.skip.Exception):
        found.append((group6, ipv6_way()[0]))
    return found


def test_the_socket_is_bound_to_an_address_of_its_interface_and_connected_to_nobody(
    any_group: str, group6: str
) -> None:
    for group, interface in ways(any_group, group6):
        with opened(group, interface) as one, opened(group, interface) as other:
            address, port = one.getsockname()[:2]
            assert address in interface.addresses
            assert port not in (0, PORT, other.getsockname()[1])
            assert not one.getblocking()
            with pytest.raises(OSError, match=r".") as caught:
                one.getpeername()
            assert caught.value.errno == errno.ENOTCONN


def test_the_address_is_that_of_now(any_group: str) -> None:
    """An interface that was looked up earlier has another address by now."""
    earlier = Interface(LO, "lo", ("192.0.2.99",), True)
    with opened(any_group, earlier) as sock:
        assert sock.getsockname()[0] == HOST


@pytest.mark.parametrize("ttl", [0, 1, 255])
@pytest.mark.parametrize("loop", [False, True])
def test_ttl_and_loop(ttl: int, loop: bool, any_group: str, group6: str) -> None:
    for group, interface in ways(any_group, group6):
        with opened(group, interface, ttl=ttl, loop=loop) as sock:
            assert (ttl_of(sock), loop_of(sock)) == (ttl, loop)
            set_ttl(sock, 7)
            set_loop(sock, not loop)
            assert (ttl_of(sock), loop_of(sock)) == (7, not loop)


def test_a_port_that_was_asked_for_is_shared_and_another_is_not(any_group: str) -> None:
    with opened(any_group, source=A, source_port=PORT) as one, opened(any_group, source_port=PORT) as other:
        assert (one.getsockname(), other.getsockname()) == ((A, PORT), (HOST, PORT))
        with opened(any_group, source=A, source_port=PORT) as again:
            assert again.getsockname() == one.getsockname()
    with opened(any_group, source=A) as alone, pytest.raises(RefusedError) as caught:
        opened(any_group, source=A, source_port=alone.getsockname()[1])
    assert caught.value.errno == TAKEN
    assert ("for itself alone" if IS_WINDOWS else "SO_REUSEADDR") in caught.value.hint
    assert "join" not in caught.value.hint


@pytest.mark.skipif(native().SO_EXCLUSIVEADDRUSE is None, reason="a port is shared only by consent here")
def test_a_port_of_the_systems_choice_is_claimed(any_group: str) -> None:
    """Else on Windows whoever sets SO_REUSEADDR has it too, and the answers with it."""
    given: list[int] = []
    with intercepted("setsockopt", lambda sock, level, option, value: given.append(option)):
        opened(any_group).close()
    assert native().SO_EXCLUSIVEADDRUSE in given


async def test_it_gets_nothing_that_is_sent_to_a_group(any_group: str) -> None:
    """Not even on the wildcard address and the port of a group that another socket has joined."""
    async with aiomcast.listen(any_group, PORT, interface=LO) as feed:
        with opened(any_group, source="0.0.0.0", source_port=PORT) as sock:
            sock.sendto(b"to the group", (any_group, PORT))
            [packet] = await take(aiter(feed), 1)
            assert (packet.data, packet.source_port) == (b"to the group", PORT)
            sock.sendto(b"to itself", (HOST, PORT))
            assert await asyncio.get_running_loop().sock_recv(sock, 100) == b"to itself"


def test_whatever_is_refused_leaves_nothing_open(any_group: str, faults: Faults) -> None:
    opened(any_group, source_port=PORT).close()
    calls = faults.stop()
    before = open_descriptors()
    for failing in range(1, calls + 1):
        faults.fail_at(failing, errno.EPERM)
        with pytest.raises(aiomcast.NoPermissionError):
            opened(any_group, source_port=PORT)
        assert open_descriptors() == before
    assert calls > 4


# Waiting until there is room


@needs_datagram_pairs
async def test_it_tells_of_room_until_it_is_stopped() -> None:
    loop = asyncio.get_running_loop()
    end, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with end, other:
        end.setblocking(False)
        count = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                end.send(b"x")
                count += 1
        told: list[bool] = []
        writable = Writable(loop, end, lambda: told.append(True))
        writable.watch()
        writable.watch()
        await turns(20)
        assert told == []
        for _ in range(count):
            other.recv(1)
        await until(lambda: bool(told))
        writable.stop()
        writable.stop()
        before = len(told)
        await turns(20)
        assert len(told) == before
        writable.watch()
        await until(lambda: len(told) > before)
        writable.stop()


@pytest.mark.parametrize("new_loop", LOOPS.values(), ids=LOOPS)
def test_stopping_after_the_loop_has_closed(new_loop: NewLoop) -> None:
    loop = new_loop()
    end, other = socket.socketpair()
    with end, other:
        writable = Writable(loop, end, lambda: None)
        writable.watch()
        loop.close()
        writable.stop()


class Timed(asyncio.BaseEventLoop):
    """A loop that watches nothing, as its base class does, and whose timers a test runs."""

    def __init__(self) -> None:
        super().__init__()
        self.delays: list[float] = []
        self.due: list[asyncio.TimerHandle] = []

    def call_later(
        self, delay: float, callback: Callable[[*Ts], object], *args: *Ts, context: object = None
    ) -> asyncio.TimerHandle:
        self.delays.append(delay)
        self.due.append(asyncio.TimerHandle(delay, callback, args, self))
        return self.due[-1]

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        self.due.remove(handle)

    def turn(self) -> None:
        """Run what is due."""
        due, self.due = self.due, []
        for handle in due:
            handle._run()


def test_a_loop_that_watches_nothing_looks_now_and_then_and_ever_less_often() -> None:
    told: list[bool] = []
    with closing(Timed()) as loop, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        writable = Writable(loop, sock, lambda: told.append(True))
        writable.watch()
        writable.watch()
        for _ in range(10):
            loop.turn()
        assert len(told) == 10
        assert loop.delays[:4] == [loop.delays[0] * factor for factor in (1, 2, 4, 8)]
        assert loop.delays[-1] == loop.delays[-2] < 0.1
        writable.stop()
        assert loop.due == []
        writable.watch()
        assert loop.delays[-1] == loop.delays[0]
        writable.stop()


@linux_only
def test_who_holds_the_source_port_is_named(any_group: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
        holder.bind((HOST, 0))
        with pytest.raises(RefusedError) as caught:
            opened(any_group, source_port=holder.getsockname()[1])
    assert caught.value.errno == errno.EADDRINUSE
    assert "this process" in caught.value.hint
