"""The event loops there are on this platform, by name."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable

__all__ = ["LOOPS"]

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.SelectorEventLoop}
if sys.platform == "win32":
    LOOPS["proactor"] = asyncio.ProactorEventLoop
else:
    import uvloop

    LOOPS["uvloop"] = uvloop.new_event_loop
