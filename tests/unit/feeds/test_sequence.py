"""Where a number stands: every width and place, the text forms, and what is none."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiomcast import ArgumentError
from aiomcast.feeds import Sequence


@given(st.integers(1, 64), st.integers(0, 40), st.sampled_from(["big", "little"]), st.binary(max_size=60))
def test_a_number_is_read_as_python_reads_it(bits: int, offset: int, order: str, data: bytes) -> None:
    sequence = Sequence.at(offset, f"u{bits}", order)  # type: ignore[arg-type]  # one of the two
    octets = data[offset : offset + (bits + 7) // 8]
    whole = len(octets) == (bits + 7) // 8
    expected = int.from_bytes(octets, order) % 2**bits if whole else None  # type: ignore[arg-type]  # as above
    assert sequence.number(data) == expected
    assert sequence.bits == bits


def test_rtp_is_read_where_there_is_rtp() -> None:
    rtp = Sequence.rtp()
    header = bytes.fromhex("80 21 fffe 00000000 00000007")
    assert rtp.number(header + b"payload") == 0xFFFE
    assert rtp.number(header[:11]) is None
    assert rtp.number(b"\x47" + header[1:]) is None  # MPEG-TS without RTP
    assert rtp.bits == 16


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("rtp", Sequence.rtp()),
        ("u32@0", Sequence.at(0)),
        ("u64be@8", Sequence.at(8, "u64")),
        ("u16le@2", Sequence.at(2, "u16", "little")),
        ("u48be@65000", Sequence.at(65000, "u48", "big")),
        ("u4@3", Sequence.at(3, "u4")),
    ],
)
def test_a_text_names_one(text: str, same: Sequence) -> None:
    sequence = Sequence.parse(text)
    assert sequence == same
    assert hash(sequence) == hash(same)
    assert Sequence.parse(str(sequence)) == sequence


@pytest.mark.parametrize(
    "text",
    ["", "RTP", "rtp@2", "u32", "32@0", "s32@0", "u32@-1", "u32@65536", "u32@99999999", "u0@0", "u65@0",
     "u32me@0", "u32@0 ", "f32@0", "u@0", "u\N{ARABIC-INDIC DIGIT THREE}@0"],
)  # fmt: skip
def test_what_names_none_is_refused(text: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        Sequence.parse(text)
    assert caught.value.hint


def test_different_places_are_different() -> None:
    places = [
        Sequence.rtp(),
        Sequence.at(0),
        Sequence.at(1),
        Sequence.at(0, "u16"),
        Sequence.at(0, "u32", "little"),
    ]
    assert len(set(places)) == len(places)


def test_a_function_of_ones_own() -> None:
    def last_byte(data: bytes) -> int | None:
        return data[-1] if data else None

    sequence = Sequence.read_by(last_byte, 8)
    assert (sequence.number(b"ab\x07"), sequence.number(b""), sequence.bits) == (7, None, 8)
    assert sequence == Sequence.read_by(last_byte, 8)
    assert "last_byte" in str(sequence)


ANYTHING: Any = Sequence  # so that wrong types can be given


@pytest.mark.parametrize(
    ("make", "part"),
    [
        (lambda: ANYTHING.at("0"), "offset '0'"),
        (lambda: ANYTHING.at(True), "offset True"),
        (lambda: ANYTHING.at(-1), "offset -1"),
        (lambda: ANYTHING.at(0, 32), "kind 32"),
        (lambda: ANYTHING.at(0, "i32"), "kind 'i32'"),
        (lambda: ANYTHING.at(0, "u32", "network"), "byteorder 'network'"),
        (lambda: ANYTHING.read_by(7, 8), "read 7"),
        (lambda: ANYTHING.read_by(len, 0), "bits 0"),
        (lambda: ANYTHING.read_by(len, "8"), "bits '8'"),
        (lambda: ANYTHING.parse(7), "sequence 7"),
    ],
)
def test_what_cannot_be_is_said(make: Callable[[], object], part: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        make()
    assert part in str(caught.value)
