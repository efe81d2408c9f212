"""Counts what comes, by flow, and makes reports of it. It reads no clock."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from aiomcast import FilterMode, Flow, Membership, Packet, Statistics
from aiomcast.feeds import Jitter, Sequence, SequenceCounter

from .report import Account, ChannelReport, Report, SourceReport, Traffic

__all__ = ["Counting"]

MOST_FLOWS = 4096  # counted by themselves: the packets of any more are counted with their channel's "others"
MOST_NAMED = 256  # sources of a filter that are shown before they are heard
OTHERS = "others"


class Counting:
    """What has come, by flow, since the start and since the interval began."""

    def __init__(self, sequence: Sequence | None) -> None:
        self._sequence = sequence
        self._flows: dict[Flow, _OfFlow] = {}
        self._began = 0.0
        self._dropped_before: dict[Membership, Statistics] = {}

    def take(self, batch: list[Packet], now_ns: int) -> None:
        """Count a batch; `now_ns` is the time of what has no stamp, in nanoseconds of CLOCK_REALTIME."""
        flow, counted = None, None
        for packet in batch:
            if packet.flow is not flow or counted is None:
                flow = packet.flow
                counted = self._flows.get(flow) or self._begin(flow)
            counted.take(packet.data, packet.timestamp_ns or now_ns)

    def has_come(self, group: str, port: int, sources: Collection[str]) -> bool:
        """Whether a packet of this channel has come: from one of `sources`, if there are any.

        Where there are too many flows to tell by which, it may have.
        """
        wanted = {*sources, OTHERS} if sources else set()
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
        """Return what there is now, `passed` seconds after the start."""
        accounts = self._accounts()
        channels = tuple(self._of_channel(one, accounts) for one in memberships)
        return Report(now_ns, passed, passed - self._began, channels, self._sequence is not None)

    def begin_interval(self, report: Report, memberships: Iterable[Membership]) -> None:
        """Begin the interval that follows the one of `report`, which has just been made of these."""
        self._began = report.passed
        for one in self._flows.values():
            one.begin_interval()
        self._dropped_before = {
            one: channel.dropped for one, channel in zip(memberships, report.channels, strict=True)
        }

    def forget_intervals(self) -> None:
        """Take the whole time for the interval."""
        self._began = 0.0
        for one in self._flows.values():
            one.forget_intervals()
        self._dropped_before = {}

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
        before = self._dropped_before.get(membership, Statistics())
        return ChannelReport(
            group,
            port,
            membership.interface.name,
            let_in,
            tuple(SourceReport(source, account) for source, account in sources.items()),
            dropped,
            dropped - before,
        )


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

    def begin_interval(self) -> None:
        self._before = self._traffic()

    def forget_intervals(self) -> None:
        self._before = Traffic()

    def account(self) -> Account:
        total = self._traffic()
        return Account(total, total - self._before, self._latest_ns, self._jitter.nanoseconds)

    def _traffic(self) -> Traffic:
        if self._sequence is None:
            return Traffic(self._packets, self._octets)
        return Traffic(self._packets, self._octets, self._sequence.statistics())
