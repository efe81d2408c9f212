"""`listen`: a receiver with one membership."""

from __future__ import annotations

import socket
from types import TracebackType
from typing import NoReturn, Unpack, final

from ..errors import StateError
from ..reading.contract import Network
from ..values.addresses import Address
from ..values.filters import Sources
from ..values.interface import InterfacesLike
from ..values.options import OptionKeywords
from .membership import Membership
from .receiver import Receiver

__all__ = ["Listener", "listen"]


@final
class Listener:
    """Joins one group when its context is entered, and closes everything at its end. See `listen`."""

    def __init__(
        self,
        receiver: Receiver,
        group: Address,
        port: int,
        sources: Sources,
        interface: InterfacesLike,
        sock: socket.socket | int | None,
        wait: bool,
    ) -> None:
        self._receiver = receiver
        self._wanted = (group, port, sources, interface, sock, wait)

    def __repr__(self) -> str:
        group, port, *_ = self._wanted
        return f"<Listener for {group} port {port}: {self._receiver!r}>"

    @property
    def receiver(self) -> Receiver:
        """The receiver, for its events and its statistics."""
        return self._receiver

    async def __aenter__(self) -> Membership:
        group, port, sources, interface, sock, wait = self._wanted
        try:
            return await self._receiver.join(
                group, port, sources=sources, interface=interface, sock=sock, wait=wait
            )
        except BaseException:
            await self._receiver.aclose()
            raise

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._receiver.aclose()

    def __aiter__(self) -> NoReturn:
        raise StateError(
            "listen() was not entered", "async with aiomcast.listen(...) as feed, and iterate over feed"
        )


def listen(
    group: Address,
    port: int,
    *,
    sources: Sources = None,
    interface: InterfacesLike = None,
    sock: socket.socket | int | None = None,
    wait: bool = False,
    network: Network | None = None,
    heal: bool = True,
    silence: float | None = None,
    **options: Unpack[OptionKeywords],
) -> Listener:
    """Return what joins one group when its context is entered, and yields the `Membership`.

    The arguments and errors are those of `Receiver` and `Receiver.join`.

        async with aiomcast.listen("232.1.1.1", 5000, sources=["192.0.2.10"]) as feed:
            async for packet in feed:
                ...

    To iterate over it without entering it is a StateError.
    """
    receiver = Receiver(network=network, heal=heal, silence=silence, **options)
    return Listener(receiver, group, port, sources, interface, sock, wait)
