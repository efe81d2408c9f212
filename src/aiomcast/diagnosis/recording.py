"""Recording the frames to groups on one interface, both ways (packet(7)). Takes CAP_NET_RAW, and Linux."""

from __future__ import annotations

import contextlib
import socket
import struct
from typing import Final, Self, final

from ..errors import UnsupportedError
from ..rfc3678 import kernel
from ..rfc3678.abi import native
from ..system.destination import attach_program
from .facts import Capture
from .frames import Frames

__all__ = ["Recording"]

ABI = native()

# linux/if_ether.h, if_packet.h and asm-generic/socket.h
_ETH_P_ALL = 3
_SOL_PACKET = 263
_PACKET_STATISTICS = 6
_PACKET_AUXDATA = 8
_SO_RCVBUFFORCE = 33
_PACKET_OUTGOING, _PACKET_LOOPBACK = 4, 5
_AUXDATA = struct.Struct("=IIIHHHH")  # struct tpacket_auxdata: status, lengths, offsets, tag
_TP_STATUS_VLAN_VALID = 0x10
_VLAN_ID = 0x0FFF
_STATISTICS = struct.Struct("=II")  # struct tpacket_stats: frames, of which dropped

_LONGEST = 2048  # bytes of a frame that are looked at: a report can be as long as the MTU
_ROOM = 1 << 22  # bytes of memory for what waits
_MOST_FRAMES: Final = 2_000  # that are looked at at a time, which takes some 10 ms

# Classic BPF (linux/filter.h): a packet of IPv4 or IPv6 whose destination is a group. Offsets count from
# the network header, which a frame with a tag has further back.
_NET = 0xFFF00000
_LOAD_BYTE, _AND, _JUMP_IF_EQUAL, _RETURN = 0x30, 0x54, 0x15, 0x06
_FILTER: Final = b"".join(
    struct.pack("=HBBI", *one)
    for one in (
        (_LOAD_BYTE, 0, 0, _NET),
        (_AND, 0, 0, 0xF0),
        (_JUMP_IF_EQUAL, 0, 3, 0x40),
        (_LOAD_BYTE, 0, 0, _NET + 16),
        (_AND, 0, 0, 0xF0),
        (_JUMP_IF_EQUAL, 3, 4, 0xE0),
        (_JUMP_IF_EQUAL, 0, 3, 0x60),
        (_LOAD_BYTE, 0, 0, _NET + 24),
        (_JUMP_IF_EQUAL, 0, 1, 0xFF),
        (_RETURN, 0, 0, _LONGEST),
        (_RETURN, 0, 0, 0),
    )
)


@final
class Recording:
    """Records from when it is made. A context manager.

    PermissionError without CAP_NET_RAW, UnsupportedError on other systems than Linux, else OSError.
    """

    def __init__(self, interface: str) -> None:
        if not hasattr(socket, "AF_PACKET"):
            raise UnsupportedError("this system has no AF_PACKET", "it is Linux's")
        self._frames = Frames()
        self._is_whole = True
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, 0)
        try:
            attach_program(self._socket, _FILTER)  # before it is bound, and anything can come
            kernel.setsockopt(self._socket, _SOL_PACKET, _PACKET_AUXDATA, 1)
            with contextlib.suppress(OSError):  # CAP_NET_ADMIN: else there is room for less
                kernel.setsockopt(self._socket, ABI.SOL_SOCKET, _SO_RCVBUFFORCE, _ROOM)
            self._socket.bind((interface, _ETH_P_ALL))
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Record no more."""
        self._socket.close()

    def capture(self) -> Capture:
        """Return what there was so far."""
        for _ in range(_MOST_FRAMES):
            try:
                packet, ancillary, _, sender = self._socket.recvmsg(_LONGEST, 128)
            except OSError:  # nothing more, or the interface went down
                break
            outgoing, looped = sender[2] == _PACKET_OUTGOING, sender[2] == _PACKET_LOOPBACK
            self._frames.add(packet, _vlan(ancillary), is_outgoing=outgoing, is_looped=looped)
        else:
            self._is_whole = False
        with contextlib.suppress(OSError):
            told = self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, _STATISTICS.size)
            if _STATISTICS.unpack(told)[1]:  # since it was asked last
                self._is_whole = False
        return self._frames.capture(self._is_whole)


def _vlan(ancillary: list[tuple[int, int, bytes]]) -> int:
    for level, kind, data in ancillary:
        if level == _SOL_PACKET and kind == _PACKET_AUXDATA and len(data) >= _AUXDATA.size:
            status, _, _, _, _, tag, _ = _AUXDATA.unpack_from(data)
            if status & _TP_STATUS_VLAN_VALID:
                return int(tag) & _VLAN_ID
    return 0
