"""`Options`: how sockets are read and how much streams hold. A pure value, checked when it is made."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import Literal, TypedDict, final

import attrs

from ..errors import ArgumentError, ArgumentTypeError
from . import bounds
from .sealed import sealed
from .shown import shown
from .socket_options import SocketOption, SocketOptions, socket_options

__all__ = ["ANCILLARY", "OptionKeywords", "Options", "Overflow", "ReadingKeywords"]

ANCILLARY = frozenset({"hop_limit", "traffic_class", "hardware_timestamp"})
_LARGEST_BUFFER = (1 << 31) - 1  # bytes: socket options are C ints


@final
class Overflow(enum.Enum):
    """What a full stream does: stop the reading, or drop (and count) the oldest or the newest."""

    PAUSE = "pause"
    DROP_OLDEST = "drop oldest"
    DROP_NEWEST = "drop newest"


class ReadingKeywords(TypedDict, total=False):
    """The keywords of `Options` that say how a socket is read."""

    receive_buffer: int | Literal["system"] | None
    ancillary: Iterable[str]
    gro: bool | None
    socket_options: SocketOptions


class OptionKeywords(ReadingKeywords, total=False):
    """The keywords of `Options`, which `Receiver` and `listen` take."""

    capacity: int
    overflow: Overflow
    by_source: bool


def _capacity(given: int) -> int:
    if isinstance(given, bool) or not isinstance(given, int):
        raise ArgumentTypeError(f"capacity {shown(given)}", "give a number of packets, 1 or more")
    if not 1 <= given < 1 << 62:
        raise ArgumentError(f"capacity {shown(given)}", "give a number of packets, 1 or more")
    return given


def _overflow(given: Overflow) -> Overflow:
    if not isinstance(given, Overflow):
        raise ArgumentTypeError(f"overflow {shown(given)}", "choose a member of aiomcast.Overflow")
    return given


def _receive_buffer(given: int | Literal["system"] | None) -> int | Literal["system"] | None:
    hint = f"give a number of bytes from 1 to {_LARGEST_BUFFER}, 'system' for the system's own, or None"
    if given is None:
        return None
    if isinstance(given, str) and given == "system":
        return "system"
    if isinstance(given, bool) or not isinstance(given, int):
        raise ArgumentTypeError(f"receive_buffer {shown(given)}", hint)
    if not 1 <= given <= _LARGEST_BUFFER:
        raise ArgumentError(f"receive_buffer {shown(given)}", hint)
    return given


def _ancillary(given: Iterable[str]) -> frozenset[str]:
    hint = f"give a set of names; there are {', '.join(sorted(ANCILLARY))}"
    if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
        raise ArgumentTypeError(f"ancillary {shown(given)}", hint)
    names = list(given)
    for name in names:
        if not isinstance(name, str):
            raise ArgumentTypeError(f"ancillary tag {shown(name)}", hint)
        if name not in ANCILLARY:
            raise ArgumentError(f"ancillary tag {shown(name)}", hint)
    return frozenset(names)


def _gro(given: bool | None) -> bool | None:
    if given is not None and not isinstance(given, bool):
        raise ArgumentTypeError(f"gro {shown(given)}", "give True, False, or None: wherever the system can")
    return given


def _by_source(given: bool) -> bool:
    if not isinstance(given, bool):
        raise ArgumentTypeError(f"by_source {shown(given)}", "give True or False")
    return given


@final
@sealed
@attrs.frozen(slots=True, kw_only=True)
class Options:
    """How a receiver reads its sockets, and what its streams hold.

    - `capacity`: how many packets each stream holds, 1 or more.
    - `overflow`: what a full stream does. PAUSE stops the reading until it has drained to half, and the
      kernel's buffers fill.
    - `receive_buffer`: bytes asked of the kernel per socket, by force where that is allowed. None asks for
      4 MiB, enough for a burst, but does not lower what a socket has; where what was granted holds less than
      50 ms of what comes, that is told once (TIGHT). "system" is the system's own. The statistics say what
      was granted.
    - `ancillary`: extra tags, "hop_limit", "traffic_class", and "hardware_timestamp" for
      `hardware_timestamp_ns` (see `Packet`: somebody has to turn the interface's clock on).
    - `gro`: whether the kernel may hand over datagrams of one flow coalesced. None is wherever it can.
    - `by_source`: whether to count by source, too: see `statistics_by_source`. It costs some time for
      every packet.
    - `socket_options`: (level, option, value) triples that each socket is given before it is bound, the
      value a number or bytes. `open_socket` says what is refused.

    ArgumentError for a value that cannot be, ArgumentTypeError for a wrong type.
    """

    capacity: int = attrs.field(default=bounds.CAPACITY, converter=_capacity)
    overflow: Overflow = attrs.field(default=Overflow.PAUSE, converter=_overflow)
    receive_buffer: int | Literal["system"] | None = attrs.field(default=None, converter=_receive_buffer)
    ancillary: frozenset[str] = attrs.field(default=frozenset(), converter=_ancillary)
    gro: bool | None = attrs.field(default=None, converter=_gro)
    by_source: bool = attrs.field(default=False, converter=_by_source)
    socket_options: tuple[SocketOption, ...] = attrs.field(default=(), converter=socket_options)
