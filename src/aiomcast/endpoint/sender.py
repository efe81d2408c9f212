"""`Sender`: sends to one group. For tests, demos and tools."""

from __future__ import annotations

import asyncio
import contextlib
import socket

from ..errors import ArgumentError, ArgumentTypeError, RefusedError, StateError
from ..rfc3678 import kernel
from ..rfc3678.abi import native
from ..rfc3678.refusals import refusal, refusals
from ..system.interfaces import find_interface
from ..values.addresses import Address, check_port, family, group_address, pack, source_address
from ..values.closing import Closing
from ..values.interface import Interface, InterfaceLike
from ..values.shown import shown

__all__ = ["Sender"]

ABI = native()


class Sender(Closing):
    """Sends datagrams to `group` and `port`.

    `interface` takes what `Receiver.join` takes; None means the interface of the route to the
    group, or of `source`. `ttl` is the TTL or hop limit (0 to 255, 1 stays on the link),
    `loop` whether receivers on this host hear it too, `source` the local address to send from.

    An async context manager. AddressError, ArgumentError, InterfaceError for wrong arguments
    (ArgumentTypeError for a wrong type); RefusedError when the system refuses.
    """

    def __init__(
        self,
        group: Address,
        port: int,
        *,
        interface: InterfaceLike = None,
        ttl: int = 1,
        loop: bool = True,
        source: Address | None = None,
    ) -> None:
        self.group: str = group_address(group)
        self.port: int = check_port(port)
        if isinstance(ttl, bool) or not isinstance(ttl, int):
            raise ArgumentTypeError(f"ttl {shown(ttl)}", "give a whole number from 0 to 255")
        if not 0 <= ttl <= 255:
            raise ArgumentError(f"ttl {shown(ttl)}", "give a whole number from 0 to 255")
        if not isinstance(loop, bool):
            raise ArgumentTypeError(f"loop {shown(loop)}", "give True or False")
        bound = None if source is None else source_address(source, self.group)
        self.interface: Interface = find_interface(interface, group, () if source is None else (source,))
        kind = socket.AF_INET if family(self.group) == 4 else socket.AF_INET6
        self._closed = False
        self._ready: asyncio.Future[None] | None = None
        with refusals(f"opening a socket to send to {self.group} from {bound or self.interface.name}"):
            self._socket = socket.socket(kind, socket.SOCK_DGRAM)
            try:
                self._prepare(self.interface, ttl, loop, bound)
            except BaseException:
                self._socket.close()
                raise

    def _prepare(self, interface: Interface, ttl: int, loop: bool, bound: str | None) -> None:
        sock = self._socket
        sock.setblocking(False)
        if sock.family == socket.AF_INET6:
            kernel.setsockopt(sock, ABI.IPPROTO_IPV6, ABI.IPV6_MULTICAST_IF, interface.index)
            kernel.setsockopt(sock, ABI.IPPROTO_IPV6, ABI.IPV6_MULTICAST_HOPS, ttl)
            kernel.setsockopt(sock, ABI.IPPROTO_IPV6, ABI.IPV6_MULTICAST_LOOP, int(loop))
            sock.bind((bound or "::", 0, 0, interface.index if bound else 0))
            sock.connect((self.group, self.port, 0, interface.index))
            return
        address = pack(bound or "0.0.0.0")
        kernel.setsockopt(sock, ABI.IPPROTO_IP, ABI.IP_MULTICAST_IF, ABI.outgoing(address, interface.index))
        kernel.setsockopt(sock, ABI.IPPROTO_IP, ABI.IP_MULTICAST_TTL, ttl)
        kernel.setsockopt(sock, ABI.IPPROTO_IP, ABI.IP_MULTICAST_LOOP, int(loop))
        sock.bind((bound or "0.0.0.0", 0))
        sock.connect((self.group, self.port))

    @property
    def source(self) -> str:
        """The address it sends from."""
        return str(self._socket.getsockname()[0])

    async def send(self, data: bytes | bytearray | memoryview) -> None:
        """Send one datagram, waiting while the system's buffer is full.

        `data` is bytes or another contiguous buffer, else it is an ArgumentTypeError. RefusedError
        when the system refuses (EMSGSIZE: longer than 65,507 bytes), StateError when closed.
        """
        content = _bytes_of(data)
        while True:
            if self._closed:
                raise StateError("the sender is closed", "make a new one")
            try:
                self._socket.send(content)
                return
            except BlockingIOError:
                await self._writable()
            except RefusedError:
                raise
            except OSError as error:
                raise refusal(error, f"sending {content.nbytes} bytes to {self.group}") from error

    async def _writable(self) -> None:
        loop = asyncio.get_running_loop()
        ready = self._ready = loop.create_future()
        number = self._socket.fileno()
        loop.add_writer(number, self._wake)
        try:
            await ready
        finally:
            if not self._closed:
                loop.remove_writer(number)

    def _wake(self) -> None:
        if self._ready is not None and not self._ready.done():
            self._ready.set_result(None)

    async def aclose(self) -> None:
        """Close the socket; a `send` that waits raises StateError. Closing twice is fine."""
        if not self._closed:
            if self._ready is not None and not self._ready.done():
                asyncio.get_running_loop().remove_writer(self._socket.fileno())
            self._closed = True
            self._wake()
            self._socket.close()


def _bytes_of(data: bytes | bytearray | memoryview) -> memoryview:
    with contextlib.suppress(TypeError, ValueError, BufferError):
        content = memoryview(data)
        if content.c_contiguous:
            return content
    raise ArgumentTypeError(f"{shown(data)} is no datagram", "give bytes; text has to be encoded first")
