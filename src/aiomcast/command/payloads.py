"""What `aiomcast send` sends: numbers, a text again and again, lines, pieces of a file; RTP headers."""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import struct
import sys
import time
from collections.abc import AsyncIterator
from typing import BinaryIO

from .output import until_ready

__all__ = ["LONGEST", "escaped", "lines", "numbered", "pieces", "readable", "repeated", "with_rtp"]

LONGEST = 65535  # bytes: no datagram is longer
_ESCAPES = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"\\": b"\\"}
_RTP_VERSION = 2 << 6  # no padding, no extension, no contributing sources
_RTP_TYPE = 96  # the first of the dynamic ones: the payload may be anything
_RTP_CLOCK = 90_000  # ticks a second


def escaped(text: str) -> bytes:
    r"""Return the bytes of a text, in which \xHH is a byte and \n, \r, \t and \\ are what they are in C."""

    def one(found: re.Match[bytes]) -> bytes:
        name = found[1]
        if name[:1] == b"x" and len(name) == 3:
            return bytes.fromhex(name[1:].decode())
        if name not in _ESCAPES:
            raise argparse.ArgumentTypeError(rf"{text!r}: give \xHH, \n, \r, \t, or \\ for a backslash")
        return _ESCAPES[name]

    return re.sub(rb"\\(x[0-9a-fA-F]{2}|.?)", one, os.fsencode(text), flags=re.DOTALL)


def readable(path: str) -> BinaryIO:
    """Return the file, opened."""
    try:
        return open(path, "rb")
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{path!r}: {error.strerror}") from None


async def numbered(size: int | None) -> AsyncIterator[bytes]:
    """Yield 1, 2 and so on, padded or cut to `size`."""
    number = 0
    while True:
        number += 1
        payload = b"%d" % number
        yield payload if size is None else payload.ljust(size)[:size]


async def repeated(payload: bytes) -> AsyncIterator[bytes]:
    """Yield the same again and again."""
    while True:
        yield payload


async def pieces(file: BinaryIO, size: int) -> AsyncIterator[bytes]:
    """Yield the file, `size` bytes at a time, the last piece as long as it is."""
    with file:
        while piece := file.read(size):
            yield piece


async def lines(descriptor: int) -> AsyncIterator[bytes]:
    """Yield lines as they come, without what ends them."""
    loop, rest = asyncio.get_running_loop(), b""
    while True:
        await until_ready(descriptor, loop.add_reader, loop.remove_reader)
        read = os.read(descriptor, LONGEST)
        *whole, rest = (rest + read).split(b"\n")
        for line in whole:
            yield line.removesuffix(b"\r") if sys.platform == "win32" else line
        if rest and (not read or len(rest) > LONGEST):  # too long for a datagram: sending it says so
            yield rest
            rest = b""
        if not read:
            return


def with_rtp(payload: bytes, number: int, ssrc: int) -> bytes:
    """Return the payload of packet `number` of source `ssrc` behind an RTP header of now (RFC 3550, 5.1)."""
    stamp = int(time.monotonic() * _RTP_CLOCK) & 0xFFFFFFFF
    return struct.pack("!BBHII", _RTP_VERSION, _RTP_TYPE, number & 0xFFFF, stamp, ssrc) + payload
