"""Sockets of one membership that are read together, by a clock that the test sets."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from types import ModuleType

import pytest

from aiomcast import SourceFilter, open_socket
from aiomcast.reading.lanes import Lanes
from aiomcast.system.sockets import MulticastSocket
from tests.support.packets import payloads
from tests.support.platforms import needs_stamps
from tests.support.readers import PORT, reading
from tests.support.sending import A, B, sending

__all__ = ["reading"]

include = SourceFilter.include


@pytest.fixture
def socks(any_group: str) -> Iterator[list[MulticastSocket]]:
    """A socket for A and one for B."""
    with ExitStack() as stack:
        made = [stack.enter_context(open_socket(any_group, PORT, "lo")) for _ in (A, B)]
        for sock, source in zip(made, (A, B), strict=True):
            sock.set_filter(include([source]))
        yield made


def send(group: str, *numbers: int) -> list[bytes]:
    """Send the numbers, the even ones from A."""
    with sending(A, group, PORT) as a, sending(B, group, PORT) as b:
        for number in numbers:
            (b if number % 2 else a).send(b"%d" % number)
    return [b"%d" % number for number in numbers]


def lanes_of(
    reading: ModuleType, socks: list[MulticastSocket], time_ns: Callable[[], int] = time.time_ns
) -> Lanes:
    return Lanes([reading.Reader(sock, sock.filter) for sock in socks], time_ns=time_ns)


@needs_stamps
def test_they_are_merged_by_the_time_of_arrival(reading: ModuleType, socks: list[MulticastSocket]) -> None:
    lanes = lanes_of(reading, socks)
    sent = send(socks[0].group, 0, 2, 1, 3, 4, 5)
    packets, taken = lanes.read(100)
    assert (payloads(packets), taken, len(lanes), lanes.is_dry) == (sent, 6, 0, True)
    assert lanes.read(100) == ([], 0)


@needs_stamps
def test_what_came_after_the_clock_was_read_waits(reading: ModuleType, socks: list[MulticastSocket]) -> None:
    """By then another socket, which was found empty before, may hold something earlier."""
    now = time.time_ns() - 1_000_000_000
    lanes = lanes_of(reading, socks, lambda: now)
    sent = send(socks[0].group, 0, 1, 2)
    assert lanes.read(100) == ([], 3)
    assert (len(lanes), lanes.is_dry) == (3, False)
    packets, taken = lanes.read(100)
    assert (payloads(packets), taken, len(lanes)) == (sent, 0, 0)
    sent = send(socks[0].group, 3, 4)
    now = time.time_ns()
    packets, taken = lanes.read(100)
    assert (payloads(packets), taken) == (sent, 2)


def test_datagrams_that_are_refused_were_read_all_the_same(
    reading: ModuleType, socks: list[MulticastSocket]
) -> None:
    readers = [reading.Reader(sock, SourceFilter.none()) for sock in socks]
    lanes = Lanes(readers)
    send(socks[0].group, 0, 1, 2)
    assert lanes.read(100) == ([], 3)
    assert lanes.read(100) == ([], 0)


@needs_stamps
def test_what_was_held_goes_over_to_those_after(reading: ModuleType, socks: list[MulticastSocket]) -> None:
    before = lanes_of(reading, socks, lambda: 0)
    sent = send(socks[0].group, 0, 1, 2, 3)
    before.read(100)
    lanes = Lanes(before.readers[:1], before)
    assert (len(before), len(lanes), len(lanes.readers)) == (0, 4, 1)
    assert lanes.refuse(lambda packet: packet.data == b"1") == 1
    assert payloads(lanes.take_all()) == [sent[0], *sent[2:]]
    assert len(lanes) == 0
