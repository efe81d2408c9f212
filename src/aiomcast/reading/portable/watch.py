"""One descriptor that is readable while one of many is: epoll, or what the system has instead."""

from __future__ import annotations

import errno
import os
import select
import selectors
import sys
from typing import cast

from ...system import readiness

__all__ = ["Watch"]

if sys.platform == "linux":

    class Watch:
        """Descriptors that are kept a place, and told of while they are enabled.

        Only `reserve` can be refused, with an OSError: what follows changes the place.
        """

        def __init__(self) -> None:
            self._epoll = select.epoll()

        def fileno(self) -> int:
            """Return the one descriptor."""
            return self._epoll.fileno()

        def reserve(self, descriptor: int) -> None:
            """Keep a place for one more."""
            self._epoll.register(descriptor, 0)

        def enable(self, descriptor: int) -> None:
            """Tell when it is readable."""
            self._epoll.modify(descriptor, select.EPOLLIN)

        def disable(self, descriptor: int) -> None:
            """Tell no more."""
            self._epoll.modify(descriptor, 0)

        def forget(self, descriptor: int) -> None:
            """Give up the place. OSError where somebody has closed it."""
            self._epoll.unregister(descriptor)

        def ready(self) -> list[int]:
            """Return those that are readable now."""
            return [number for number, _ in self._epoll.poll(0)]

        def close(self) -> None:
            """Close the one descriptor."""
            self._epoll.close()

elif sys.platform == "win32":

    class Watch:
        """The same where no descriptor stands for others: whoever waits asks for all of them."""

        def __init__(self) -> None:
            self._enabled: dict[int, None] = {}
            self._is_closed = False

        def fileno(self) -> int:
            """Return -1: there is none."""
            return -1

        def reserve(self, descriptor: int) -> None:
            """Do nothing."""

        def enable(self, descriptor: int) -> None:
            """Tell when it is readable."""
            if self._is_closed:
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
            self._enabled[descriptor] = None

        def disable(self, descriptor: int) -> None:
            """Tell no more."""
            self._enabled.pop(descriptor, None)

        def forget(self, descriptor: int) -> None:
            """Tell no more, if it was told of."""
            self._enabled.pop(descriptor, None)

        def ready(self) -> list[int]:
            """Return those that are readable now; all of them where the system refuses to tell."""
            if not self._enabled:
                return []
            try:
                return readiness.ready(self._enabled)
            except OSError:  # all are closed, which a read of each will show
                return list(self._enabled)

        def close(self) -> None:
            """Tell of nothing, and take no more."""
            self._is_closed = True
            self._enabled.clear()

else:

    class Watch:
        """The same by `selectors`, which knows no places that are not enabled."""

        def __init__(self) -> None:
            self._selector = selectors.DefaultSelector()

        def fileno(self) -> int:
            """Return the one descriptor."""
            return cast("selectors.EpollSelector", self._selector).fileno()

        def reserve(self, descriptor: int) -> None:
            """Do nothing."""

        def enable(self, descriptor: int) -> None:
            """Tell when it is readable."""
            self._selector.register(descriptor, selectors.EVENT_READ)

        def disable(self, descriptor: int) -> None:
            """Tell no more."""
            self._selector.unregister(descriptor)

        def forget(self, descriptor: int) -> None:
            """Tell no more, if it was told of."""
            if descriptor in self._selector.get_map():
                self._selector.unregister(descriptor)

        def ready(self) -> list[int]:
            """Return those that are readable now."""
            return [key.fd for key, _ in self._selector.select(0)]

        def close(self) -> None:
            """Close the one descriptor."""
            self._selector.close()
