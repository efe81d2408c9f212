"""Whether a receive buffer holds 50 ms of what comes: that of a real socket, and looks of one's choice."""

from __future__ import annotations

from types import ModuleType

from aiomcast import MulticastSocket, SourceFilter
from aiomcast.reading import held
from aiomcast.reading.buffers import room_for
from aiomcast.values.statistics import Tally
from tests.support.readers import reading, sock

__all__ = ["reading", "sock"]

SIZE = 1400  # bytes of each datagram
BEGUN = held.Come(10.0, 1000, 1000 * SIZE)


def after(seconds: float, datagrams: int) -> held.Come:
    """What has come when so many more have."""
    return held.Come(BEGUN.at + seconds, BEGUN.datagrams + datagrams, BEGUN.octets + datagrams * SIZE)


def test_it_is_told_below_50_ms(reading: ModuleType, sock: MulticastSocket) -> None:
    reader = reading.Reader(sock, SourceFilter.any())
    room = reader.count_drops() / room_for(SIZE)  # datagrams that it holds
    assert held.told([reader], BEGUN, after(2.0, int(2 * room / 0.051))) is None
    said = held.told([reader], BEGUN, after(2.0, int(2 * room / 0.049)))
    assert said is not None
    assert said.startswith(
        f"the receive buffer of {reader.count_drops():,} bytes holds 49 ms of what comes, "
    )
    assert f" {int(2 * room / 0.049) / 2:,.0f} datagrams/s: " in said


def test_several_hold_together(reading: ModuleType, sock: MulticastSocket) -> None:
    reader = reading.Reader(sock, SourceFilter.any())
    room = reader.count_drops() / room_for(SIZE)
    assert held.told([reader, reader], BEGUN, after(1.0, int(room / 0.049))) is None


def test_nothing_is_told_of_nothing(reading: ModuleType, sock: MulticastSocket) -> None:
    reader = reading.Reader(sock, SourceFilter.any())
    assert held.told([reader], BEGUN, after(1.0, 0)) is None
    assert held.told([reader], BEGUN, after(0.0, 10**9)) is None


def test_what_was_dropped_has_come_too() -> None:
    counted = Tally()
    assert held.come(counted, 1.0) == (1.0, 0, 0)
    counted.received, counted.octets, counted.kernel_drops = 4, 400, 2
    assert held.come(counted, 2.0) == (2.0, 6, 600)
