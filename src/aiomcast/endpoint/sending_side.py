"""What an endpoint sends with: a socket on each of its interfaces, made when it is first needed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol, final

from ..errors import ArgumentError, RefusedError
from ..reading import Reader
from ..system.routes import routes_to
from ..system.sockets import MulticastSocket
from ..values.addresses import Address, source_address
from ..values.filters import SourceFilter
from ..values.interface import Interface
from .outgoing import Outgoing, write_buffer_limits
from .peers import SocketAddress, destination
from .sending import check_loop, check_source_port, check_ttl, datagram_of, is_left_behind, open_sending

__all__ = ["SendingSide", "Told"]

_LOG = logging.getLogger("aiomcast")


class Told(Protocol):
    """Who is told of what happens while sending, and reads the answers."""

    def answering(self, reader: Reader, /) -> None:
        """Read this socket too. RefusedError when the system refuses, and then it is closed."""

    def unanswering(self, reader: Reader, /) -> None:
        """Read it no more, and close it."""

    def answered(self, reader: Reader, /) -> None:
        """Read it out, and close it."""

    def pause_writing(self) -> None:
        """More than the high limit waits to be sent on an interface."""

    def resume_writing(self) -> None:
        """What waits has fallen to the low limit on all of them."""

    def error_received(self, error: OSError, /) -> None:
        """The system has refused a datagram, or a socket to send it from."""

    def sent_too_late(self) -> None:
        """Something was to be sent after the end."""


class _Way:
    """One interface's socket, and what waits to be sent on it."""

    def __init__(
        self, interface: Interface, sock: MulticastSocket, outgoing: Outgoing, to_group: SocketAddress
    ) -> None:
        self.interface = interface
        self.sock = sock
        self.reader = Reader(sock, SourceFilter.any())
        self.outgoing = outgoing
        self.to_group = to_group
        self.source: SocketAddress = sock.getsockname()


@final
class SendingSide:
    """Sends to `group` and `port` on `interfaces`, and to whoever has asked.

    The sockets are apart from those that receive: they are bound to an address of the host, so that
    answers come to them and a packet's source is the same on every system. They are made at the first
    datagram, or by `prepare` where a source or its port was asked for.

    `ttl`, `loop`, `source` and `source_port` are those of `Sender`; the errors of wrong ones too.
    """

    told: Told

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        group: str,
        port: int,
        interfaces: Sequence[Interface],
        *,
        ttl: int,
        is_looped: bool,
        source: Address | None,
        source_port: int | None,
    ) -> None:
        self._loop = loop
        self._group = group
        self._port = port
        self._interfaces = tuple(interfaces)
        self._is_fitted = False  # there is a way for each of them
        self._ttl = check_ttl(ttl)
        self._is_looped = check_loop(is_looped)
        self._source = None if source is None else source_address(source, group)
        self._source_port = None if source_port is None else check_source_port(source_port)
        if self._source is not None and len(interfaces) > 1:
            raise ArgumentError(
                f"source {self._source} for {len(interfaces)} interfaces",
                "an address belongs to one interface: open an endpoint on it alone",
            )
        self._ways: tuple[_Way, ...] = ()
        self._paused: set[Interface] = set()
        self._limits = write_buffer_limits()
        self._is_closed = False
        self._ending: Callable[[], object] | None = None
        self._untold: list[Callable[[], None]] | None = None  # while a datagram is on its way to several

    @property
    def source(self) -> SocketAddress | None:
        """See `MulticastTransport.source`."""
        return self._ways[0].source if self._ways else None

    def prepare(self) -> None:
        """Make the sockets now where an address was asked for. RefusedError when the system refuses."""
        if self._source is not None or self._source_port is not None:
            self._open()

    def sendto(self, data: bytes | bytearray | memoryview, addr: object = None) -> None:
        """See `MulticastTransport.sendto`."""
        content = datagram_of(data)
        target = None if addr is None else destination(addr, self._group, self._interfaces)
        if self._is_closed:
            self.told.sent_too_late()
            return
        if not self._is_fitted:
            try:
                self._open()
            except RefusedError as error:
                self.told.error_received(error)
        if not self._ways:
            return
        # Whoever is told may end all of it: not before the datagram is on every way.
        told = self._untold = []
        try:
            if target is None:
                for way in self._ways:
                    way.outgoing.sendto(content, way.to_group)
            else:
                self._send_towards(content, target)
        finally:
            self._untold = None
        for tell in told:
            tell()

    def move(self, interfaces: Sequence[Interface]) -> None:
        """Send on these from now on; on those that stay by the sockets that there are."""
        self._interfaces = tuple(interfaces)
        indexes = {one.index for one in interfaces}
        self._renew([way for way in self._ways if way.interface.index not in indexes])

    def look_at_sources(self) -> None:
        """Send from other addresses where those that the system chose are the interfaces' no more."""
        self._renew([way for way in self._ways if self._is_stale(way)])

    def _is_stale(self, way: _Way) -> bool:
        if self._source is not None:
            return False
        return is_left_behind(self._group, self._port, way.interface.index, way.source[0])

    def _renew(self, stale: Sequence[_Way]) -> None:
        if self._is_closed:
            return
        had_any = bool(self._ways)
        self._ways = tuple(way for way in self._ways if way not in stale)
        self._is_fitted = self._is_fitted and len(self._ways) == len(self._interfaces)
        for way in stale:
            way.outgoing.close(partial(self.told.answered, way.reader))
        if not self._is_fitted and had_any:
            with contextlib.suppress(RefusedError):  # then it is told when something is to be sent
                self._open()
        elif not self._is_fitted:
            with contextlib.suppress(RefusedError):
                self.prepare()

    def _open(self) -> None:
        known = {way.interface.index: way for way in self._ways}
        opened: list[_Way] = []
        read: list[Reader] = []
        try:
            for interface in self._interfaces:
                if interface.index not in known:
                    opened.append(self._opened(interface))
            for way in opened:
                self.told.answering(way.reader)
                read.append(way.reader)
        except BaseException:
            for reader in read:
                self.told.unanswering(reader)
            for way in opened:
                way.sock.close()
            raise
        known.update((way.interface.index, way) for way in opened)
        self._ways = tuple(known[one.index] for one in self._interfaces)
        self._is_fitted = True

    def _opened(self, interface: Interface) -> _Way:
        plain = open_sending(
            self._group,
            self._port,
            interface,
            ttl=self._ttl,
            loop=self._is_looped,
            source=self._source,
            source_port=self._source_port or 0,
        )
        host, port = plain.getsockname()[:2]
        sock = MulticastSocket.adopting(plain, host, port, interface)
        outgoing = Outgoing(
            self._loop,
            sock,
            pause_writing=partial(self._pause, interface),
            resume_writing=partial(self._resume, interface),
            error_received=self._tell_error,
        )
        outgoing.set_write_buffer_limits(*self._limits)
        to_group = destination((self._group, self._port), self._group, (interface,))
        return _Way(interface, sock, outgoing, to_group)

    def _send_towards(self, content: memoryview, target: SocketAddress) -> None:
        """Send to an address, on the way that leads there."""
        try:
            way = self._towards(target)
        except RefusedError as error:
            self._tell_error(error)
        else:
            way.outgoing.sendto(content, target)

    def _towards(self, target: SocketAddress) -> _Way:
        first = self._ways[0]
        if len(self._ways) == 1:
            return first
        if len(target) == 4 and target[3]:
            return next((way for way in self._ways if way.interface.index == target[3]), first)
        [route] = routes_to([target[0]])
        for way in self._ways:
            if way.interface.index == route.index or (route.index is None and way.source[0] == route.source):
                return way
        return first

    # What waits

    def _pause(self, interface: Interface) -> None:
        self._paused.add(interface)
        if len(self._paused) == 1:
            self._tell(self.told.pause_writing)

    def _resume(self, interface: Interface) -> None:
        self._paused.discard(interface)
        if not self._paused:
            self._tell(self.told.resume_writing)

    def _tell_error(self, error: OSError) -> None:
        self._tell(partial(self.told.error_received, error))

    def _tell(self, tell: Callable[[], None]) -> None:
        if self._untold is None:
            tell()
        else:
            self._untold.append(tell)

    def get_write_buffer_size(self) -> int:
        """See `MulticastTransport.get_write_buffer_size`."""
        return sum(way.outgoing.get_write_buffer_size() for way in self._ways)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """See `MulticastTransport.get_write_buffer_limits`."""
        return self._limits

    def set_write_buffer_limits(self, high: int | None, low: int | None) -> None:
        """See `MulticastTransport.set_write_buffer_limits`. They hold for each interface by itself."""
        self._limits = write_buffer_limits(high, low)
        for way in self._ways:
            way.outgoing.set_write_buffer_limits(*self._limits)

    # Ending

    def close(self, then: Callable[[], object]) -> None:
        """Take no more, and call `then` once all that waits is sent."""
        self._is_closed = True
        self._ending = then
        left = set(self._ways)

        def closed(way: _Way) -> None:
            left.discard(way)
            if not left:
                self._end()

        if not left:
            self._end()
        for way in self._ways:
            way.outgoing.close(partial(closed, way))

    def abort(self) -> None:
        """Drop what waits, after `close`, and say in the log how much that was."""
        for way in self._ways:
            way.outgoing.abort()
        dropped = sum(way.outgoing.dropped for way in self._ways)
        if dropped:
            _LOG.info("%d datagrams to %s port %d were not sent", dropped, self._group, self._port)
        self._end()

    def _end(self) -> None:
        ending, self._ending = self._ending, None
        if ending is not None:
            ending()
