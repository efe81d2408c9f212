from typing import Final

from ..values.packets import Flow, Packet
from .items import Item
from .level import Brought, Sample

__all__: Final = ["Level", "Place", "only_flow", "smoothed"]

class Place:
    """See `places.Place`."""

    def __init__(self, offset: int, bits: int, is_little: bool, *, is_rtp: bool = False) -> None: ...
    def number(self, data: bytes) -> int | None: ...
    def numbers(self, batch: list[Packet]) -> list[int | None]: ...
    def row(self, batch: list[Packet]) -> int | None: ...

class Level:
    """See `level.Level`."""

    def __init__(self, count: int, numbers: Place, mask: int, sample: Sample) -> None: ...
    def begin(self, due: int, behind: list[int], back: int, room: int, came: int) -> None: ...
    def take(self, queued: dict[int, list[Packet]], now: float, out: list[Item]) -> bool: ...
    def end(self) -> tuple[int, int, list[Brought]]: ...

def only_flow(batch: list[Packet]) -> Flow | None:
    """See `places.only_flow`."""

def smoothed(
    stamps: list[int | None], before: int | None, gap: float | None, jitter: float | None
) -> tuple[int | None, float | None, float | None]:
    """See `places.smoothed`."""
