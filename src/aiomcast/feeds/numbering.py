"""Which code reads numbers at a fixed place: compiled where the reader is, or the same in pure Python.

`implementation` says which one is in use: "native" or "portable". AIOMCAST_READING forces one, as it does
the reader's; "native" where it was not built is an ImportError.
"""

import os
from typing import TYPE_CHECKING

from .. import reading
from . import level
from .places import Numbers

__all__ = ["Level", "Place", "implementation", "level_of", "only_flow", "smoothed"]

implementation: str = "portable"
"""What reads numbers at fixed places: "native" is compiled code, "portable" the same in Python.

It goes by `aiomcast.reading.implementation`.
"""
if TYPE_CHECKING or reading.implementation != "native":
    from .level import Level
    from .places import Place, only_flow, smoothed
else:
    try:
        from ._numbers import Level, Place, only_flow, smoothed

        implementation = "native"
    except ImportError:
        if os.environ.get("AIOMCAST_READING") == "native":
            raise
        from .level import Level
        from .places import Place, only_flow, smoothed


def level_of(count: int, numbers: Numbers, mask: int, sample: level.Sample) -> level.Level:
    """Return a `Level`: the compiled one where it can read the numbers."""
    return (Level if isinstance(numbers, Place) else level.Level)(count, numbers, mask, sample)
