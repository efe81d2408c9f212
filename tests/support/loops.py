"""The event loops that everything asynchronous is tested on, by name."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable

__all__ = ["LOOPS", "NewLoop"]

NewLoop = Callable[[], asyncio.AbstractEventLoop]


def _loops() -> dict[str, NewLoop]:
    loops: dict[str, NewLoop] = {"asyncio": asyncio.SelectorEventLoop}
    if sys.platform == "win32":
        loops["proactor"] = asyncio.ProactorEventLoop
    elif os.environ.get("AIOMCAST_WITHOUT_UVLOOP") != "1":
        import uvloop

        loops["uvloop"] = uvloop.new_event_loop
    return loops


LOOPS = _loops()
"""Loops by name. AIOMCAST_WITHOUT_UVLOOP=1 says that uvloop is not made for this Python."""
