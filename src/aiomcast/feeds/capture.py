"""`Capture`: a file of packets, read datagram by datagram."""

from __future__ import annotations

import gzip
import os
import stat
import warnings
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO, Self, final

from ..errors import ArgumentError, ArgumentTypeError, CaptureError, RefusedError
from ..values.shown import shown
from .captured import Captured, CaptureStatistics
from .container import Malformed, Parser, Record, parser_for
from .dissection import Dissector

__all__ = ["Capture"]

_CHUNK = 1 << 18
_GZIP = b"\x1f\x8b"


@final
class Capture:
    """The UDP datagrams to groups in a capture: pcapng or pcap, as it is or compressed with gzip.

    An iterable of `Captured`, from the first one on each time. `path` is a file (no pipe); an
    interface that the capture gives no name, as pcap never does, is called `nameless`, else
    "interface 0" and so on.

    Ethernet, Linux "cooked" (both), BSD loopback and raw IP are known; VLAN tags and IPv6 extension
    headers are seen through, fragments put together. Checksums are not looked at. What is no datagram
    to a group, is not whole or not understood is left out, and counted: see `statistics`.

    A file that ends within a packet, as after a crash, is read up to there, with a RuntimeWarning. One
    that is no capture is a CaptureError at once; one whose lengths lie is one where that shows, after
    all that comes before it. RefusedError where the system does not open or read it, with its errno.
    """

    def __init__(self, path: str | os.PathLike[str], *, nameless: str | None = None) -> None:
        if isinstance(path, bytes) or not isinstance(path, (str, os.PathLike)):
            raise ArgumentTypeError(f"capture {shown(path)}", "give the name of a file")
        self.path: str = os.fspath(path)
        self._nameless = nameless
        self._reading = _Reading(self.path, nameless)
        self._reading.close()

    def __repr__(self) -> str:
        return f"<Capture of {self.path}>"

    def __iter__(self) -> Iterator[Captured]:
        for batch in self.batches():
            yield from batch

    def batches(self, *, octets: int = _CHUNK) -> Iterator[list[Captured]]:
        """Iterate over the same by lists, each of what is in so many bytes of the file.

        A list may be empty: each step takes a bounded time, in which nothing else of an event loop runs,
        about 2 ms for the 262,144 bytes that are read where no other number is given.
        """
        with _Reading(self.path, self._nameless) as reading:
            self._reading = reading
            while (records := reading.records(octets)) is not None:
                yield reading.dissector.dissect(records)

    def interfaces(self) -> tuple[str, ...]:
        """Return the names of the interfaces it was captured on, each once.

        The whole file is looked through for them, as far as it can be read.
        """
        with _Reading(self.path, self._nameless, only_names=True) as reading:
            try:
                while reading.records(_CHUNK) is not None:
                    pass
            except CaptureError:  # who reads the packets is told
                pass
            return tuple(dict.fromkeys(one.name for one in reading.parser.taps))

    def statistics(self) -> CaptureStatistics:
        """Return what was read so far, by the iteration that began last."""
        return self._reading.statistics()


class _Reading:
    """A file that is being read."""

    def __init__(self, path: str, nameless: str | None, only_names: bool = False) -> None:
        self._path = path
        self._at = 0  # of what `_rest` begins with
        self._rest = b""
        self._skip = 0  # bytes that are to come and to be left out
        self._error: CaptureError | None = None
        self._is_over = self._is_cut_short = False
        self._warns = not only_names
        self.dissector: Dissector = Dissector()
        self._file = _opened(path)
        self._read: Callable[[int], bytes] = self._file.read
        try:
            if self._next(2) == _GZIP:
                self._file.seek(0)
                self._rest = b""
                self._read = gzip.GzipFile(fileobj=self._file, mode="rb").read1  # up to where it ends
            while len(self._rest) < 4 and self._next(4 - len(self._rest)):
                pass
            self.parser: Parser = parser_for(self._rest[:4], nameless, only_names)
        except Malformed as error:
            self._file.close()
            raise self._wrong(error) from None
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def records(self, octets: int) -> list[Record] | None:
        """Return the packets of what is read next, None at the end. CaptureError where it is broken."""
        if self._error is not None:
            error, self._error, self._is_over = self._error, None, True
            raise error
        if self._is_over:
            return None
        found: list[Record] = []
        try:
            if not self._next(octets):
                self._end()
            used = self.parser.feed(self._rest, found)
            self._at += used
            self._rest = self._rest[used:]
            self._skip, self.parser.skip = self.parser.skip, 0
        except Malformed as error:
            self._error = self._wrong(error)
        return found

    def _next(self, size: int) -> bytes:
        """Read on; what is to be skipped is no part of it. Nothing is returned at the end."""
        try:
            chunk = self._read(size)
            while chunk and self._skip:
                passed = min(self._skip, len(chunk))
                self._skip -= passed
                self._at += passed
                chunk = chunk[passed:] or self._read(size)
        except EOFError:  # gzip's: the end is missing
            self._is_cut_short = True
            return b""
        except (gzip.BadGzipFile, zlib.error) as error:
            raise CaptureError(
                f"{self._path} is not to be decompressed: {error}",
                path=self._path,
                offset=self._at + len(self._rest),
            ) from error
        except OSError as error:
            raise RefusedError(error.errno or 0, f"{self._path} was not read: {error.strerror}") from error
        self._rest += chunk
        return chunk

    def _end(self) -> None:
        self._is_over = True
        self._is_cut_short = self._is_cut_short or bool(self._rest or self._skip)
        if self._is_cut_short and self._warns:
            warnings.warn(
                f"{self._path} ends within a packet, at byte {self._at + len(self._rest)}: "
                f"all that is whole before byte {self._at} was read",
                RuntimeWarning,
                stacklevel=2,
            )

    def _wrong(self, error: Malformed) -> CaptureError:
        offset = self._at + error.offset
        what = f"{self._path}, byte {offset}: {error.why}"
        return CaptureError(what, error.hint, path=self._path, offset=offset)

    def statistics(self) -> CaptureStatistics:
        """Return what was read so far."""
        found, parser = self.dissector, self.parser
        return CaptureStatistics(
            datagrams=found.datagrams,
            fragments=found.fragmented,
            cut=found.cut,
            malformed=found.malformed,
            other=found.other,
            unknown_link=found.unknown_link,
            joined=found.joined,
            incomplete=found.fragments.incomplete + (found.fragments.waiting if self._is_over else 0),
            dropped=parser.dropped,
            interface_drops=parser.interface_drops,
            is_cut_short=self._is_cut_short,
        )


def _opened(path: str) -> BinaryIO:
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # a pipe would wait here for who writes to it
            raise ArgumentError(f"{path} is no regular file", "save what comes out of it, and name that")
        return open(path, "rb")
    except OSError as error:
        raise RefusedError(error.errno or 0, f"{path} was not opened: {error.strerror}") from error
    except ValueError as error:  # a name with a null byte
        if isinstance(error, ArgumentError):
            raise
        raise ArgumentError(f"capture {shown(path)}", "give the name of a file") from error
