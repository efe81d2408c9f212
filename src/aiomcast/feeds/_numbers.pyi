from typing import Final

from ..values.packets import Flow, Packet

__all__: Final = ["Place", "only_flow", "smoothed"]

class Place:
    """See `places.Place`."""

    def __init__(self, offset: int, bits: int, is_little: bool, *, is_rtp: bool = False) -> None: ...
    def number(self, data: bytes) -> int | None: ...
    def numbers(self, batch: list[Packet]) -> list[int | None]: ...
    def row(self, batch: list[Packet]) -> int | None: ...

def only_flow(batch: list[Packet]) -> Flow | None:
    """See `places.only_flow`."""

def smoothed(
    stamps: list[int | None], before: int | None, gap: float | None, jitter: float | None
) -> tuple[int | None, float | None, float | None]:
    """See `places.smoothed`."""
