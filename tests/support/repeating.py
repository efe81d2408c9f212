"""Something that is done again and again, in a thread, while something else is tried."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["repeating"]


@contextmanager
def repeating(do: Callable[[], object]) -> Iterator[None]:
    """Meanwhile it is done 200 times a second, or nearly."""
    ended = threading.Event()

    def run() -> None:
        while not ended.wait(0.005):
            do()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
