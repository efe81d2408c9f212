"""Refuses a drawn call of whoever armed it."""

from __future__ import annotations

import contextvars
import errno
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.seam import intercepted, refusal

__all__ = ["Fault", "armed", "installed"]


class Fault:
    """Counts the calls made in its context while it is armed, and refuses one of them (from 1)."""

    def __init__(self, call: int, number: int) -> None:
        self.hit = False
        self.call = call
        self.number = number
        self.is_armed = True

    def count(self) -> None:
        """Count one call. OSError if it is the one."""
        if self.is_armed:
            self.call -= 1
            if self.call == 0:
                self.hit = True
                raise refusal(self.number)


# By context, not by thread: other tasks of the same loop are not to be hit.
_present: contextvars.ContextVar[Fault | None] = contextvars.ContextVar("fault", default=None)


@contextmanager
def armed(order: list[object] | None) -> Iterator[Fault | None]:
    """Refuse one call of this task in the block. `order` is [call, name of the errno], None for no fault."""
    if order is None:
        yield None
        return
    call, name = order
    assert isinstance(call, int)
    fault = Fault(call, getattr(errno, str(name)))
    token = _present.set(fault)
    try:
        yield fault
    finally:
        fault.is_armed = False  # also for timers that were started in this context
        _present.reset(token)


@contextmanager
def installed() -> Iterator[None]:
    """Put it into the seam."""

    def count(*arguments: object) -> None:
        fault = _present.get()
        if fault is not None:
            fault.count()

    with intercepted("setsockopt", count):
        yield
