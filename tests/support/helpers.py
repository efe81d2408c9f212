"""What several loopback tests share: sockets that send at once, faults, and bounded waits."""

import asyncio
import contextlib
import errno
import os
import select
import socket
from collections.abc import Callable

import pytest

import aiomcast
from aiomcast.rfc3678 import kernel

A, B, C, D = "127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5"
LO = socket.if_nametoindex("lo")


def sending(source: str, group: str, port: int, ifindex: int = LO) -> socket.socket:
    """Return a blocking socket bound to `source` and connected to `group`, heard on this host."""
    v6 = ":" in group
    sock = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        if v6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, ifindex)
            sock.bind((source, 0))
            sock.connect((group, port, 0, ifindex))
        else:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
            sock.bind((source, 0))
            sock.connect((group, port))
    except OSError:
        sock.close()
        raise
    return sock


def ipv6_way() -> tuple[aiomcast.Interface, str]:
    """Return an interface and an address of it that IPv6 multicast can be sent from, or skip.

    An interface-local group (ff31::) is looped back there and never sent. lo itself mostly has
    no route for multicast.
    """
    for interface in aiomcast.interfaces():
        for source in interface.addresses:
            if ":" in source and not source.startswith("fe80"):
                with contextlib.suppress(OSError), sending(source, "ff31::1", 9, interface.index) as sock:
                    sock.send(b"")
                    return interface, source
    pytest.skip("no interface here takes IPv6 multicast")


def wait_readable(sock: socket.socket, seconds: float = 5) -> None:
    """Block until there is something to read."""
    assert select.select([sock], [], [], seconds)[0], "nothing arrived"


async def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    """Let the loop turn until `condition` holds; TimeoutError if it does not come to that."""
    async with asyncio.timeout(seconds):
        while not condition():  # there is no event: it is another object's counter
            await asyncio.sleep(0)


async def turns(count: int = 5) -> None:
    """Let the loop turn a few times, so that what is readable would have been read."""
    for _ in range(count):
        await asyncio.sleep(0)


def accounted(statistics: aiomcast.Statistics, taken: int) -> None:
    """Every datagram that was read is in exactly one place (with one stream listening)."""
    gone = statistics.queue_drops + statistics.filtered + statistics.queued
    assert statistics.received == taken + gone, statistics


def open_descriptors() -> int:
    """Return how many files this process has open."""
    return len(os.listdir("/proc/self/fd"))


class Faults:
    """In the place of `kernel.setsockopt`: counts the calls and refuses the `failing` ones."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._real = kernel.setsockopt
        self.calls = 0
        self.number = errno.ENOBUFS
        self.failing: Callable[[int], bool] = lambda call: False
        patch.setattr(kernel, "setsockopt", self)

    def __call__(self, sock: socket.socket, level: int, option: int | None, value: int | bytes) -> None:
        self.calls += 1
        if self.failing(self.calls):
            raise OSError(self.number, os.strerror(self.number))
        self._real(sock, level, option, value)

    def fail(self, failing: Callable[[int], bool], number: int = errno.ENOBUFS) -> None:
        """Count anew, and refuse the calls of which `failing(number from 1)` is true."""
        self.calls, self.failing, self.number = 0, failing, number

    def fail_at(self, which: int, number: int = errno.ENOBUFS) -> None:
        """Count anew, and refuse one call (from 1)."""
        self.fail(lambda call: call == which, number)

    def stop(self) -> int:
        """Refuse nothing more; return how many calls there were."""
        self.failing = lambda call: False
        return self.calls


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> Faults:
    """Give a seam whose calls can be refused."""
    return Faults(monkeypatch)
