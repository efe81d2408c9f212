"""A UDP socket that belongs to one group, port and interface, and knows the filter it holds."""

from __future__ import annotations

import contextlib
import errno
import socket
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Self

from ..errors import (
    ArgumentError,
    ArgumentTypeError,
    InconsistentError,
    InterfaceGoneError,
    MulticastError,
    RefusedError,
    StateError,
)
from ..rfc3678 import calls, holdings, kernel
from ..rfc3678.abi import native
from ..rfc3678.limits import with_open_files
from ..rfc3678.refusals import is_no_member, refusals
from ..values.addresses import Address, check_port, family, group_address, pack
from ..values.filters import SourceFilter, Sources
from ..values.interface import Interface, InterfaceLike
from ..values.lookup import filter_on, needs_zone
from ..values.socket_options import SocketOption, SocketOptions
from . import adopted
from .doubts import why_invalid
from .interfaces import find_interface
from .keeping_out import keep_out
from .planner import Action, Rules, Step, plan
from .port_holders import why_in_use
from .sharing import bind_shared, share
from .socket_options import acceptable, give

__all__ = ["MulticastSocket", "open_socket", "opening", "socket_of"]

ABI = native()
_RULES = Rules(empty_set_clears=ABI.facts.empty_set_clears)
_WILDCARD = {socket.AF_INET: "0.0.0.0", socket.AF_INET6: "::"}


class MulticastSocket(socket.socket):
    """A non-blocking datagram socket bound to `group` and `port`, for members on `interface`.

    It joins nothing by itself; `filter` is what the library has made it hold,
    `SourceFilter.none()` while it is no member. It goes wherever asyncio takes `sock=`.
    """

    __slots__ = (
        "_is_certain",
        "_is_lent",
        "filter",
        "group",
        "interface",
        "is_buffer_whole",
        "port",
        "taken_away",
    )

    group: str
    port: int
    interface: Interface
    filter: SourceFilter
    is_buffer_whole: bool | None
    """Whether the receive buffer that is asked for by default was granted whole; None if none was."""
    _is_certain: bool
    _is_lent: bool  # by whoever made it: to close it is to give it back
    taken_away: Callable[[], None] | None
    """Called when the socket is closed, or detached, before it is."""

    @classmethod
    def adopting(cls, sock: socket.socket, group: str, port: int, interface: Interface) -> Self:
        """Return one that has taken over the descriptor of `sock`, a member of nothing that it knows of.

        `group` and `port` are what packets that come are tagged with. `sock` is closed then.
        """
        made = cls(sock.family, sock.type, sock.proto, sock.detach())
        made._begin(group, port, interface)
        made.setblocking(False)
        return made

    def _begin(self, group: str, port: int, interface: Interface) -> None:
        self.group, self.port, self.interface, self.filter = group, port, interface, SourceFilter.none()
        self._is_certain, self._is_lent, self.taken_away, self.is_buffer_whole = True, False, None, None

    def held(self) -> SourceFilter:
        """Return `filter`, after a look at what the kernel holds where an exception has hidden that.

        A signal handler may raise when a call was made and not noted yet.
        """
        if not self._is_certain:
            self.filter = self.kernel_filter()
            self._is_certain = True
        return self.filter

    def close(self) -> None:
        """Close the socket; that somebody has closed its descriptor before is no error."""
        if getattr(self, "_is_lent", False):
            self._give_back()
            return
        try:
            self._tell()
        finally:
            try:
                super().close()
            except OSError as error:
                if error.errno != errno.EBADF:
                    raise
            if holdings.of_process is not None:
                holdings.of_process.closed(self)

    def _give_back(self) -> None:
        if self.fileno() >= 0:
            with contextlib.suppress(MulticastError):
                self.set_filter(SourceFilter.none())
        self.detach()

    def detach(self) -> int:
        """Give the descriptor away: the socket is closed then."""
        self._tell()
        return super().detach()

    def abandon(self) -> None:
        """Be closed without closing the descriptor, which somebody has closed: it may be another's by now."""
        self.taken_away = None
        super().detach()

    def _tell(self) -> None:
        tell = getattr(self, "taken_away", None)
        self.taken_away = None
        if tell is not None and self.fileno() >= 0:
            tell()

    def set_filter(self, sources: Sources) -> None:
        """Hold what `sources` means, or raise a `RefusedError` and go on holding what was held.

        `sources` is an iterable of addresses, a `SourceFilter`, or None for any source.
        AddressError or FilterError for what the group cannot have (RFC 4607: inside
        232.0.0.0/8 and ff3x::/32 every source is named).

        Between two lists of one mode this is a single call of the kernel, which never refuses
        a source that both allow.
        """
        if isinstance(sources, SourceFilter) and sources.is_include:
            wanted = sources  # every group may have one, and the calls compare the families
        else:
            wanted = filter_on(self.group, sources, lambda: (self.interface,))
        held = self.filter if self._is_certain else self.held()
        try:
            for step in plan(held, wanted, _RULES):
                self._make(step)
        except BaseException as error:
            self._undo(held, error)
            raise

    def replace(self, wanted: SourceFilter) -> None:
        """Hold `wanted`, which is of the mode of what is held, neither empty, and fits: one call.

        RefusedError as in `set_filter`. After any other exception `held` looks, and nothing was undone.
        """
        self._is_certain = False
        try:
            calls.replace_filter(self, self.interface.index, pack(self.group), wanted)
        except RefusedError:  # then nothing has changed
            self._is_certain = True
            raise
        self.filter = wanted
        self._is_certain = True

    def _undo(self, held: SourceFilter, error: BaseException) -> None:
        try:
            for step in plan(self.held(), held, _RULES):
                self._make(step)
        except RefusedError as again:
            raise InconsistentError(
                f"after {error} the filter {held} could not be put back ({again}); "
                f"{self.group} holds {self.filter} now",
                "leave it and join again",
            ) from error

    def leave(self) -> None:
        """Be a member no more, also where the kernel has forgotten that it is one."""
        if self.held().is_none:
            return
        try:
            self._make(Step(Action.LEAVE_GROUP, SourceFilter.none()))
        except RefusedError as error:
            if not is_no_member(error) and not isinstance(error, InterfaceGoneError):
                raise
            self.filter = SourceFilter.none()

    def rejoin(self) -> None:
        """Leave and join again with the same filter, so that routers hear of it once more.

        A packet may be lost in between. This is what heals a membership that the network has
        forgotten while the kernel has not.
        """
        held = self.held()
        self.leave()
        try:
            self.set_filter(held)
        except RefusedError as error:
            self._undo(held, error)
            raise

    def kernel_filter(self) -> SourceFilter:
        """Return the filter that the kernel reports, `SourceFilter.none()` if it is no member."""
        return self._kernel_filter(self.interface.index)

    def _kernel_filter(self, index: int) -> SourceFilter:
        try:
            return calls.getsourcefilter(self, index, self.group)
        except RefusedError as error:
            if error.errno in (errno.EADDRNOTAVAIL, errno.EINVAL):
                return SourceFilter.none()
            raise

    def _make(self, step: Step) -> None:
        index, group = self.interface.index, self.group
        self._is_certain = False
        try:
            match step.action:
                case Action.SET_FILTER:
                    calls.setsourcefilter(self, index, group, step.after)
                case Action.JOIN_GROUP:
                    calls.join_group(self, index, group)
                case Action.LEAVE_GROUP:
                    calls.leave_group(self, index, group)
                case Action.JOIN_SOURCE:
                    assert step.source is not None
                    self._join_source(index, group, step.source)
                case Action.UNBLOCK_SOURCE:
                    assert step.source is not None
                    calls.unblock_source(self, index, group, step.source)
        except RefusedError as error:  # then nothing has changed
            self._is_certain = True
            is_join = step.action in (Action.JOIN_GROUP, Action.JOIN_SOURCE)
            if error.errno == errno.EINVAL and is_join and not isinstance(error, InterfaceGoneError):
                error.hint = why_invalid(index, group)
            raise
        self.filter = step.after
        self._is_certain = True

    def _join_source(self, index: int, group: str, source: str) -> None:
        try:
            calls.join_source_group(self, index, group, source)
        except RefusedError:
            # It is two steps in the kernel, and memory may have sufficed for the group alone.
            with contextlib.suppress(RefusedError):
                calls.getsourcefilter(self, index, group)
                calls.leave_group(self, index, group)
            raise


# Event loops hand out wrappers of a socket, not the socket: this finds it by its descriptor.
_by_descriptor: weakref.WeakValueDictionary[int, MulticastSocket] = weakref.WeakValueDictionary()


def socket_of(descriptor: int) -> MulticastSocket:
    """Return the open `MulticastSocket` with this descriptor. StateError if there is none."""
    found = _by_descriptor.get(descriptor)
    if found is None or found.fileno() != descriptor:
        raise StateError(
            "the transport's socket was not made by open_socket()",
            "pass sock=aiomcast.open_socket(group, port, interface)",
        )
    return found


def open_socket(
    group: Address,
    port: int | None = None,
    interface: InterfaceLike = None,
    *,
    sock: socket.socket | int | None = None,
    socket_options: SocketOptions = (),
) -> MulticastSocket:
    """Return a non-blocking UDP socket bound to `group` and `port`, a member of nothing yet.

    `interface` is where it is going to join; None means the interface of the route to the
    group. Other sockets, of this and other processes, may bind the same; groups that they
    join do not leak in (IP_MULTICAST_ALL and IPV6_MULTICAST_ALL are off where they exist).
    With port 0 the system chooses one that no other socket of the group has; `port` of the socket
    says which. The caller closes it.

    `sock` is a UDP socket that was made and bound elsewhere, or its descriptor: one that a service
    manager hands over, or that was bound to a privileged port. It is taken over, not copied: a socket
    object is detached, a descriptor belongs to what is returned. It has to be bound to the group or to the
    wildcard address, be connected to nobody and a member of the group nowhere; `port` is the socket's if
    it is None or 0, and otherwise has to be the same. On the wildcard address the kernel is given a filter
    (SO_ATTACH_FILTER) that lets in what was sent to the group alone; it counts what it refuses as dropped.
    What the socket had received before is thrown away. It is left as it was, and open, by whatever is
    raised before it is taken over; datagrams and `socket_options` excepted. Further sockets that a
    membership of many sources takes are bound to the same port, by the process's own right.

    `socket_options` are (level, option, value) triples, the value a number or bytes, that it is given
    right before it is bound, or when it is taken over: SO_BUSY_POLL, SO_MARK, SO_PRIORITY, SO_ATTACH_BPF
    and the like. Those that would break what the library promises, or that it has words of its own for,
    are an ArgumentError: joining and leaving, timestamps, UDP_GRO, the interface, SO_REUSEPORT, and to
    turn off SO_REUSEADDR, or on IP_MULTICAST_ALL.

    Raises AddressError, ArgumentError and InterfaceError for wrong arguments, RefusedError
    with the system's errno when it refuses (a socket option by name), and for a `sock` on the wildcard
    address UnsupportedError where there are no such filters, StateError where it has one already.
    """
    with opening(group, port, interface, sock=sock, socket_options=socket_options) as opened:
        return opened


@contextmanager
def opening(
    group: Address,
    port: int | None = None,
    interface: InterfaceLike = None,
    *,
    sock: socket.socket | int | None = None,
    socket_options: SocketOptions = (),
) -> Iterator[MulticastSocket]:
    """Give what `open_socket` returns. Where the context ends by an exception it is closed.

    `sock` is taken over at the end: until then, to close what was made of it is to give it back.
    """
    text = group_address(group)
    if port is None and sock is None:
        raise ArgumentTypeError("no port", "name one, 0 for one that the system chooses, or give sock=")
    if port is not None:
        check_port(port, lowest=0)
    found = find_interface(interface, group)
    options = acceptable(socket_options)
    if sock is None:
        opened = with_open_files(lambda: _opened(text, port or 0, found, options))
        try:
            yield opened
        except BaseException:
            # A signal handler may have raised on the way out of the context, and a reader that nobody
            # listens to yet then says that its socket is taken away.
            with contextlib.suppress(OSError):
                opened.close()
            raise
    else:
        with _adopted(sock, text, port, found, options) as opened:
            yield opened
    _by_descriptor[opened.fileno()] = opened


def _opened(group: str, port: int, interface: Interface, options: Sequence[SocketOption]) -> MulticastSocket:
    v6 = family(group) == 6
    with refusals(f"opening a socket for {group} port {port}", in_use=lambda: why_in_use(group, port)):
        sock = MulticastSocket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_DGRAM)
        try:
            sock._begin(group, port, interface)
            sock.setblocking(False)
            if v6:
                kernel.setsockopt(sock, ABI.IPPROTO_IPV6, ABI.IPV6_V6ONLY, 1)
                if ABI.facts.hears_unjoined:  # any option of multicast does
                    kernel.setsockopt(sock, ABI.IPPROTO_IPV6, ABI.IPV6_MULTICAST_LOOP, 1)
            keep_out(sock, interface)
            give(sock, options)
            host = group if ABI.facts.binds_to_group else _WILDCARD[sock.family]
            # A zone where none is needed is refused by FreeBSD and Windows.
            address = (host, port, 0, interface.index * needs_zone(host)) if v6 else (host, port)
            if port:
                bind_shared(sock, address, interface)
            else:  # among sockets that share, the system would choose a port that one of them has
                sock.bind(address)
                sock.port = sock.getsockname()[1]
                share(sock)
        except BaseException:
            sock.close()
            raise
    return sock


@contextmanager
def _adopted(
    given: socket.socket | int,
    group: str,
    port: int | None,
    interface: Interface,
    options: Sequence[SocketOption],
) -> Iterator[MulticastSocket]:
    plain = adopted.handle_of(given)  # stays when what is made of it is closed
    with ExitStack() as undo:
        undo.callback(plain.detach)
        with refusals(f"taking over a socket for {group}"):
            bound = adopted.bound_port(plain, group, port, interface)
            made = MulticastSocket(fileno=plain.fileno())
            made._begin(group, bound, interface)
            made._is_lent = True
            undo.callback(made.close)
            for index, name in socket.if_nameindex():
                if not made._kernel_filter(index).is_none:
                    raise ArgumentError(f"the socket has joined {group} on {name}", "leave: sources= joins")
            adopted.make_ready(plain, group, interface, options, undo)
            made.setblocking(False)
        yield made
        made._is_lent = False
        undo.pop_all()
    plain.detach()
    if isinstance(given, socket.socket):
        given.detach()
