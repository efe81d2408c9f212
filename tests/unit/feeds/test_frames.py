"""Headers made for payloads: the corners of the checksum."""

import pytest

from aiomcast import Flow, Packet
from aiomcast.feeds.frames import Framer
from aiomcast.values import bounds


@pytest.mark.parametrize(
    ("flow", "at"),
    [
        (Flow("192.0.2.1", 4000, "239.1.1.1", 5000, 1), 14 + 20 + 6),
        (Flow("2001:db8::1", 4000, "ff0e::1", 5000, 1), 14 + 40 + 6),
    ],
    ids=["IPv4", "IPv6"],
)
def test_a_checksum_is_never_the_zero_that_says_there_is_none(flow: Flow, at: int) -> None:
    framer = Framer()
    seen = {framer.frame(Packet(word.to_bytes(2, "big"), flow))[at : at + 2] for word in range(1 << 16)}
    assert b"\0\0" not in seen
    assert b"\xff\xff" in seen


def test_headers_are_kept_for_a_bounded_number_of_shapes() -> None:
    framer = Framer()
    for port in range(bounds.FRAME_SHAPES + 10):
        framer.frame(Packet(b"", Flow("192.0.2.1", port, "239.1.1.1", 5000, 1)))
    assert len(framer._known) == 10
