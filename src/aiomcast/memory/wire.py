"""Links and what is attached to them: a datagram that is put on a link reaches those who have joined."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple, Protocol
from weakref import WeakKeyDictionary

from ..values.interface import Interface
from .clock import Clock
from .impairments import Fate, Impairments
from .refusing import Refusing

__all__ = ["Attachment", "Datagram", "Hearing", "SentDatagram", "Wire"]


_UNIMPAIRED = Fate(1, False)


class Datagram(Protocol):
    """What is on a link: addresses are canonical text."""

    @property
    def data(self) -> bytes:
        """The payload."""

    @property
    def source(self) -> str:
        """Whose it is."""

    @property
    def source_port(self) -> int:
        """The port it was sent from."""

    @property
    def group(self) -> str:
        """The group it is to."""

    @property
    def port(self) -> int:
        """The port it is to."""

    @property
    def hop_limit(self) -> int | None:
        """The TTL or hop limit, None where nobody has asked for it."""

    @property
    def traffic_class(self) -> int | None:
        """The traffic class or TOS, None where nobody has asked for it."""

    @property
    def timestamp_ns(self) -> int | None:
        """When it arrived, where that was before: else what its receivers note."""

    @property
    def truncated(self) -> bool:
        """Whether it was cut short where it arrived before."""


class SentDatagram(NamedTuple):
    """Keeps `Datagram`."""

    data: bytes
    source: str
    source_port: int
    group: str
    port: int
    hop_limit: int
    traffic_class: int
    timestamp_ns: int | None = None

    @property
    def truncated(self) -> bool:
        """False: it comes whole."""
        return False


class Hearing(Protocol):
    """What has joined, as the link knows it."""

    drained: Callable[[], None] | None

    def arrive(self, datagram: Datagram, stamp_ns: int) -> None:
        """Take a datagram of the group, or refuse it by its source."""

    def has_room(self, datagram: Datagram) -> bool:
        """Whether `arrive` would drop nothing. If not, `drained` is called once when there may be room."""


class Attachment:
    """An interface on a link, whether it has a carrier, and who has joined there.

    Members are held weakly: a socket that nobody holds has left.
    """

    def __init__(self, interface: Interface, link: str) -> None:
        self.interface: Interface = interface
        self.link: str = link
        self.is_up: bool = True
        self.carrier_ups: int = 1
        self.members: dict[tuple[str, int], WeakKeyDictionary[Hearing, None]] = {}

    def join(self, group: str, port: int, member: Hearing) -> None:
        """Have `member` hear what is sent to `group` and `port`."""
        self.members.setdefault((group, port), WeakKeyDictionary())[member] = None

    def leave(self, group: str, port: int, member: Hearing) -> None:
        """Have it hear nothing more; nothing happens where it heard nothing."""
        members = self.members.get((group, port))
        if members is not None:
            members.pop(member, None)
            if not members:
                del self.members[group, port]


class Wire:
    """All links of one network, with what they do to datagrams, and the limits of its hosts.

    A datagram has one time of arrival, which everybody who hears it sees. One that is to be
    overtaken waits for the next on its link, or for `release`.
    """

    def __init__(
        self,
        clock: Clock,
        impairments: Impairments | None,
        latency_ns: int,
        source_limit: int | None,
        receive_buffer: int,
        real_timers: bool,
    ) -> None:
        self.clock: Clock = clock
        self.refusing: Refusing = Refusing()
        self.source_limit: int | None = source_limit
        self.receive_buffer: int = receive_buffer
        self.real_timers: bool = real_timers
        self.happened: int = 0
        """Counts what arrives and what is read, so that one can see that nothing has happened."""
        self._impairments = impairments
        self._latency_ns = latency_ns
        self._attached: dict[str, dict[Attachment, None]] = {}
        self._overtaken: dict[str, deque[tuple[int, Datagram]]] = {}

    def attach(self, attachment: Attachment) -> None:
        """Let it hear its link."""
        self._attached.setdefault(attachment.link, {})[attachment] = None

    def detach(self, attachment: Attachment) -> None:
        """Take it off its link; its memberships end."""
        self._attached[attachment.link].pop(attachment)
        attachment.members.clear()

    def send(self, link: str, datagram: Datagram) -> None:
        """Put one datagram on a link."""
        fate = _UNIMPAIRED if self._impairments is None else self._impairments.draw()
        due_ns = self.clock.reached_ns + self._latency_ns
        if fate.is_overtaken:
            self._overtaken.setdefault(link, deque()).extend([(due_ns, datagram)] * fate.copies)
            return
        for _ in range(fate.copies):
            self._travel(link, datagram, due_ns)
        self._release(link)

    def release(self) -> None:
        """Let go what waits to be overtaken."""
        for link in tuple(self._overtaken):
            self._release(link)

    def _release(self, link: str) -> None:
        for due_ns, datagram in self._overtaken.pop(link, ()):
            self._travel(link, datagram, due_ns)

    def _travel(self, link: str, datagram: Datagram, due_ns: int) -> None:
        if due_ns <= self.clock.reached_ns:
            self._arrive(link, datagram)
        else:
            self.clock.call_at(due_ns, lambda: self._arrive(link, datagram))

    def _arrive(self, link: str, datagram: Datagram) -> None:
        self.happened += 1
        stamp_ns, where = self.clock.stamp(), (datagram.group, datagram.port)
        # Copies: members may leave at any time, as a receiver that nobody holds is collected.
        for attachment in tuple(self._attached.get(link, ())):
            if attachment.is_up:
                for member in tuple(attachment.members.get(where, ())):
                    member.arrive(datagram, stamp_ns)
