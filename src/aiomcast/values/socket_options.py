"""Options of a socket as values: any accepted form in, a tuple that can be compared out. No sockets here."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias, Union

from ..errors import ArgumentError, ArgumentTypeError
from .shown import shown

__all__ = ["SocketOption", "SocketOptions", "socket_options"]

SocketOption: TypeAlias = tuple[int, int, Union[int, bytes]]
"""(level, option, value), as `socket.setsockopt` takes them."""
SocketOptions: TypeAlias = Iterable[tuple[int, int, Union[int, bytes, bytearray, memoryview]]]
"""What is accepted wherever options of a socket are asked for."""

_SMALLEST, _LARGEST = -(1 << 31), (1 << 31) - 1  # they are C ints
_HINT = "give (level, option, value) triples: numbers, the value also as bytes, as setsockopt takes them"


def socket_options(given: SocketOptions) -> tuple[SocketOption, ...]:
    """Return the options in the order given, values that are no numbers as bytes.

    ArgumentTypeError for what are no such triples, ArgumentError for a number that no C int can hold.
    """
    if isinstance(given, (str, bytes, bytearray, memoryview)) or not isinstance(given, Iterable):
        raise ArgumentTypeError(f"socket_options {shown(given)}", _HINT)
    return tuple(map(_option, given))


def _option(given: object) -> SocketOption:
    if not isinstance(given, (tuple, list)) or len(given) != 3:
        raise ArgumentTypeError(f"socket option {shown(given)}", _HINT)
    level, option, value = given
    if isinstance(level, bool) or isinstance(option, bool):
        raise ArgumentTypeError(f"socket option {shown(given)}", _HINT)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return _number(level, given), _number(option, given), bytes(value)
    return _number(level, given), _number(option, given), _number(value, given)


def _number(number: object, given: object) -> int:
    if not isinstance(number, int):
        raise ArgumentTypeError(f"socket option {shown(given)}", _HINT)
    if not _SMALLEST <= number <= _LARGEST:
        raise ArgumentError(
            f"socket option {shown(given)}: {shown(number)} is no 32-bit integer with a sign",
            "pack a value that is larger, or has no sign, into bytes",
        )
    return int(number)
