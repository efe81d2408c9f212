"""What reads, as the floors above know it: the contract that every reader and every network keeps.

`Reader` and `ReadSet` are kept by the compiled module, by `portable` and by `windows`; `Network` and
`Reading` by the system's sockets and by whatever takes their place. The type checker holds all of them
to it (`tests/unit/reading/test_contract.py`).
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeVar

from ..diagnosis.facts import Look
from ..values.addresses import Address
from ..values.capabilities import Capabilities
from ..values.doubts import Doubt
from ..values.filters import SourceFilter, Sources
from ..values.interface import Interface, InterfacesLike
from ..values.links import Announcement, DeviceGroup, Link
from ..values.options import Options
from ..values.packets import Packet
from .gate import Gate

__all__ = ["Network", "Place", "ReadSet", "Reader", "Reading", "Socket", "Timer", "Together", "Watch"]

R = TypeVar("R")


class Socket(Protocol):
    """What holds a filter in the kernel, or in what stands for one. See `system.MulticastSocket`.

    `interface` is the one it joins on, by its index; it may get another name.
    """

    interface: Interface

    @property
    def is_buffer_whole(self) -> bool | None:
        """Whether the receive buffer that is asked for by default was granted; None where none was asked."""

    @property
    def group(self) -> str:
        """The group it is bound to."""

    @property
    def port(self) -> int:
        """The port it is bound to."""

    @property
    def filter(self) -> SourceFilter:
        """What it was last made to hold."""

    def fileno(self) -> int:
        """Return its descriptor, below 0 once it is closed."""

    def held(self) -> SourceFilter:
        """Return `filter`, after a look where an exception has hidden what holds."""

    def kernel_filter(self) -> SourceFilter:
        """Return the filter that the system reports."""

    def set_filter(self, sources: Sources) -> None:
        """Hold what `sources` means, or raise a `RefusedError` and go on holding what was held."""

    def replace(self, wanted: SourceFilter) -> None:
        """Do as `set_filter`, by one call: from list to list of one mode, neither empty, nothing undone."""

    def leave(self) -> None:
        """Be a member no more, also where the system has forgotten that it is one."""

    def rejoin(self) -> None:
        """Leave and join again with the same filter."""


class Together(Protocol):
    """Several readers of one membership that are read as one. See `lanes.Lanes`."""

    turn: int

    @property
    def readers(self) -> tuple[Reader, ...]:
        """The readers."""

    @property
    def is_dry(self) -> bool:
        """Whether the last read has found every socket empty, and nothing is held."""

    def __len__(self) -> int:
        """Return how many packets were read ahead."""

    def read(self, limit: int) -> tuple[list[Packet], int]:
        """Return what is due, and how many datagrams were read for it."""

    def take_all(self) -> list[Packet]:
        """Take out what was read ahead, in order."""

    def refuse(self, refused: Callable[[Packet], bool]) -> int:
        """Drop what was read ahead and is refused; return how many packets that was."""


class Place(Protocol):
    """A reader's place among those that are read. Giving it up is the only thing that ends it."""

    def add(self) -> None:
        """Read it from the next loop turn on. Cannot be refused."""

    def discard(self) -> None:
        """Read it no more for now."""

    def forget(self) -> None:
        """Give the place up. Call it before the socket closes."""


class Reader(Protocol):
    """One socket's packets: read, judged by the filter in force, and counted.

    `sink` is called with each batch when it is read by whoever has its place; `failed` with an
    OSError that the socket reported, `lost` with how many datagrams the kernel has dropped since.
    `error` keeps what was raised in a `read`. `failures` is how many reads in a row have failed,
    `rests` that it is not to be read now for that. `lanes` is set while the socket is one of
    several, `is_retired` once its counters were added up.

    `unmade` counts datagrams that were read and could not be made a packet, or not be handed on.
    """

    sink: Callable[[list[Packet]], None]
    failed: Callable[[OSError], None]
    lost: Callable[[int], None]
    error: BaseException | None
    lanes: Together | None
    place: Place | None
    failures: int
    rests: bool
    is_retired: bool
    unmade: int
    told_drops: int

    @property
    def sock(self) -> Socket:
        """The socket."""

    @property
    def gate(self) -> Gate:
        """Which filter judges what."""

    @property
    def dry(self) -> bool:
        """Whether the last read has found nothing more in the socket."""

    @property
    def received(self) -> int:
        """Datagrams read so far."""

    @property
    def octets(self) -> int:
        """Bytes of payload read so far."""

    @property
    def filtered(self) -> int:
        """Datagrams that the filter has refused."""

    @property
    def truncated(self) -> int:
        """Datagrams that were cut short."""

    @property
    def kernel_drops(self) -> int:
        """Datagrams that the kernel has dropped at the socket, as far as is known."""

    @property
    def latest_ns(self) -> int | None:
        """The kernel's time of the last packet that was handed on, None before."""

    def read(self, limit: int) -> tuple[list[Packet], int]:
        """Return the packets of `limit` reads at most, and how many datagrams were read for them.

        ([], 0) where there was nothing; ([], n) where all n were refused. Never raises: what was
        raised is left in `error`, and what was made before is returned.
        """

    def set_filter(self, wanted: SourceFilter, until_ns: int | None = None) -> None:
        """Judge by `wanted` from now on; what was stamped up to `until_ns` may pass as before too."""

    def deliver_until(self, until_ns: int) -> None:
        """Deliver only what is stamped up to `until_ns`: another socket takes over."""

    def deliver_since(self, begun_ns: int, since_ns: int, elsewhere: SourceFilter) -> None:
        """Leave what is stamped up to `since_ns` to the sockets before, which let in `elsewhere`."""

    def look(self) -> None:
        """End the gate's exceptions where the socket is empty."""

    def count_drops(self) -> int:
        """Bring `kernel_drops` up to date, also when no datagram came after the drops.

        Return the bytes of receive buffer that the kernel has granted, which the same question answers; 0
        once the socket is closed.
        """

    def close(self) -> None:
        """Close the socket."""


class ReadSet(Protocol[R]):
    """Readers of one kind behind one descriptor. See `portable.ReadSet`."""

    @property
    def failing(self) -> list[tuple[R, OSError]]:
        """What sockets reported in the last `read`."""

    @property
    def is_pending(self) -> bool:
        """Whether a read is due although no socket is readable."""

    def fileno(self) -> int:
        """Return the one descriptor to watch."""

    def reserve(self, reader: R, /) -> None:
        """Keep a place for `reader`. OSError when the system refuses."""

    def add(self, reader: R, /) -> None:
        """Read `reader` from now on."""

    def discard(self, reader: R, /) -> None:
        """Read `reader` no more for now."""

    def forget(self, reader: R, /) -> None:
        """Give up its place."""

    def renewed(self) -> None:
        """Take note that the present descriptor is watched."""

    def read(self, budget: int, /) -> None:
        """Read ready sockets in turn, about `budget` datagrams, and hand each sink its batches."""

    def reading(self, budget: int, after: Callable[[], None], is_held: bool, /) -> Callable[[], None]:
        """Return what an event loop calls to have it `read`, and `after` where more is to be done then."""

    def stop(self) -> None:
        """Read nothing more, for good; from whichever thread."""

    def close(self) -> None:
        """Forget all readers and close the descriptor."""


class Timer(Protocol):
    """A call that is to come."""

    def cancel(self) -> None:
        """Have it not come."""


class Watch(Protocol):
    """Who is told what is announced of interfaces. Made by `Reading.watch`."""

    def follow_routes(self, wanted: bool) -> None:
        """Have changes of routes announced too, or no longer. At first they are not."""

    def close(self) -> None:
        """Have nothing more announced. Closing twice is fine."""


class Reading(Protocol):
    """What opens the readers of one receiver and reads them in the event loop it was made in."""

    @property
    def shared_stamps(self) -> bool:
        """Whether two sockets see the same time of arrival for the same packet."""

    def check(self) -> None:
        """Raise a StateError in another event loop, or another thread, than it was made in."""

    def time_ns(self) -> int:
        """Return the time of the clock that stamps packets."""

    def monotonic(self) -> float:
        """Return the time of the clock that `call_later` goes by, in seconds."""

    def call_soon(self, call: Callable[[], object]) -> None:
        """Call in the loop's next turn, from whichever thread; never where the loop has closed."""

    def call_later(self, seconds: float, call: Callable[[], object]) -> Timer:
        """Call once `seconds` have passed."""

    async def prepare(self, group: str, port: int) -> None:
        """Wait for what `open` of this group and port needs, where that takes time. Errors as of a join.

        Whoever awaits it opens in the same turn of the loop, or not at all.
        """

    def open(
        self,
        group: str,
        port: int,
        interface: Interface,
        wanted: SourceFilter,
        options: Options,
        into: list[Reader],
        sock: socket.socket | int | None = None,
    ) -> None:
        """Append to `into` a reader of a new socket, which is a member of nothing yet and has a place.

        With port 0 the system chooses one: `sock.port` of the reader says which. With `sock`, a bound
        socket or its descriptor, that one is taken over instead of a new one (see `open_socket`).

        RefusedError when the system refuses, UnsupportedError for what cannot be met here; whatever
        is raised, `into` is as before, and so is `sock`.
        """

    def watch(self, announced: Callable[[Sequence[Announcement]], None]) -> Watch:
        """Call `announced` with what becomes of interfaces, addresses and routes, in order.

        What comes within some milliseconds comes together. It is called in the loop's thread, held
        weakly where it is a method, and never while another of its calls runs. RefusedError when the
        system refuses.
        """

    def follow_end(self, ended: Callable[[Exception | None], None]) -> None:
        """Call `ended`, held weakly, in the loop's thread, whenever `is_over` may have become true.

        With what nothing more comes for, where that is an error. A system never ends.
        """

    def is_over(self, reader: Reader) -> bool:
        """Whether nothing more can come to `reader`, and all that came was read."""

    def pause(self) -> None:
        """Read nothing until `resume`; the buffers fill."""

    def resume(self) -> None:
        """End a pause."""

    def close(self) -> None:
        """Stop for good, in the loop's thread. The sockets stay open."""

    async def closed(self) -> None:
        """Wait, after `close`, until what it had beside the sockets is given back."""

    def abandon(self) -> None:
        """Stop for good and close the sockets, from whichever thread: nobody holds it any more."""


class Network(Protocol):
    """Where groups are joined: the system, or what takes its place. `Receiver(network=...)` takes one."""

    @property
    def capabilities(self) -> Capabilities:
        """What the system has, of what a receiver makes use of. RefusedError when it cannot be asked."""

    @property
    def rejoin_pause(self) -> float:
        """Seconds that have to pass between leaving a group with all sockets and joining it again."""

    def join_wait(self, group: str, indexes: Iterable[int]) -> float:
        """Return how many of these seconds are left before `group` can be joined on all these interfaces."""

    def open(self) -> Reading:
        """Return what opens readers in the running event loop."""

    def place(
        self, group: Address, sources: Sources, interface: InterfacesLike
    ) -> tuple[SourceFilter, tuple[Interface, ...]]:
        """Return the filter that `sources` means for `group`, and the interfaces to join on, one at least."""

    def find(self, wanted: str | int) -> Interface:
        """Return the interface that has this name or index now. InterfaceError where there is none."""

    def link(self, wanted: str | int) -> Link | None:
        """Return how the interface with this name (an alternative one too) or index is now.

        None where there is none.
        """

    def links(self) -> list[Link]:
        """Return how all interfaces are now, by index."""

    def device_groups(self, family: int) -> frozenset[DeviceGroup] | None:
        """Return the groups of this `family` (4 or 6) that the interfaces themselves are members of.

        None where the system does not tell. See `system.device_groups`.
        """

    def doubts(self, interface: Interface, group: str, wanted: SourceFilter) -> Sequence[Doubt]:
        """Return why nothing can come to a member of `group` there, though the system does not refuse it."""

    def look(self, interface: Interface, group: str, port: int) -> Look | None:
        """Return what the system tells of why something comes there or not, as its counters.

        None where there is no system behind it. See `diagnosis.gathering`.
        """

    def report_again(self, index: int, family: int) -> bool:
        """Have the host report its groups of this `family` on an interface, if it can without leaving any.

        False where it cannot, or may not.
        """

    def source_limit(self, group: str) -> int | None:
        """Return how many sources one socket may hold for `group`, None where nobody says."""
