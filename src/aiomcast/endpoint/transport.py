"""`MulticastTransport`: an asyncio datagram transport that reads batches and holds a source filter."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import warnings
import weakref
from collections.abc import Sequence
from functools import partial
from typing import Any, final

import attrs

from ..errors import InconsistentError, InterfaceGoneError, RefusedError, StateError
from ..loops.read_loop import ReadLoop
from ..reading import Reader
from ..reading.contract import Place
from ..reading.counted import counted
from ..rfc3678.refusals import refusal, refusals
from ..values.events import EventKind
from ..values.filters import SourceFilter, Sources
from ..values.interface import Interface
from ..values.lookup import filter_on
from ..values.packets import Flow
from ..values.statistics import Statistics
from .delivery import Delivery
from .mending import Follows, Mending
from .opener import Opener
from .peers import SocketAddress
from .sending_side import SendingSide
from .tightness import Tightness

__all__ = ["MulticastTransport"]

_LOG = logging.getLogger("aiomcast")
_AT_ONCE = 64  # datagrams read at a time when a socket is read out
_MOST_READS = 4096  # then: beyond what any buffer holds


@final
class MulticastTransport(asyncio.DatagramTransport, asyncio.ReadTransport):
    """A datagram transport over sockets of its own: reads in batches, can pause, and sends.

    It keeps the contract of asyncio's datagram transports. Whatever a protocol does while it is
    handed a packet (pause, close, change the filter, be replaced) holds from the next packet on,
    and what it raises goes to the loop's exception handler and costs no other packet.

    `get_extra_info` knows "socket", "sockname", "peername" (always None), "interface" and
    "interfaces". Made by `create_multicast_endpoint`.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        readers: Sequence[Reader],
        protocol: asyncio.BaseProtocol,
        sending: SendingSide,
    ) -> None:
        self._is_closing = self._is_lost = True  # until there is something to close
        self._mending: Mending | None = None
        self._members = tuple(readers)
        sock = readers[0].sock
        self._descriptor = sock.fileno()
        self._known = self._of_sockets()  # one object: what get_extra_info looks into
        super().__init__(self._known)
        self._loop = loop
        self._group, self._port = sock.group, sock.port
        self._filter = sock.filter
        self._is_reading = True
        self._is_begun = self._is_told = False
        self._of_closed = Statistics()
        self._delivery = Delivery(loop, protocol, self._report, self._read_on)
        self._sink = self._delivery.packets  # one object: whoever reads compares sinks
        self._readers: list[Reader] = []
        self._places: list[Place] = []
        self._sending = sending
        self._reading = ReadLoop(loop, is_held=True)  # as the loop holds its own transports
        self._tightness = Tightness(weakref.proxy(self), self._reading)
        try:
            for reader in readers:
                self._listen(reader)
            sending.told = self
            sending.prepare()
        except BaseException:
            for place in self._places:
                place.forget()
            self._reading.close()
            raise
        self._is_closing = self._is_lost = False

    def __repr__(self) -> str:
        if self._is_closing:
            state = "closed" if self._is_lost else "closing"
        else:
            state = f"{self._filter!r}, {'reading' if self._is_reading else 'paused'}"
        where = "+".join(one.name for one in self.get_extra_info("interfaces"))
        return (
            f"<MulticastTransport {self._group} port {self._port} on {where} fd={self._descriptor}: {state}>"
        )

    def _of_sockets(self) -> dict[str, object]:
        sock = self._members[0].sock
        return {
            "socket": sock,
            "sockname": sock.getsockname(),
            "peername": None,
            "interface": sock.interface,
            "interfaces": tuple(reader.sock.interface for reader in self._members),
        }

    # The filter

    @property
    def filter(self) -> SourceFilter:
        """The filter in force, on every interface."""
        return self._filter

    def set_filter(self, sources: Sources) -> None:
        """Let `sources` decide, in the kernel and for what it has queued already.

        `sources` and the errors are those of `MulticastSocket.set_filter`; StateError once it is
        closed. On several interfaces all take it, or none and it raises. One that is gone is joined with
        it once it is back; without healing it is left out where others are left, else it raises.
        """
        if self._is_closing:
            raise StateError(f"{self!r} has left its group", "open another endpoint")
        wanted = filter_on(self._group, sources, lambda: [reader.sock.interface for reader in self._members])
        self._hold(wanted)
        self._filter = wanted
        for reader in self._members:
            reader.set_filter(wanted)
        if self._mending is not None:
            self._mending.swapped()
        self._delivery.refuse(partial(self._is_refused, wanted))

    def _hold(self, wanted: SourceFilter) -> None:
        present = [reader for reader in self._members if reader.sock.fileno() >= 0]
        if not present:
            raise StateError(f"the socket of {self._group} was closed", "open another endpoint")
        changed: list[tuple[Reader, SourceFilter]] = []
        gone: dict[Reader, InterfaceGoneError] = {}
        mending = self._mending
        try:
            for reader in present:
                if mending is not None and mending.is_lost(reader):
                    continue
                held = reader.sock.held()
                try:
                    reader.sock.set_filter(wanted)
                except InterfaceGoneError as error:
                    gone[reader] = error
                else:
                    changed.append((reader, held))
            if mending is not None:
                for reader in gone:
                    mending.lose(reader)
            elif gone and not changed:
                raise next(iter(gone.values()))
        except RefusedError as error:
            try:
                for reader, held in changed:
                    reader.sock.set_filter(held)
            except RefusedError as again:
                raise InconsistentError(
                    f"after {error} the old filter could not be put back everywhere: {again}",
                    "set the filter once more, or open another endpoint",
                ) from error
            raise

    def _is_refused(self, wanted: SourceFilter, flow: Flow) -> bool:
        is_groups = (flow.group, flow.port) == (self._group, self._port)  # else an answer to what was sent
        return is_groups and (flow.source in wanted.sources) is not wanted.is_include

    # Reading

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return the protocol."""
        return self._delivery.protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Hand the next packet to another protocol. ArgumentTypeError for one that takes none.

        As asyncio has it, `connection_made` of the new one is not called.
        """
        self._delivery.set_protocol(protocol)

    def is_reading(self) -> bool:
        """Whether datagrams are being read: from the beginning on, until a pause or the end."""
        return self._is_reading and not self._is_closing

    def pause_reading(self) -> None:
        """Read and hand on nothing until `resume_reading`, from the next packet on.

        What was read already waits; the kernel's buffer fills, then drops and counts.
        """
        if self.is_reading():
            self._is_reading = False
            self._stop()

    def resume_reading(self) -> None:
        """Go on reading, in the loop's next turn. Cannot be refused."""
        if not self._is_reading and not self._is_closing:
            self._is_reading = True
            self._go()

    def statistics(self) -> Statistics:
        """Return the counters of its sockets, those that were closed included.

        `filtered` counts what a change of filter has taken out of what was read already too, `queued`
        what was read and waits in a pause, `queue_drops` what was here, or in the kernel's buffer, when
        it closed.
        """
        total = self._of_closed + Statistics(
            filtered=self._delivery.refused,
            queue_drops=self._delivery.dropped,
            queued=len(self._delivery),
        )
        for reader in self._readers:
            total += counted(reader)
        return total

    def _begin(self) -> None:
        """Connect the protocol, then read."""
        self._call("connection_made", self)
        self._is_begun = True
        if self.is_reading():
            self._go()

    def _go(self) -> None:
        if self._is_begun:
            self._delivery.open()
            if not len(self._delivery):
                self._read_on()

    def _read_on(self) -> None:
        """Read, as nothing waits to be handed on that was read before."""
        for place in self._places:
            place.add()

    def _stop(self) -> None:
        self._delivery.pause()
        for place in self._places:
            place.discard()

    def _listen(self, reader: Reader) -> None:
        reader.sink = self._sink
        reader.failed = partial(self._failed, f"receiving {reader.sock.group}")
        with refusals(f"watching a socket of {reader.sock.group}"):
            place = self._reading.reserve(reader)
        self._readers.append(reader)
        self._places.append(place)
        self._tightness.follow(reader)

    # Mending

    def _mend(self, opener: Opener, follows: Follows) -> None:
        """Keep it joined through what becomes of its interfaces. RefusedError when the system refuses."""
        self._mending = Mending(weakref.proxy(self), opener, follows)
        self._mending.begin(self._reading)

    @property
    def members(self) -> Sequence[Reader]:
        """See `mending.Endpoint`."""
        return self._members

    def exchange(self, old: Reader | None, new: Reader | None) -> None:
        """See `mending.Endpoint`."""
        if new is not None:
            self._listen(new)
        members = [one if one is not old else new for one in self._members]
        if old is None:
            members.append(new)
        self._members = tuple([one for one in members if one is not None])
        self._descriptor = self._members[0].sock.fileno()
        self._known.update(self._of_sockets())
        if new is not None and self._is_begun and self._is_reading and not len(self._delivery):
            self._places[self._readers.index(new)].add()
        if old is not None:
            self._retire(old)
        self._sending.move(self.get_extra_info("interfaces"))

    def renamed(self, reader: Reader, name: str) -> None:
        """See `mending.Endpoint`."""
        before = reader.sock.interface
        reader.sock.interface = attrs.evolve(before, name=name)
        self._known.update(self._of_sockets())
        self.changed(reader.sock.interface, EventKind.RENAMED, before.name)

    def renumbered(self) -> None:
        """See `mending.Endpoint`."""
        self._sending.look_at_sources()

    def changed(
        self, interface: Interface, kind: EventKind, cause: str | None, seconds: float | None = None
    ) -> None:
        """See `mending.Endpoint`."""
        level = logging.WARNING if kind is EventKind.LOST else logging.INFO
        why = "" if cause is None else f": it was {cause}" if kind is EventKind.RENAMED else f": {cause}"
        after = "" if seconds is None else f", after {seconds:.3f} s"
        where = f"{self._group} port {self._port} on {interface.name}"
        _LOG.log(level, "%s %s%s%s", kind.value, where, why, after)
        if hasattr(self._delivery.protocol, "interface_changed"):
            self._call("interface_changed", interface, kind, cause)

    # Sending

    def sendto(self, data: bytes | bytearray | memoryview, addr: object = None) -> None:
        """Send a datagram to the group, or to `addr`; queue it while the system's buffer is full.

        To the group it goes on every interface of the endpoint. `addr` is (address, port), with IPv6
        (address, port, flowinfo, scope id), as `datagram_received` is handed it; a zone that is missing
        is that of the interface. What comes back to the address it was sent from is handed to the
        protocol like what comes from the group, whatever the filter. Empty datagrams are sent.

        AddressError, ArgumentError, ArgumentTypeError and InterfaceError for wrong arguments. What the
        system refuses goes to `error_received` as a RefusedError, as in asyncio. Once the transport is
        closing nothing is sent, and the log says so once.
        """
        self._sending.sendto(data, addr)

    def get_write_buffer_size(self) -> int:
        """Return how many bytes wait to be sent."""
        return self._sending.get_write_buffer_size()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Return (low, high): `pause_writing` is called above high, `resume_writing` at low.

        They hold for each interface by itself: it is paused while one is above, and resumed when none is.
        """
        return self._sending.get_write_buffer_limits()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set them, in bytes, as asyncio's `WriteTransport` does. ArgumentError unless 0 <= low <= high."""
        self._sending.set_write_buffer_limits(high, low)

    @property
    def source(self) -> SocketAddress | None:
        """The address and port it sends from, on the first of its interfaces; None before it has."""
        return self._sending.source

    # Ending

    def is_closing(self) -> bool:
        """Whether `close` was called."""
        return self._is_closing

    def close(self) -> None:
        """Leave the group now, send what waits, then close; `connection_lost(None)` follows.

        Nothing more is handed on. The group is left although another process may hold the sockets,
        and for it too: that is asyncio's `close` in a forked child as well, which ends the parent's reading.
        """
        if self._is_closing:
            return
        self._stop()
        self._is_closing = True
        if self._mending is not None:
            self._mending.end()
        self._tightness.end()
        self._delivery.end()
        for reader in self._members:
            if reader.sock.fileno() >= 0:
                with contextlib.suppress(RefusedError):  # the interface may be gone; closing leaves too
                    reader.sock.set_filter(SourceFilter.none())
        try:
            self._sending.close(partial(self._loop.call_soon, self._lose))
        except RuntimeError:  # the loop has closed, and nobody will call
            self._abandon()
            raise

    def abort(self) -> None:
        """The same as `close`, but what waits to be sent is dropped."""
        self.close()
        self._sending.abort()

    def _lose(self) -> None:
        if self._is_lost:
            return
        self._is_lost = True
        try:
            self._delivery.protocol.connection_lost(None)
        finally:
            self._end()

    def _end(self) -> None:
        for reader in tuple(self._readers):
            self._retire(reader)
        self._reading.close()

    def _retire(self, reader: Reader) -> None:
        """Read out a socket, and close it."""
        for _ in range(_MOST_READS if reader.sock.fileno() >= 0 else 0):
            packets, _ = reader.read(_AT_ONCE)
            self._delivery.packets(packets)
            if reader.dry:
                break
        self._of_closed += attrs.evolve(counted(reader), receive_buffer=0)
        self.unanswering(reader)

    def _abandon(self) -> None:
        self._is_closing = self._is_lost = True
        self._reading.abandon()

    def __del__(self) -> None:
        if not self._is_lost:
            shown = repr(self)
            self._abandon()
            warnings.warn(f"unclosed transport {shown}", ResourceWarning, 2, source=self)

    # What is told

    def answering(self, reader: Reader) -> None:
        """Read a socket too that is sent from: answers come there. RefusedError when the system refuses."""
        self._listen(reader)
        if self._is_begun and self._is_reading and not len(self._delivery):
            self._places[-1].add()

    def unanswering(self, reader: Reader) -> None:
        """Do without it after all, and close it."""
        at = self._readers.index(reader)
        self._places.pop(at).forget()
        self._readers.pop(at).close()

    def answered(self, reader: Reader) -> None:
        """Read it out, and close it."""
        if reader in self._readers:
            self._retire(reader)

    def sent_too_late(self) -> None:
        """Say so in the log, once."""
        if not self._is_told:
            self._is_told = True
            _LOG.warning("%r is closed: what is sent to it goes nowhere", self)

    def pause_writing(self) -> None:
        """Tell the protocol that its datagrams pile up."""
        self._call("pause_writing")

    def resume_writing(self) -> None:
        """Tell the protocol that they no longer do."""
        self._call("resume_writing")

    def error_received(self, error: OSError) -> None:
        """Tell the protocol what the system has refused."""
        self._call("error_received", error)

    def _failed(self, what: str, error: OSError) -> None:
        self.error_received(refusal(error, what))

    def _call(self, name: str, *arguments: object) -> None:
        try:
            getattr(self._delivery.protocol, name)(*arguments)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as raised:  # as asyncio has it: a stray CancelledError too
            self._report(raised, f"{name}() raised")

    def _report(self, error: BaseException, what: str) -> None:
        context: dict[str, Any] = {  # Any: asyncio's own type for a context
            "message": f"{what} in {self._delivery.protocol!r}",
            "exception": error,
            "transport": self,
            "protocol": self._delivery.protocol,
        }
        self._loop.call_exception_handler(context)
