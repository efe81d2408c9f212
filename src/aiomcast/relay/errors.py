"""The errors of relays."""

from __future__ import annotations

from typing import final

from ..errors import MulticastError

__all__ = ["RelayError", "UnreachableError"]


class RelayError(MulticastError):
    """The server in the middle is not there, or cannot do what a relay needs; the hint says what mends it."""


@final
class UnreachableError(RelayError):
    """The server is away: nobody knows what it has stored of what was sent last."""
