"""A filter in the kernel that lets into a socket what was sent to one group, and nothing else.

For a socket that is bound to the wildcard address. It is classic BPF: socket(7), SO_ATTACH_FILTER, and
linux/filter.h.
"""

from __future__ import annotations

import ctypes
import errno
import socket
import struct

from ..rfc3678 import kernel
from ..rfc3678.abi import native
from ..values.addresses import pack

__all__ = ["CAN_ATTACH", "attach", "attach_program", "detach", "has_filter"]

ABI = native()
CAN_ATTACH = ABI.SO_ATTACH_FILTER is not None
"""Whether the system has such filters."""

_INSTRUCTION = struct.Struct("=HBBI")  # struct sock_filter: code, jt, jf, k
_PROGRAM = struct.Struct("@HP")  # struct sock_fprog: the number of instructions, and where they are
_MOST_INSTRUCTIONS = 4096  # BPF_MAXINSNS

_LOAD_BYTE, _LOAD_WORD = 0x30, 0x20  # BPF_LD | BPF_B or BPF_W | BPF_ABS
_AND, _JUMP_IF_EQUAL, _RETURN = 0x54, 0x15, 0x06  # each with BPF_K
_NETWORK_HEADER = 0xFFF00000  # SKF_NET_OFF: offsets from there count from the IP header
_ALL, _NOTHING = 0xFFFFFFFF, 0  # how many bytes of the packet are kept

# length of the address: (first byte of the IP header without its low half, offset of the destination)
_HEADER = {4: (0x40, 16), 16: (0x60, 24)}  # RFC 791, 3.1; RFC 8200, 3


def _program(group: bytes) -> bytes:
    """Return the instructions. An IPv6 socket may get IPv4 too, whose payload can look like the group."""
    version, destination = _HEADER[len(group)]
    steps = [(_LOAD_BYTE, _NETWORK_HEADER), (_AND, 0xF0), (_JUMP_IF_EQUAL, version)]
    for place, word in enumerate(struct.unpack(f"!{len(group) // 4}I", group)):
        steps += [(_LOAD_WORD, _NETWORK_HEADER + destination + 4 * place), (_JUMP_IF_EQUAL, word)]
    steps += [(_RETURN, _ALL), (_RETURN, _NOTHING)]
    last = len(steps) - 1
    return b"".join(
        _INSTRUCTION.pack(code, 0, last - number - 1 if code == _JUMP_IF_EQUAL else 0, operand)
        for number, (code, operand) in enumerate(steps)
    )


def attach(sock: socket.socket, group: str) -> None:
    """Let into `sock` only what is sent to `group`, instead of what a filter before let in. OSError."""
    attach_program(sock, _program(pack(group)))


def attach_program(sock: socket.socket, program: bytes) -> None:
    """Have `sock` judge by these instructions (struct sock_filter) instead of those before. OSError."""
    held = ctypes.create_string_buffer(program, len(program))
    asked = _PROGRAM.pack(len(program) // _INSTRUCTION.size, ctypes.addressof(held))
    kernel.setsockopt(sock, ABI.SOL_SOCKET, ABI.SO_ATTACH_FILTER, asked)


def detach(sock: socket.socket) -> None:
    """Take away its filter. OSError where there is none."""
    kernel.setsockopt(sock, ABI.SOL_SOCKET, ABI.SO_DETACH_FILTER, 0)


def has_filter(sock: socket.socket) -> bool:
    """Whether somebody has given `sock` a filter, classic or not."""
    room = bytes(_MOST_INSTRUCTIONS * _INSTRUCTION.size)  # the kernel counts instructions, not bytes
    try:
        return kernel.getsockopt(sock, ABI.SOL_SOCKET, ABI.SO_ATTACH_FILTER, room) != b""
    except OSError as error:
        if error.errno != errno.EACCES:  # there is one, and it is not classic BPF
            raise
        return True
