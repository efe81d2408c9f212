"""What a client library says of a connection that has closed under it, said as all event loops do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["closed_is_told"]


@contextmanager
def closed_is_told() -> Iterator[None]:
    """Raise a ConnectionResetError where uvloop raises a RuntimeError: a closed transport was written to.

    On asyncio's loop that is nothing by itself. The libraries expect an OSError, or nothing.
    """
    try:
        yield
    except RuntimeError as error:
        if "handler is closed" not in str(error):
            raise
        raise ConnectionResetError(str(error)) from None
