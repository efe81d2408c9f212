"""`sealed`: a class that nobody may subclass, at run time as `typing.final` has it for checkers."""

from __future__ import annotations

from typing import NoReturn, TypeVar

from ..errors import ArgumentTypeError

__all__ = ["sealed"]

T = TypeVar("T")


def sealed(owner: type[T]) -> type[T]:
    """Make every attempt to subclass `owner` an ArgumentTypeError, which is a TypeError."""

    def refuse(_: type, /, **__: object) -> NoReturn:
        raise ArgumentTypeError(f"{owner.__name__} is final", "hold one in a class of your own")

    owner.__init_subclass__ = classmethod(refuse)  # type: ignore[assignment]  # a stricter one
    return owner
