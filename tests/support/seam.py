"""Calls of the system that fail: what is put before the functions of `aiomcast.rfc3678.kernel`."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from aiomcast.rfc3678 import kernel

__all__ = ["Faults", "changes_intercepted", "faults", "intercepted", "refusal"]


def refusal(number: int) -> OSError:
    """Return the error that the system answers a call with."""
    return OSError(number, os.strerror(number))


@contextmanager
def intercepted(name: str, before: Callable[..., object]) -> Iterator[None]:
    """Show `before` the arguments of every call of a function of the seam, in the block.

    What `before` raises is what the call raises, and the system sees nothing of that call.
    """
    real = getattr(kernel, name)

    def call(*arguments: object) -> object:
        before(*arguments)
        return real(*arguments)

    setattr(kernel, name, call)
    try:
        yield
    finally:
        setattr(kernel, name, real)


@contextmanager
def changes_intercepted(before: Callable[..., object]) -> Iterator[None]:
    """Show `before` every call that changes a socket, as `intercepted` does.

    Those are `setsockopt`, and `wsa_ioctl` where it asks for nothing.
    """

    def before_ioctl(sock: object, code: int, value: bytes, room: int) -> None:
        if not room:
            before(sock, code, value)

    with intercepted("setsockopt", before), intercepted("wsa_ioctl", before_ioctl):
        yield


class Faults:
    """Counts the calls that change a socket, and refuses the `failing` ones."""

    def __init__(self) -> None:
        self.calls = 0
        self.number = errno.ENOBUFS
        self.failing: Callable[[int], bool] = lambda call: False

    def count(self, *arguments: object) -> None:
        """Count one call, and refuse it if it is to fail."""
        self.calls += 1
        if self.failing(self.calls):
            raise refusal(self.number)

    def fail(self, failing: Callable[[int], bool], number: int = errno.ENOBUFS) -> None:
        """Count anew, and refuse the calls of which `failing(number from 1)` is true."""
        self.calls, self.failing, self.number = 0, failing, number

    def fail_at(self, which: int, number: int = errno.ENOBUFS) -> None:
        """Count anew, and refuse one call (from 1)."""
        self.fail(lambda call: call == which, number)

    def stop(self) -> int:
        """Refuse nothing more; return how many calls there were."""
        self.failing = lambda call: False
        return self.calls


@pytest.fixture
def faults() -> Iterator[Faults]:
    """Give a seam whose calls can be refused."""
    made = Faults()
    with changes_intercepted(made.count):
        yield made
