"""An interface that stamps by its own clock: `python -m tests.loopback.reading.hardware_scene GROUP`.

Run by `test_hardware`, with the faults of `tests.support.system_faults` before the C library: they write
the time of the interface into the kernel's own message, which holds none on loopback.
"""

from __future__ import annotations

import ctypes
import socket
import sys

from aiomcast import SourceFilter, open_socket
from aiomcast.reading import Reader
from aiomcast.rfc3678.abi import native
from tests.support.sending import A, sending
from tests.support.stamping import stamping
from tests.support.system_faults import faults

SO_TIMESTAMPING = native().facts.hardware_time_option or 0
SOFTWARE = 8 | 16  # RX_SOFTWARE and SOFTWARE: with the kernel's own time, the message comes
SOL_UDP, UDP_SEGMENT = 17, 103


def main(group: str) -> None:
    """Packets have both times, each in its field; the parts of a coalesced datagram have the same."""
    with stamping(), open_socket(group, 0, "lo") as sock, sending(A, group, sock.port) as sender:
        sock.set_filter([A])
        reader = Reader(sock, SourceFilter.any(), ancillary=["hardware_timestamp", "hop_limit"])
        asked = sock.getsockopt(socket.SOL_SOCKET, SO_TIMESTAMPING)
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPING, asked | SOFTWARE)
        stamp = 1_700_000_000_000_000_123
        faults().fault_hardware(*map(ctypes.c_long, divmod(stamp, 1_000_000_000)))
        sender.send(b"one")
        sender.setsockopt(SOL_UDP, UDP_SEGMENT, 10)
        sender.send(bytes(95))
        packets, _ = reader.read(50)
        assert [len(packet.data) for packet in packets] == [3, *[10] * 9, 5], packets
        for packet in packets:
            assert packet.hardware_timestamp_ns == stamp
            assert packet.timestamp_ns is not None
            assert packet.timestamp_ns > stamp
            assert (packet.truncated, packet.hop_limit, packet.traffic_class) == (False, 1, None)
        assert reader.latest_ns == packets[-1].timestamp_ns


main(*sys.argv[1:])
