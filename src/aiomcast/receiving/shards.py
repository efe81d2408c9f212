"""The sockets that hold a filter on one interface together, and their way from filter to filter.

A filter longer than one socket may hold is spread over several, its shards. A change sets them in
place where it can; else new ones take over (`handover`). Shards know no receiver and no stream: what
they read goes to an outlet, and what happens to them is told to whoever made them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import final

from ..reading.contract import Reader, Reading
from ..reading.lanes import Lanes
from ..streams.outlet import Outlet
from ..system.planner import moves, needs_handover, spread
from ..values.filters import SourceFilter
from ..values.interface import Interface
from ..values.links import DeviceGroup
from ..values.options import Options
from ..values.packets import Flow
from ..values.statistics import Tally
from .anew import Anew
from .limit import SourceLimit
from .replacing import Replacing
from .sockets import Binding, Sockets, Told

__all__ = ["Shards"]


@final
class Shards:
    """What holds the filter of a (group, port, interface) and delivers its packets.

    Those of a membership on several interfaces have `limit`, `binding` and `outlet` in common.

    `readers` are the sockets in force; `draining` those that have left the group and are read
    out among them; `filter` is what all of them hold together.
    """

    __slots__ = (
        "_binding",
        "_draining_unseen",
        "_ending",
        "_is_plain",
        "_limit",
        "_outlet",
        "_reading",
        "_refused_ahead",
        "_replacing",
        "_sockets",
        "anew",
        "draining",
        "filter",
        "is_ahead",
        "lanes",
        "readers",
    )

    def __init__(
        self,
        limit: SourceLimit,
        reading: Reading,
        options: Options,
        binding: Binding,
        interface: Interface,
        outlet: Outlet,
        told: Told,
    ) -> None:
        self._limit = limit
        self._reading = reading
        self._outlet = outlet
        self._binding = binding
        self._sockets = Sockets(reading, options, binding, interface, outlet, told)
        self.filter: SourceFilter = SourceFilter.none()
        self.readers: tuple[Reader, ...] = ()
        self.draining: tuple[Reader, ...] = ()
        self.lanes: Lanes | None = None  # of readers and draining, where there are several
        self._draining_unseen: tuple[Reader, ...] = ()  # of `draining`, that nothing was decided on yet
        self._is_plain = True  # nothing but one socket, and no change behind it that is not over
        self._refused_ahead = 0
        self.is_ahead: bool = False
        """Whether no socket holds `filter` yet: they are to, once they are joined again."""
        self._replacing = Replacing(reading, self._sockets, self)
        self._ending: list[tuple[Reader, ...]] | None = None
        self.anew: Anew = Anew(reading.monotonic)
        outlet.follow(self.redirect)

    @property
    def group(self) -> str:
        """The group they join."""
        return self._binding.group

    @property
    def port(self) -> int:
        """The port they are bound to; 0 before the first of the membership is, where the system chooses."""
        return self._binding.port

    @property
    def interface(self) -> Interface:
        """The interface they join on."""
        return self._sockets.interface

    @property
    def is_owed(self) -> bool:
        """Whether sockets are to hold something that they do not hold now."""
        return self.is_ahead or self.anew.is_withdrawn

    @property
    def in_device(self) -> DeviceGroup:
        """What the device's list of groups has of them."""
        return DeviceGroup(self.interface.index, self.group)

    def count(self, into: Tally) -> None:
        """Add the counters of all its sockets, those that were closed included, and of no stream."""
        into.filtered += self._refused_ahead
        if self._is_plain:
            self._sockets.count(self.readers, into)
            return
        readers = self.all_readers
        self._sockets.count(readers, into)
        into.queued += sum(map(len, {reader.lanes for reader in readers if reader.lanes is not None}))

    @property
    def received(self) -> int:
        """Datagrams read so far."""
        return self._sockets.received(self.all_readers)

    @property
    def is_received(self) -> bool:
        """Whether its sockets are read now: somebody listens, and nothing is full."""
        return self._outlet.is_received

    def kernel_filter(self) -> SourceFilter:
        """Return what the system reports of the sockets in force, united."""
        united = SourceFilter.none()
        for reader in self.readers:
            united |= reader.sock.kernel_filter()
        return united

    @property
    def together(self) -> tuple[Reader, ...]:
        """The readers that deliver what arrives now, and those that are read out among them."""
        return (*self.readers, *self.draining) if self.draining else self.readers

    @property
    def all_readers(self) -> tuple[Reader, ...]:
        """Its readers, and those that a change has not finished with."""
        return (*self._replacing.members, *self.together)

    # The limit

    def ask_limit(self) -> bool:
        """Ask for the limit of sources per socket; say whether it is another than known."""
        return self._limit.ask()

    @property
    def is_over_limit(self) -> bool:
        """Whether a socket holds more than it could be made to hold now."""
        held = max((len(reader.sock.filter.sources) for reader in self.readers), default=0)
        return self._limit.value is not None and held > self._limit.value

    def plan(self, wanted: SourceFilter) -> tuple[bool, tuple[SourceFilter, ...]]:
        """Return whether new sockets have to take over for `wanted`, and what each socket is to hold.

        Without a handover the first parts are for the sockets in force, in their order.
        """
        limit = self._limit.ask_for(wanted)
        fits = limit is None or len(wanted.sources) <= limit
        if fits and len(self.readers) == 1 and self.filter.mode is wanted.mode:
            self.readers[0].sock.held()  # what `spread` would come to, at the cost of a look
            return False, (wanted,)
        held = [reader.sock.held() for reader in self.readers]
        parts = spread(held, wanted, limit)
        if len(parts) == 1 and self.readers and self.filter.is_include is wanted.is_include:
            return False, parts
        if self._reading.shared_stamps and (needs_handover(self.filter, wanted) or moves(held, parts)):
            return True, spread((), wanted, limit)
        return False, parts

    def straight(self, wanted: SourceFilter) -> Reader | None:
        """Return the one reader where `wanted` takes one call on its socket and nothing else, else None.

        So it is from list to list of one mode. RefusedError when the system does not tell what is held.
        """
        if not self._is_plain or self._draining_unseen or len(self.readers) != 1:
            return None
        held, listed, limit, reader = self.filter, wanted.sources, self._limit.value, self.readers[0]
        if wanted.mode is not held.mode or not listed or not held.sources or listed == held.sources:
            return None
        if limit is not None and len(listed) > limit:
            return None
        holds = reader.sock.held()
        return reader if holds is held or holds == held else None

    # Changing: every step below can be gone through once more, as a signal handler may raise between
    # any two lines.

    def open(self, part: SourceFilter, into: list[Reader]) -> None:
        """Append to `into` a reader of a new socket, which is a member of nothing yet."""
        self._sockets.open(part, into)

    def drop(self, reader: Reader) -> None:
        """Close a new socket that is not to be used after all."""
        self._sockets.drop(reader)

    def time_ns(self) -> int:
        """Return the time of the clock that stamps packets."""
        return self._reading.time_ns()

    def set_filter(self, wanted: SourceFilter, opened: Sequence[Reader], until_ns: int | None) -> None:
        """Let the sockets' new filters judge, and drop what was queued unless `until_ns` spares it.

        `opened` are new sockets beside those there are; sockets that hold nothing any more go.
        """
        before = self.readers
        self.is_ahead = False
        readers = before if not opened else (*before, *(one for one in opened if one not in before))
        if len(readers) == 1 and not self.draining:
            _judge(readers[0], wanted, until_ns)
        else:
            self._is_plain = False
            for reader in readers:
                _judge(reader, self._judging_at(reader, wanted, until_ns), until_ns)
            holding = tuple(reader for reader in readers if not reader.sock.filter.is_none)
            readers = holding or readers[:1]
        self._note_filter(wanted, until_ns)
        if until_ns is not None and readers[0].sock.filter != wanted and not wanted.is_include:
            self._replacing.look(readers)  # the gate refuses what the kernel lets in
        if readers != before:
            self._draining_unseen = tuple(reader for reader in before if reader not in readers)
            self.draining = tuple(dict.fromkeys((*self.draining, *self._draining_unseen)))
            self.readers = readers
        elif not self._draining_unseen and not opened:
            return
        if self._draining_unseen:
            spared = tuple(reader for reader in self._draining_unseen if not reader.gate.passing.is_none)
            self._replacing.drain(spared)
            self.end_draining([reader for reader in self._draining_unseen if reader not in spared])
        self._arrange()
        self.redirect()
        self._draining_unseen = ()  # not before: else nobody would ask again

    def set_straight(self, wanted: SourceFilter, reader: Reader) -> None:
        """Do what `set_filter` does after the one call of `straight`: the socket holds all of `wanted`."""
        reader.set_filter(wanted)
        self.filter = wanted
        self.anew.changed(wanted)
        self._outlet.refuse(self._is_refused, wanted)

    def _judging_at(self, reader: Reader, wanted: SourceFilter, until_ns: int | None) -> SourceFilter:
        """Return the filter that is to judge at one of the sockets.

        One EXCLUDE socket stands for the whole filter, of which it may hold only a part. Of an
        INCLUDE list each has a part of its own; what a swap has spared of a source that is let in
        again, but by another socket now, is still to come from here.
        """
        if not wanted.is_include:
            return wanted
        part = reader.sock.filter
        if until_ns is not None:
            return part
        passing = reader.gate.passing
        if passing.is_include and part.sources.issuperset(passing.sources & wanted.sources):
            return part
        return part | (passing & wanted)

    def hand_over(
        self, wanted: SourceFilter, opened: Sequence[Reader], begun_ns: int, cut_ns: int, deliver: bool
    ) -> None:
        """Deliver what arrived up to `cut_ns` from the present sockets, the rest from `opened`.

        `begun_ns` is a time before these joined.
        """
        self._is_plain = self.is_ahead = False
        if self.readers != tuple(opened):
            old = self.together
            for reader in old:
                reader.deliver_until(cut_ns)
            for reader in opened:
                _judge(reader, reader.sock.filter if wanted.is_include else wanted)
            self._replacing.begin(old)
            self.draining, self.lanes, self.readers = (), None, tuple(opened)
        self._note_filter(wanted, cut_ns if deliver else None)
        elsewhere = SourceFilter.none()
        for reader in self._replacing.members:
            elsewhere |= reader.gate.passing
        for reader in self.readers:
            reader.deliver_since(begun_ns, cut_ns, elsewhere)
        self._arrange()
        self.redirect()

    def go_ahead(self, wanted: SourceFilter, until_ns: int | None) -> None:
        """Judge by `wanted` what has come, as by `set_filter`, with no call: nothing comes there now."""
        self.is_ahead, self._is_plain = True, False
        for reader in self.all_readers:
            _judge(reader, wanted, until_ns)
        self._note_filter(wanted, until_ns)

    # Ending

    @property
    def generations(self) -> list[tuple[Reader, ...]]:
        """All sockets, in the order in which they are to be read out."""
        return [*self._replacing.generations, self.together]

    def end(self) -> None:
        """Leave, hand over or count what the sockets hold, and close them. Can be gone through again."""
        if self._ending is None:
            self._ending = self.generations
        self._stop()
        while self._ending:
            self._sockets.retire(self._ending[0])
            del self._ending[0]

    def abandon(self) -> None:
        """Close all sockets of a membership that did not come to be."""
        for reader in self.all_readers:
            self.drop(reader)
        self._stop()

    def _stop(self) -> None:
        """Have no sockets any more, and no handover."""
        self.readers, self.draining, self.lanes, self._draining_unseen = (), (), None, ()
        self._replacing.stop()
        self._outlet.unfollow(self.redirect)

    # Joining anew

    @property
    def is_changed(self) -> bool:
        """Whether its filter is another than that with which it has last joined."""
        return self.anew.joined_with != self.filter

    def rejoin(self) -> None:
        """Leave and join again with every socket, one after the other."""
        self.anew.restore(self.readers)
        self.anew.rejoin(self.readers)
        self.anew.note(self.filter)

    def withdraw(self) -> None:
        """Leave with every socket, those that are being replaced included, to `restore` what is held now."""
        self.anew.withdraw(self.all_readers, self.readers)

    def restore(self) -> None:
        """Join again with what has withdrawn. RefusedError when refused: then it can be tried again."""
        self.anew.restore(self.readers)
        self.anew.note(self.filter)

    def disown(self, interface: Interface) -> None:
        """Wait for what they were on, known as `interface` meanwhile. They have withdrawn."""
        self.anew.forget()
        self.is_ahead = True
        self.rename(interface)

    def rename(self, interface: Interface) -> None:
        """Know the interface by another name."""
        self._sockets.interface = interface
        for reader in self.all_readers:
            reader.sock.interface = interface

    # Inside

    def _note_filter(self, wanted: SourceFilter, until_ns: int | None) -> None:
        self.filter = wanted
        self.anew.changed(wanted)
        if until_ns is not None:
            return
        if not self._is_plain:
            self._note_elsewhere(wanted)
        self._outlet.refuse(self._is_refused, wanted)

    def _note_elsewhere(self, wanted: SourceFilter) -> None:
        """Have `wanted` judge also at sockets that are not in force any more, and what was read ahead."""
        for reader in (*self._replacing.members, *self.draining):
            reader.set_filter(reader.gate.passing & wanted)
        for reader in self.readers:
            if reader.gate.since_ns is not None:
                reader.gate.elsewhere &= wanted
        # What was read ahead first: a stream that has room again goes on reading at once.
        for lanes in {reader.lanes for reader in self.all_readers if reader.lanes is not None}:
            self._refused_ahead += lanes.refuse(lambda packet: self._is_refused(wanted, packet.flow))
        self._is_plain = (
            self._replacing.is_over
            and len(self.together) == 1
            and self.lanes is None
            and self.readers[0].gate.since_ns is None
        )

    def _is_refused(self, wanted: SourceFilter, flow: Flow) -> bool:
        # Also what came in on an interface that the membership has left, and is queued still.
        is_mine = (flow.group, flow.port, flow.interface_index) in self._outlet.keys
        return is_mine and (flow.source in wanted.sources) is not wanted.is_include

    def _arrange(self) -> None:
        """Have the present sockets read together, where there are several."""
        together = self.together
        before = self.lanes
        if len(together) > 1 or (before is not None and len(before)):
            self.lanes = Lanes(together, before, time_ns=self._reading.time_ns)
            self._is_plain = False
        else:
            self.lanes = None
        for reader in together:
            reader.lanes = self.lanes

    def redirect(self) -> None:
        """Have read what is to be read now, into the outlet's present sink."""
        outlet = self._outlet
        sink = outlet.sink
        readable = self._replacing.readable
        for reader in self.all_readers:
            reader.sink = sink
            if reader.place is not None:
                if reader in readable:
                    reader.place.add()
                else:
                    reader.place.discard()
        self._replacing.settle()

    def end_draining(self, gone: Collection[Reader]) -> None:
        """Close sockets that have left the group and hold nothing that is still to come."""
        if not gone:
            return
        for reader in gone:
            reader.lanes = None
        self._sockets.retire(tuple(gone))
        self.draining = tuple(reader for reader in self.draining if reader not in gone)
        self._arrange()


def _judge(reader: Reader, wanted: SourceFilter, until_ns: int | None = None) -> None:
    """Have `wanted` judge, of which the socket may hold a part: the gate refuses the rest."""
    reader.set_filter(wanted, until_ns)
    held = reader.sock.filter.sources
    if not wanted.is_include and len(held) != len(wanted.sources):
        reader.gate.beyond_kernel = wanted.sources - held
