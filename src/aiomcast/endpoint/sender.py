"""`Sender`: sends to one group. For tests, demos and tools."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import weakref
from collections import deque
from collections.abc import Callable, Sequence

import attrs

from ..errors import ArgumentTypeError, MulticastError, RefusedError, StateError, UnsupportedError
from ..loops.in_loop import weakly
from ..loops.watching import PeriodicWatch, SharedWatch
from ..reading.contract import Watch
from ..rfc3678.refusals import refusal, refusals
from ..system import looking
from ..system.interfaces import find_interface
from ..values.addresses import Address, check_port, group_address, source_address, split_zone
from ..values.closing import Closing
from ..values.interface import Interface, InterfaceLike
from ..values.links import Announcement
from ..values.shown import shown
from .sending import (
    Writable,
    check_foreign,
    check_loop,
    check_source_port,
    check_ttl,
    datagram_of,
    explained,
    is_left_behind,
    loop_of,
    open_sending,
    set_loop,
    set_ttl,
    ttl_of,
)

__all__ = ["Sender"]

_BETWEEN_LOOKS = 0.1  # seconds, at what is not there yet
_PER_TURN = 64  # datagrams sent without giving other tasks a turn


class Sender(Closing):
    """Sends datagrams to `group` and `port`.

    - `interface`: as for `Receiver.join`, but one. None is the interface of the route to the group, or of
      `source`.
    - `ttl`: the TTL or hop limit, 0 to 255. 1 stays on the link.
    - `loop`: whether receivers on this host hear it, too.
    - `source`: the local address to send from. None is one of the interface's, which the system chooses.
    - `source_port`: the port to send from. 0 is one that the system chooses; one that is asked for is
      shared with others that share it.
    - `heal`: whether it goes on to send when its interface was made anew, or has other addresses, or when the
      route by which it was chosen leads elsewhere: by another socket, from the address that the system
      chooses then, or again from `source`.

    - `foreign`: whether `source` may be an address that this host does not have, as for a capture that is
      played again (IP_TRANSPARENT, see ip(7)). It takes Linux, and CAP_NET_ADMIN or CAP_NET_RAW: else it
      is an UnsupportedError or a NoPermissionError. The interface is that of the route to the group then.

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
        source_port: int = 0,
        foreign: bool = False,
        heal: bool = True,
    ) -> None:
        self.group: str = group_address(group)
        self.port: int = check_port(port)
        ttl, loop, source_port = check_ttl(ttl), check_loop(loop), check_source_port(source_port)
        if not isinstance(heal, bool):
            raise ArgumentTypeError(f"heal {shown(heal)}", "give True or False")
        bound = None if source is None else source_address(source, self.group)
        sources = () if source is None or check_foreign(foreign) else (source,)
        self.interface: Interface = find_interface(interface, group, sources)
        self._closed = False
        self._sent = 0
        self._waiting: deque[asyncio.Future[None]] = deque()  # whose turn it is, first of all
        self._writable: Writable | None = None
        self._bound = bound, source_port, foreign
        self._is_by_route = interface is None and source is None and split_zone(group)[1] is None
        self._heals = heal
        self._watched: asyncio.AbstractEventLoop | None = None  # whose announcements are listened to
        self._end_watch: Callable[[], object] | None = None
        self._is_suspect = False  # something may have become of the interface
        self._not_before = 0.0  # by the loop's clock: when it is looked at again
        self._socket = self._opened(self.interface, ttl, loop)

    def _opened(self, interface: Interface, ttl: int, loop: bool) -> socket.socket:
        bound, source_port, foreign = self._bound
        opened = open_sending(
            self.group,
            self.port,
            interface,
            ttl=ttl,
            loop=loop,
            source=bound,
            source_port=source_port,
            foreign=foreign,
        )
        try:
            with (
                explained(self.group, interface, bound),
                refusals(f"opening a socket to send to {self.group}", sends=True),
            ):
                zone = (0, interface.index) if ":" in self.group else ()
                opened.connect((self.group, self.port, *zone))
        except BaseException:
            opened.close()
            raise
        return opened

    @property
    def source(self) -> str:
        """The address it sends from. StateError when closed."""
        self._check()
        return str(self._socket.getsockname()[0])

    @property
    def source_port(self) -> int:
        """The port it sends from. StateError when closed."""
        self._check()
        return int(self._socket.getsockname()[1])

    @property
    def ttl(self) -> int:
        """The TTL or hop limit, 0 to 255; can be set. StateError when closed."""
        self._check()
        return ttl_of(self._socket)

    @ttl.setter
    def ttl(self, ttl: int) -> None:
        self._check()
        with refusals(f"setting the TTL of {self.group}", sends=True):
            set_ttl(self._socket, check_ttl(ttl))

    @property
    def loop(self) -> bool:
        """Whether receivers on this host hear it too; can be set. StateError when closed."""
        self._check()
        return loop_of(self._socket)

    @loop.setter
    def loop(self, loop: bool) -> None:
        self._check()
        with refusals(f"setting the loop of {self.group}", sends=True):
            set_loop(self._socket, check_loop(loop))

    async def send(self, data: bytes | bytearray | memoryview) -> None:
        """Send one datagram, waiting while the system's buffer is full, after those that wait already.

        `data` is bytes or another contiguous buffer, else it is an ArgumentTypeError. RefusedError
        when the system refuses (EMSGSIZE: longer than 65,507 bytes), StateError when closed. Now and
        then other tasks have their turn, however much room there is.
        """
        content = datagram_of(data)
        self._check()
        if self._heals:
            self._follow(asyncio.get_running_loop())
        self._sent += 1
        others_first = self._sent % _PER_TURN == 0
        if others_first:  # by a turn in the queue, so that nobody overtakes meanwhile
            asyncio.get_running_loop().call_soon(self._wake)
        if others_first or self._waiting or not self._is_sent(content):
            await self._send_in_turn(content)

    def _is_sent(self, content: memoryview) -> bool:
        """Whether there was room for it."""
        self._check()
        try:
            self._socket.send(content)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:
            raise refusal(error, f"sending {content.nbytes} bytes to {self.group}", sends=True) from error
        return True

    async def _send_in_turn(self, content: memoryview) -> None:
        loop = asyncio.get_running_loop()
        turn = loop.create_future()
        self._waiting.append(turn)
        try:
            if self._writable is None:
                self._writable = Writable(loop, self._socket, self._wake)
            self._writable.watch()
            await turn
            while not self._is_sent(content):
                turn = self._waiting[0] = loop.create_future()
                await turn
        finally:  # the next one tries at once, whether this one has sent, was cancelled, or met the end
            self._waiting.remove(turn)
            self._wake()
            if not self._waiting and self._writable is not None:
                self._writable.stop()
                self._writable = None

    # Its interface

    def _follow(self, loop: asyncio.AbstractEventLoop) -> None:
        """Listen to what becomes of the interface, and send by another socket where that has to be."""
        if loop is not self._watched:
            self._unwatch()
            with contextlib.suppress(RefusedError):  # the next datagram tries again
                self._watch(loop)
        if self._is_suspect and loop.time() >= self._not_before:
            self._is_suspect = False
            try:
                self._look(loop)
            except MulticastError:  # it is not there yet, or has no address
                self._is_suspect, self._not_before = True, loop.time() + _BETWEEN_LOOKS

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        told = weakly(self._announced)
        watch: Watch
        try:
            watch = SharedWatch(loop, told)
            watch.follow_routes(self._is_by_route)
        except (UnsupportedError, NotImplementedError):  # no netlink, or no add_reader
            watch = PeriodicWatch(loop, told)
        self._end_watch = ending = weakref.finalize(self, _closed, watch)
        ending.atexit = False
        self._watched = loop
        self._not_before = 0.0
        self._is_suspect = True  # nobody has listened before

    def _unwatch(self) -> None:
        if self._end_watch is not None:
            self._end_watch()
        self._end_watch = self._watched = None

    def _announced(self, announced: Sequence[Announcement]) -> None:
        self._is_suspect = True

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        index, name = self.interface.index, self.interface.name
        link = looking.link(index)
        if self._is_by_route and (routed := find_interface(None, self.group)).index != index:
            now = routed
        elif link is None:
            now = find_interface(name)
        elif self._bound[0] is None and is_left_behind(self.group, self.port, index, self.source):
            now = find_interface(index)
        else:
            if link.name != name:
                self.interface = attrs.evolve(self.interface, name=link.name)
            return
        opened = self._opened(now, ttl_of(self._socket), loop_of(self._socket))
        if self._writable is not None:
            self._writable.stop()
            self._writable = Writable(loop, opened, self._wake)
            self._writable.watch()
        before, self._socket, self.interface = self._socket, opened, now
        before.close()
        self._wake()

    def _wake(self) -> None:
        if self._waiting and not self._waiting[0].done():
            self._waiting[0].set_result(None)

    async def aclose(self) -> None:
        """Close the socket; every `send` that waits raises StateError. Closing twice is fine."""
        if not self._closed:
            self._closed = True
            if self._writable is not None:
                self._writable.stop()
            self._socket.close()
            self._unwatch()
            self._wake()

    def _check(self) -> None:
        if self._closed:
            raise StateError("the sender is closed", "make a new one")


def _closed(watch: Watch) -> None:
    with contextlib.suppress(RuntimeError):  # the loop has closed
        watch.close()
