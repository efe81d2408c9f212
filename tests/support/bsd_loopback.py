"""A FreeBSD host whose sockets receive: loopback brings the packets, and the model says which come in.

The socket is Linux' own. It joins the group there, any source, when the model has it joined, and a filter in
the kernel (socket(7), SO_ATTACH_FILTER) lets in what FreeBSD's would.
"""

from __future__ import annotations

import ctypes
import ipaddress
import socket
import struct
from collections.abc import Iterator

import pytest

from aiomcast.endpoint import protocol
from aiomcast.loops import network, read_loop
from aiomcast.receiving import limit
from aiomcast.rfc3678.abi import FREEBSD, native

from .bsd_host import BsdHost, in_place
from .bsd_model import BsdState
from .sending import LO

__all__ = ["BsdLoopback", "bsd_loopback"]

LINUX = native()
_INSTRUCTION = struct.Struct("=HBBI")  # struct sock_filter
_LOAD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06  # a word of the packet, with a constant, a constant
_SOURCE = 0xFFF00000 + 12  # in the IPv4 header: SKF_NET_OFF
_ALL, _NOTHING = 0xFFFFFFFF, 0


class BsdLoopback(BsdHost):
    """A FreeBSD host on the loopback interface, IPv4. EXCLUDE lists do not block, as in 13.0."""

    def __init__(self) -> None:
        super().__init__(interfaces=(LO,))

    def setsockopt(self, sock: socket.socket, level: int, option: int | None, value: int | bytes) -> None:
        """setsockopt(2), first by the model; the option of a port that is shared is Linux' own."""
        super().setsockopt(sock, level, option, value)
        if (level, option) == (FREEBSD.SOL_SOCKET, socket.SO_REUSEADDR):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.setsockopt(LINUX.IPPROTO_IP, LINUX.IP_MULTICAST_ALL or 0, 0)

    def changed(self, sock: socket.socket | None, index: int, group: str) -> None:
        """Have the socket hear what the model lets in."""
        assert sock is not None
        state = self.state(sock, index, group)
        joined = LINUX.group_req(index, ipaddress.ip_address(group).packed)
        level, is_joined = LINUX.IPPROTO_IP, self.option(sock, 0, -1) == 1
        if state is not None:
            self._attach(sock, state)
        if (state is not None) is not is_joined:
            option = LINUX.MCAST_JOIN_GROUP if state is not None else LINUX.MCAST_LEAVE_GROUP
            sock.setsockopt(level, option, joined)
            self._of(sock).options[0, -1] = int(state is not None)

    @staticmethod
    def _attach(sock: socket.socket, state: BsdState) -> None:
        steps = [(_LOAD, 0, 0, _SOURCE)]
        for source in state.entries:
            verdict = _ALL if state.lets_in(source) else _NOTHING
            number = int(ipaddress.ip_address(source))
            steps += [(_JUMP_IF_EQUAL, 0, 1, number), (_RETURN, 0, 0, verdict)]
        steps.append((_RETURN, 0, 0, _ALL if state.lets_in("another") else _NOTHING))
        program = b"".join(_INSTRUCTION.pack(*step) for step in steps)
        kept = ctypes.create_string_buffer(program, len(program))
        asked = struct.pack("@HP", len(steps), ctypes.addressof(kept))
        sock.setsockopt(socket.SOL_SOCKET, LINUX.SO_ATTACH_FILTER or 0, asked)


@pytest.fixture
def bsd_loopback(monkeypatch: pytest.MonkeyPatch) -> Iterator[BsdLoopback]:
    """Give a FreeBSD host on loopback in the place of the running system; no group is left deaf."""
    host = BsdLoopback()
    in_place(monkeypatch, host)
    for module in (limit, protocol):
        monkeypatch.setattr(module, "ABI", FREEBSD)
    monkeypatch.setattr(read_loop, "SHARED_STAMPS", FREEBSD.facts.shared_stamps)
    monkeypatch.setattr(network.SystemNetwork, "rejoin_pause", FREEBSD.facts.rejoin_pause)
    yield host
    assert not host.deaf
