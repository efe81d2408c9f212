"""Calls that are to be refused: a system that says no when a test wants it to."""

from __future__ import annotations

import os
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
        self._coming: dict[str, list[tuple[int, str | None]]] = {call: [] for call in get_args(Call)}

    def add(self, call: Call, number: int, times: int, interface: str | None = None) -> None:
        """Refuse the next `times` calls of a kind with errno `number`, on any interface or the one named."""
        if call not in self._coming:
            raise ArgumentError(f"call {shown(call)}", f"there are {', '.join(self._coming)}")
        self._coming[call].extend([(number, interface)] * times)

    def meet(self, call: Call, interface: str) -> None:
        """Raise an OSError if this call is to be refused."""
        coming = self._coming[call]
        for one in coming:
            number, where = one
            if where in (None, interface):
                coming.remove(one)
                raise error_of(number)
