"""Numbers at a place of packets: compiled and portable code read the same, alone, by batches and in rows."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiomcast import Flow, Packet
from aiomcast.feeds import numbering, places

try:
    from aiomcast.feeds import _numbers as native
except ImportError:
    native = None  # type: ignore[assignment]  # not built

FLOW = Flow("192.0.2.1", 40000, "232.1.1.1", 5000, 1)
IMPLEMENTATIONS: list[Any] = [places] if native is None else [places, native]  # Any: modules
each = pytest.mark.parametrize(
    "module", IMPLEMENTATIONS, ids=lambda module: module.__name__.rsplit(".", 1)[-1].strip("_")
)


def batch(*payloads: bytes, flow: Flow = FLOW) -> list[Packet]:
    return [Packet(data, flow) for data in payloads]


def as_written(data: bytes, offset: int, bits: int, is_little: bool, is_rtp: bool) -> int | None:
    """What the documentation says that there is."""
    size = (bits + 7) // 8
    if len(data) < offset + size or (is_rtp and (len(data) < 12 or data[0] >> 6 != 2)):
        return None
    number = int.from_bytes(data[offset : offset + size], "little" if is_little else "big")
    return number & ((1 << bits) - 1)


@each
@given(
    payloads=st.lists(st.binary(max_size=24), max_size=6),
    offset=st.integers(0, 12),
    bits=st.integers(1, 64),
    is_little=st.booleans(),
    is_rtp=st.booleans(),
)
def test_what_is_read(
    module: Any, payloads: list[bytes], offset: int, bits: int, is_little: bool, is_rtp: bool
) -> None:
    place = module.Place(offset, bits, is_little, is_rtp=is_rtp)
    expected = [as_written(data, offset, bits, is_little, is_rtp) for data in payloads]
    assert [place.number(data) for data in payloads] == expected
    assert place.numbers(batch(*payloads)) == expected


@each
@given(
    first=st.integers(0, 2**64), count=st.integers(1, 40), bits=st.integers(1, 64), breaks=st.integers(0, 60)
)
def test_a_row_and_what_is_none(module: Any, first: int, count: int, bits: int, breaks: int) -> None:
    place, mask = module.Place(1, bits, False), (1 << bits) - 1
    numbers = [(first + n) & mask for n in range(count)]
    is_broken = 0 < breaks < count
    if is_broken:
        numbers[breaks] = numbers[breaks] + 2 & mask if bits > 1 else numbers[breaks] ^ 1
    made = batch(*(b"x" + number.to_bytes((bits + 7) // 8, "big") for number in numbers))
    assert place.row(made) == (None if is_broken else first & mask)


@each
def test_no_row_where_one_cannot_be_read(module: Any) -> None:
    place = module.Place(0, 8, False)
    assert place.row([]) is None
    assert place.row(batch(b"")) is None
    assert place.row(batch(b"\1", b"", b"\3")) is None


@each
def test_a_row_of_rtp_is_of_one_source(module: Any) -> None:
    place = module.Place(2, 16, False, is_rtp=True)
    packets = [struct.pack("!BBHII", 0x80, 33, number, 0, 7) for number in (65535, 0, 1)]
    assert place.row(batch(*packets)) == 65535
    assert place.row(batch(*packets[:2], packets[2][:8] + b"1234")) is None


@each
@given(steps=st.lists(st.one_of(st.none(), st.integers(0, 10**10)), max_size=30), parts=st.integers(1, 4))
def test_jitter_by_batches_is_that_of_the_packets(module: Any, steps: list[int | None], parts: int) -> None:
    now, stamps = 1_700_000_000_000_000_000, list[int | None]()
    for step in steps:
        now += step or 0
        stamps.append(None if step is None else now)
    one: tuple[Any, ...] = (None, None, None)
    for stamp in stamps:
        one = places.smoothed([stamp], *one)
    several: tuple[Any, ...] = (None, None, None)
    for start in range(0, len(stamps), parts):
        several = module.smoothed(stamps[start : start + parts], *several)
    assert several == tuple(None if value is None else pytest.approx(value, rel=1e-9) for value in one)


@each
@pytest.mark.parametrize("make", [bytearray, memoryview])
def test_payloads_of_other_types(module: Any, make: Callable[[bytes], Any]) -> None:
    assert module.Place(1, 16, False).number(make(b"\0\1\2")) == 0x102


@each
def test_the_flow_that_all_have(module: Any) -> None:
    other = Flow("192.0.2.2", 40000, "232.1.1.1", 5000, 1)
    assert module.only_flow([]) is None
    assert module.only_flow(batch(b"1", b"2")) is FLOW
    assert module.only_flow(batch(b"1", b"2") + batch(b"3", flow=other)) is None


def test_the_compiled_code_is_in_use_where_the_reader_is() -> None:
    from aiomcast import reading

    assert numbering.implementation == ("native" if reading.implementation == "native" else "portable")
    if os.environ.get("AIOMCAST_READING") == "native":
        assert native is not None
