"""What comes to a group and port: counted at sockets that join for it alone."""

from __future__ import annotations

import contextlib
import os
from contextlib import ExitStack
from typing import Final, Protocol, Self, final

from ..rfc3678.limits import source_limit
from ..system.planner import spread
from ..system.sockets import MulticastSocket, open_socket
from ..values.addresses import canonical
from ..values.filters import SourceFilter
from ..values.interface import Interface

__all__ = ["Arrivals", "Witness"]

_MOST: Final = 10_000  # datagrams taken at a time
_LARGEST: Final = 1 << 16


class Arrivals(Protocol):
    """Who knows what comes."""

    def count(self) -> int:
        """Return how many datagrams have come that are let in."""

    @property
    def heard(self) -> tuple[str, ...]:
        """The sources they were of, as far as these are told."""

    @property
    def inodes(self) -> frozenset[int]:
        """The inodes of its sockets."""

    @property
    def is_witness(self) -> bool:
        """Whether the sockets are there for this alone: then what they drop is no news."""


@final
class Witness:
    """Joins beside whoever else has, and lets in what `wanted` does. A context manager.

    Errors are those of `open_socket` and `MulticastSocket.set_filter`; then nothing is joined.
    """

    is_witness = True

    def __init__(self, group: str, port: int, interface: Interface, wanted: SourceFilter) -> None:
        self._wanted = wanted
        self._sockets: list[MulticastSocket] = []
        self._count = 0
        self._heard: set[str] = set()
        with ExitStack() as opened:
            for part in spread((), wanted, source_limit(group)):
                sock = opened.enter_context(open_socket(group, port, interface))
                sock.set_filter(part)
                self._sockets.append(sock)
            self._opened = opened.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def count(self) -> int:
        """Return how many datagrams have come; those that found no room were not counted."""
        for sock in self._sockets:
            with contextlib.suppress(OSError):  # nothing more, or nothing more can be read
                for _ in range(_MOST):
                    source = canonical(sock.recvfrom(_LARGEST)[1][0])
                    if self._wanted.allows(source):
                        self._count += 1
                        self._heard.add(source)
        return self._count

    @property
    def heard(self) -> tuple[str, ...]:
        """Their sources."""
        return tuple(sorted(self._heard))

    @property
    def inodes(self) -> frozenset[int]:
        """The inodes of its sockets."""
        return frozenset(os.fstat(sock.fileno()).st_ino for sock in self._sockets)
