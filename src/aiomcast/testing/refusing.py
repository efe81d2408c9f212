"""Calls that are to be refused: a system that says no when a test wants it to."""

from __future__ import annotations

import os
from collections import deque
from typing import Literal, TypeAlias, get_args

from ..errors import ArgumentError
from ..values.shown import shown

__all__ = ["Call", "Refusing", "error_of"]

Call: TypeAlias = Literal["open", "join", "set", "leave"]
"""What can be refused: opening a socket, joining a group or its first source, setting a list, leaving."""


def error_of(number: int) -> OSError:
    """Return the error that a system answers a call with, by its errno."""
    return OSError(number, os.strerror(number))


class Refusing:
    """The refusals that are still to come, for each kind of call in the order they were asked for."""

    def __init__(self) -> None:
        self._coming: dict[str, deque[int]] = {call: deque() for call in get_args(Call)}

    def add(self, call: Call, number: int, times: int) -> None:
        """Refuse the next `times` calls of a kind with errno `number`."""
        if call not in self._coming:
            raise ArgumentError(f"call {shown(call)}", f"there are {', '.join(self._coming)}")
        self._coming[call].extend([number] * times)

    def meet(self, call: Call) -> None:
        """Raise an OSError if this call is to be refused."""
        coming = self._coming[call]
        if coming:
            raise error_of(coming.popleft())
