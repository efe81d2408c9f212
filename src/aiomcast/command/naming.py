"""The interface as it is written in an argument."""

from __future__ import annotations

import socket

__all__ = ["interface"]


def interface(given: str | None) -> str | int | None:
    """Return it as the library takes it: digits are an index, unless there is an interface so called."""
    if given is None or not given.isdecimal():
        return given
    try:
        socket.if_nametoindex(given)  # an interface may be called by a number
    except OSError:
        return int(given)
    return given
