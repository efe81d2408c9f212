"""`listen`: a receiver with one membership."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

from ..streams.streams import Overflow
from ..values.addresses import Address
from ..values.filters import Sources
from ..values.interface import InterfaceLike
from .membership import Membership
from .receiver import Receiver

__all__ = ["Listener", "listen"]


class Listener(Receiver):
    """A receiver with one `membership`, joined on entering the context. Made by `listen`."""

    membership: Membership

    def __init__(
        self,
        group: Address,
        port: int,
        *,
        sources: Sources = None,
        interface: InterfaceLike = None,
        capacity: int = 4096,
        overflow: Overflow = Overflow.PAUSE,
        receive_buffer: int | None = None,
        ancillary: Iterable[str] = (),
        gro: bool | None = None,
    ) -> None:
        super().__init__(
            capacity=capacity,
            overflow=overflow,
            receive_buffer=receive_buffer,
            ancillary=ancillary,
            gro=gro,
        )
        self._wanted = (group, port, sources, interface)

    async def __aenter__(self) -> Self:
        group, port, sources, interface = self._wanted
        try:
            self.membership = await self.join(group, port, sources=sources, interface=interface)
        except BaseException:
            await self.aclose()
            raise
        return self


def listen(
    group: Address,
    port: int,
    *,
    sources: Sources = None,
    interface: InterfaceLike = None,
    capacity: int = 4096,
    overflow: Overflow = Overflow.PAUSE,
    receive_buffer: int | None = None,
    ancillary: Iterable[str] = (),
    gro: bool | None = None,
) -> Listener:
    """Return a receiver that joins one group when its context is entered.

    The arguments and errors are those of `Receiver` and `Receiver.join`.

        async with aiomcast.listen("232.1.1.1", 5000, sources=["192.0.2.10"]) as feed:
            async for packet in feed:
                ...
    """
    return Listener(
        group,
        port,
        sources=sources,
        interface=interface,
        capacity=capacity,
        overflow=overflow,
        receive_buffer=receive_buffer,
        ancillary=ancillary,
        gro=gro,
    )
