"""Handing packets on as they are read: whatever is done meanwhile holds for the next one."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from aiomcast import Flow, Packet
from tests.support.readers import reading

__all__ = ["reading"]

A, B = (Flow(source, 4000, "239.1.1.1", 5000, 1) for source in ("127.0.0.2", "127.0.0.3"))


def made(reading: ModuleType) -> Any:  # Any: of whichever reader
    """Return an open one that notes in `handed`, `reports` and `ended` what it hands on and tells."""

    class Push(reading.PacketPush):  # type: ignore[misc, name-defined]  # of whichever reader
        def __init__(self) -> None:
            super().__init__()
            self.handed: list[object] = []
            self.reports: list[tuple[str, str]] = []
            self.ended: list[BaseException] = []
            self.asked: list[Flow] = []
            self._receive = lambda data, address: self.handed.append((data, address))
            self._is_open = True

        def _address_of(self, flow: Flow) -> str:
            self.asked.append(flow)
            return flow.source

        def _report(self, error: Exception, what: str) -> None:
            self.reports.append((str(error), what))

        def _end_program(self, error: BaseException) -> None:
            self.ended.append(error)

    return Push()


def packets(flow: Flow, *payloads: bytes) -> list[Packet]:
    return [Packet(payload, flow) for payload in payloads]


@pytest.mark.parametrize("sizes", [(3,), (1, 1, 1), (1, 2)])
def test_one_by_one_with_the_address_of_each(reading: ModuleType, sizes: tuple[int, ...]) -> None:
    push = made(reading)
    sent = [Packet(b"%d" % number, B if number == 1 else A) for number in range(3)]
    for size in sizes:
        push.packets(sent[:size])
        del sent[:size]
    assert push.handed == [(b"0", A.source), (b"1", B.source), (b"2", A.source)]
    assert push.asked == [A, B, A]
    push.packets(packets(A, b"3"))
    assert len(push.asked) == 3  # it has been looked up


@pytest.mark.parametrize("count", [1, 3])
def test_what_is_raised_costs_one_packet_and_is_told(reading: ModuleType, count: int) -> None:
    push = made(reading)

    def fail(data: bytes, address: object) -> None:
        push.handed.append(data)
        raise LookupError(data.decode())

    push._receive = fail
    push.packets(packets(A, *(b"%d" % number for number in range(count))))
    assert push.reports == [(str(number), "datagram_received() raised") for number in range(count)]
    assert (len(push.handed), len(push), push.ended) == (count, 0, [])

    def fail_whole(batch: list[Packet]) -> None:
        raise LookupError("batch")

    push._receive_batch = fail_whole
    push.packets(packets(A, b"4"))
    assert push.reports[count:] == [("batch", "packets_received() raised")]


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("in_batches", [False, True])
def test_what_ends_the_program_is_passed_on_and_leaves_the_rest(
    reading: ModuleType, count: int, in_batches: bool
) -> None:
    push = made(reading)

    def end(*handed: object) -> None:
        raise SystemExit

    if in_batches:
        push._receive_batch = end
    else:
        push._receive = end
    push.packets(packets(A, *(b"%d" % number for number in range(count))))
    assert [type(error) for error in push.ended] == [SystemExit]
    assert len(push) == (0 if in_batches else count - 1)


def test_a_pause_holds_from_the_next_packet_on(reading: ModuleType) -> None:
    push = made(reading)

    def pause(data: bytes, address: object) -> None:
        push.handed.append(data)
        push._is_open = False

    push._receive = pause
    push.packets(packets(A, b"0", b"1", b"2"))
    push.packets(packets(A, b"3"))
    assert (push.handed, len(push)) == ([b"0"], 3)
    for count in range(2, 5):
        push._is_open = True
        push._hand()
        assert len(push.handed) == count
    assert push.handed == [b"0", b"1", b"2", b"3"]


def test_what_is_handed_in_while_something_waits_comes_after_it(reading: ModuleType) -> None:
    push = made(reading)
    push._is_open = False
    push.packets(packets(A, b"0"))
    push._is_open = True
    push.packets(packets(A, b"1"))
    assert [data for data, _ in push.handed] == [b"0", b"1"]


def test_after_the_end_packets_are_counted(reading: ModuleType) -> None:
    push = made(reading)
    push._is_open, push._is_ended = False, True
    push.packets(packets(A, b"0", b"1"))
    push.packets(packets(A, b"2"))
    assert (push.handed, push.dropped, len(push)) == ([], 3, 0)


def test_one_for_whom_nothing_was_said(reading: ModuleType) -> None:
    push = reading.PacketPush()
    with pytest.raises(AssertionError):
        push._address_of(A)
    with pytest.raises(LookupError):
        push._report(LookupError(), "it")
    with pytest.raises(SystemExit):
        push._end_program(SystemExit())
