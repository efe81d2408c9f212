"""`create_multicast_endpoint`: sockets of a group, read into a protocol."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import TypeVar, Unpack

from ..errors import ArgumentError, ArgumentTypeError
from ..reading import Reader
from ..rfc3678.holdings import join_wait
from ..streams.pausing import pass_pause
from ..system.interfaces import placed
from ..values.addresses import Address, canonical
from ..values.filters import SourceFilter, Sources
from ..values.interface import ALL_INTERFACES, InterfacesLike
from ..values.lookup import zones_of
from ..values.options import Options, ReadingKeywords
from ..values.shown import shown
from .mending import Follows
from .opener import Opener
from .sending_side import SendingSide
from .transport import MulticastTransport

__all__ = ["create_multicast_endpoint"]

P = TypeVar("P", bound=asyncio.BaseProtocol)


async def create_multicast_endpoint(
    protocol_factory: Callable[[], P],
    group: Address,
    port: int | None,
    *,
    interface: InterfacesLike = None,
    sources: Sources = (),
    sock: socket.socket | int | None = None,
    ttl: int = 1,
    loop: bool = True,
    source: Address | None = None,
    source_port: int | None = None,
    heal: bool = True,
    **reading: Unpack[ReadingKeywords],
) -> tuple[MulticastTransport, P]:
    """Open a socket for `group` and `port` and read it into a new protocol.

    - `protocol_factory`: makes a `MulticastProtocol`, which has the source calls and may take batches, or
      any `asyncio.DatagramProtocol`.
    - `sources`: the filter to start with. By default none, so nothing arrives until the protocol joins a
      source.
    - `interface`: as for `Receiver.join`, one, several or all.
    - `port`, `sock`: as for `open_socket`.
    - `ttl`: of what `transport.sendto` sends, 0 to 255. 1 stays on the link.
    - `loop`: whether receivers on this host hear what it sends, too.
    - `source`: the address to send from. None is the one that the system chooses for the group.
    - `source_port`: the port to send from; give the group's own where a protocol asks for that, as mDNS
      does. None is one that the system chooses.
    - `heal`: whether it stays joined through what becomes of its interfaces, as a `Receiver` does: a carrier
      that was lost and is back, an interface that was deleted and made again, a route that leads elsewhere
      with `interface=None`, interfaces that come and go with `ALL_INTERFACES`, addresses that it sends from.
      The log and `MulticastProtocol.interface_changed` tell of it, and `error_received` of what is refused.
    - `reading`: `receive_buffer`, `ancillary`, `gro` and `socket_options`, as for `Receiver`.

    Returns (transport, protocol) after `connection_made`, reading. An exception in `connection_made`
    goes to the loop's exception handler, as in asyncio.

    Raises AddressError, ArgumentError, FilterError or InterfaceError for wrong arguments
    (ArgumentTypeError and its like for wrong types), and RefusedError when the system refuses.
    """
    if not callable(protocol_factory):
        raise ArgumentTypeError(f"protocol_factory {shown(protocol_factory)}", "give a class, or a callable")
    if not isinstance(heal, bool):
        raise ArgumentTypeError(f"heal {shown(heal)}", "give True or False")
    options = Options(**reading)
    running = asyncio.get_running_loop()
    if isinstance(sources, Iterable) and not isinstance(sources, (SourceFilter, str, bytes)):
        sources = tuple(sources)  # to look at them more than once
    wanted, interfaces = placed(group, sources, interface)
    if sock is not None and len(interfaces) > 1:
        raise ArgumentError("one socket cannot be joined on several interfaces", "name one of them")
    indexes = () if wanted.is_none else [found.index for found in interfaces]
    await pass_pause(lambda: join_wait(canonical(group), indexes))
    with ExitStack() as opened:  # that closes them, or gives `sock` back, unless all is well
        opener = Opener(group, options)
        readers: list[Reader] = []
        for found in interfaces:
            at = readers[0].sock.port if readers else port
            readers.append(opened.enter_context(opener.opening(at, found, wanted, sock)))
        sending = SendingSide(
            running,
            readers[0].sock.group,
            readers[0].sock.port,
            interfaces,
            ttl=ttl,
            is_looped=loop,
            source=source,
            source_port=source_port,
        )
        for reader in readers:
            reader.sock.set_filter(wanted)
        protocol = protocol_factory()
        transport = MulticastTransport(running, readers, protocol, sending)
    try:
        if heal:
            is_by_route = interface is None and sock is None and not _has_zone(group, sources)
            transport._mend(opener, Follows(interface is ALL_INTERFACES, is_by_route))
        transport._begin()
    except BaseException:  # an end of the program
        transport.abort()
        raise
    return transport, protocol


def _has_zone(group: Address, sources: Sources) -> bool:
    listed = sources if isinstance(sources, tuple) else ()
    return bool(zones_of([group, *listed]))
