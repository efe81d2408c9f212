"""Which code reads numbers at a fixed place: compiled where the reader is, or the same in pure Python.

`implementation` says which one is in use: "native" or "portable". AIOMCAST_READING forces one, as it does
the reader's; "native" where it was not built is an ImportError.
"""

import os
from typing import TYPE_CHECKING

from .. import reading

__all__ = ["Place", "implementation", "only_flow", "smoothed"]

implementation: str = "portable"
"""What reads numbers at fixed places: "native" is compiled code, "portable" the same in Python.

It goes by `aiomcast.reading.implementation`.
"""
if TYPE_CHECKING or reading.implementation != "native":
    from .places import Place, only_flow, smoothed
else:
    try:
        from ._numbers import Place, only_flow, smoothed

        implementation = "native"
    except ImportError:
        if os.environ.get("AIOMCAST_READING") == "native":
            raise
        from .places import Place, only_flow, smoothed
