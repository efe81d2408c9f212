"""Counts what comes, by flow, and makes reports of it. It reads no clock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import reduce
from operator import add

from aiomcast import FilterMode, Flow, Membership, Packet, Statistics
from aiomcast.feeds import Jitter, Sequence, SequenceCounter

from .report import Account, ChannelReport, Report, SourceReport, Traffic

__all__ = ["Counting"]

MOST_FLOWS = 4096  # counted by themselves: the packets of any more are counted with their channel's "others"
MOST_NAMED = 256  # sources of a filter that are shown before they are heard
OTHERS = "others"


class Counting:
    """What has come, by flow."""

    def __init__(self, sequence: Sequence | None) -> None:
        self._sequence = sequence
        self._flows: dict[Flow, _OfFlow] = {}
        self._latest = _Latest()

    def take(self, batch: list[Packet], now_ns: int) -> None:
        """Count a batch; `now_ns` is the time of what has no stamp, in nanoseconds of CLOCK_REALTIME."""
        flow, counted = None, None
        for packet in batch:
            if packet.flow is not flow or counted is None:
                flow = packet.flow
                counted = self._flows.get(flow) or self._begin(flow)
            counted.take(packet.data, packet.timestamp_ns or now_ns)

    def has_come(self, group: str, port: int, sources: Iterable[str]) -> bool:
        """Whether a packet of this channel has come: from one of `sources`, if there are any."""
        wanted = set(sources)
        return any(
            (flow.group, flow.port) == (group, port) and (not wanted or flow.source in wanted)
            for flow in self._flows
        )

    def _begin(self, flow: Flow) -> _OfFlow:
        if len(self._flows) >= MOST_FLOWS:
            flow = Flow(OTHERS, 0, flow.group, flow.port, flow.interface_index)
            if flow in self._flows:
                return self._flows[flow]
        counted = self._flows[flow] = _OfFlow(None if flow.source == OTHERS else self._sequence)
        return counted

    def report(self, memberships: Iterable[Membership], now_ns: int, passed: float) -> Report:
        """Return what there is now; the interval of the report is the time since the last one."""
        accounts = self._accounts()
        interval, self._latest.passed = passed - self._latest.passed, passed
        channels = tuple(self._of_channel(one, accounts) for one in memberships)
        return Report(now_ns, passed, interval, channels, self._sequence is not None)

    def _accounts(self) -> dict[tuple[str, int], dict[str, Account]]:
        accounts: dict[tuple[str, int], dict[str, Account]] = {}
        for flow, counted in self._flows.items():
            sources = accounts.setdefault((flow.group, flow.port), {})
            account = counted.account()
            sources[flow.source] = sources[flow.source] + account if flow.source in sources else account
        return accounts

    def _of_channel(
        self, membership: Membership, accounts: Mapping[tuple[str, int], dict[str, Account]]
    ) -> ChannelReport:
        group, port, let_in = membership.group, membership.port, membership.filter
        sources = accounts.get((group, port), {})
        if let_in.mode is FilterMode.INCLUDE and len(let_in.sources) <= MOST_NAMED:
            sources = {one: sources.get(one, Account()) for one in sorted(let_in.sources)} | sources
        dropped = membership.statistics()
        before = self._latest.dropped.get(membership, Statistics())
        self._latest.dropped[membership] = dropped
        return ChannelReport(
            group,
            port,
            membership.interface.name,
            let_in,
            tuple(SourceReport(source, account) for source, account in sources.items()),
            dropped,
            dropped - before,
        )

    def total(self) -> Traffic:
        """Return what has come in all."""
        return reduce(add, (one.traffic() for one in self._flows.values()), Traffic())


class _Latest:
    """What the report before told."""

    def __init__(self) -> None:
        self.passed = 0.0
        self.dropped: dict[Membership, Statistics] = {}


class _OfFlow:
    __slots__ = ("_before", "_jitter", "_latest_ns", "_octets", "_packets", "_sequence")

    def __init__(self, sequence: Sequence | None) -> None:
        self._packets = self._octets = 0
        self._latest_ns: int | None = None
        self._jitter = Jitter()
        self._sequence = None if sequence is None else SequenceCounter(sequence)
        self._before = Traffic()

    def take(self, data: bytes, timestamp_ns: int) -> None:
        self._packets += 1
        self._octets += len(data)
        self._latest_ns = timestamp_ns
        self._jitter.take(timestamp_ns)
        if self._sequence is not None:
            self._sequence.take(data)

    def traffic(self) -> Traffic:
        if self._sequence is None:
            return Traffic(self._packets, self._octets)
        return Traffic(self._packets, self._octets, self._sequence.statistics())

    def account(self) -> Account:
        """Return what there is now; what is new in it is what has come since the last call."""
        total = self.traffic()
        new, self._before = total - self._before, total
        return Account(total, new, self._latest_ns, self._jitter.nanoseconds)
