"""A thread that may do less than the others: have no socket of a family, by seccomp(2), or no privilege."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys
import threading
from collections.abc import Callable

import pytest

__all__ = ["apart", "needs_seccomp", "without_privilege", "without_sockets_of"]

# By machine: what audit(7) calls it, and the number of socket(2).
_MACHINES = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}
_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, _PR_SET_NO_NEW_PRIVS = 22, 2, 38
_LOAD, _JUMP_EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000

needs_seccomp = pytest.mark.skipif(
    not sys.platform.startswith("linux") or platform.machine() not in _MACHINES or struct.calcsize("P") < 8,
    reason="this machine's calls have numbers not known here, or (32 bits) arguments that no filter sees",
)


def apart(*work: Callable[[], object]) -> None:
    """Do it in a thread of its own, in the network namespace of this one, and raise what it raises."""
    failures: list[BaseException] = []

    def guarded() -> None:
        try:
            for one in work:
                one()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=guarded)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]


def without_privilege() -> None:
    """Take all capabilities(7) from this thread, for good."""
    header = struct.pack("=Ii", 0x20080522, 0)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.capset(header, bytes(24)):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def without_sockets_of(family: int) -> None:
    """Have this thread, for good, and what it starts, refused every socket of `family`: EAFNOSUPPORT."""
    machine, call = _MACHINES[platform.machine()]
    # struct seccomp_data: nr, arch, instruction pointer, and the arguments of 8 bytes each.
    program = [
        (_LOAD, 0, 0, 4),
        (_JUMP_EQUAL, 0, 4, machine),
        (_LOAD, 0, 0, 0),
        (_JUMP_EQUAL, 0, 2, call),
        (_LOAD, 0, 0, 16 if sys.byteorder == "little" else 20),
        (_JUMP_EQUAL, 1, 0, family),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _ERRNO | errno.EAFNOSUPPORT),
    ]
    code = b"".join(struct.pack("=HBBI", *step) for step in program)
    held = ctypes.create_string_buffer(code, len(code))
    described = struct.pack("@HP", len(program), ctypes.addressof(held))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(
        _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, described, 0, 0
    ):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
