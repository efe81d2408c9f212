"""scrape: milliseconds for the counters of many memberships, and for what monitoring makes of them."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeAlias

from opentelemetry.metrics import CallbackOptions, CallbackT, NoOpMeter, ObservableCounter, ObservableGauge
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client import CollectorRegistry, generate_latest

import aiomcast
from aiomcast.metrics import PrometheusCollector, instrument
from tests.support.inside import sockets_of

from . import descriptors, sockets
from .results import Bar, Panel, Result, Samples, Table
from .stopwatch import Stopwatch
from .worker import Worker, WorkerError

__all__ = ["HELP", "add_arguments", "measure", "run"]

HELP = "milliseconds for the statistics and for a scrape of 1,000 memberships"
_MEASURE = 1_000  # the number of memberships that the figures to reach are about
_BARE = "SO_MEMINFO of each socket, nothing else"
_STATISTICS = "receiver.statistics()"
_SUMS, _EACH = "sums", "memberships=True"
_OURS, _TEXT = "Prometheus, {}: what we make", "Prometheus, {}: with the text"
_OBSERVED, _SDK = "OpenTelemetry, {}: what we make", "OpenTelemetry, {}: with the SDK's part"
_REACH = {
    _STATISTICS: "scrape statistics",
    _TEXT.format(_SUMS): "scrape sums",
    _OURS.format(_EACH): "scrape each",
}
_Ways: TypeAlias = dict[str, Callable[[], object]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add how many, and how often."""
    parser.add_argument("--channels", type=int, default=_MEASURE, help="memberships (%(default)s)")
    parser.add_argument("--rounds", type=int, default=31, help="rounds (%(default)s)")


def run(options: argparse.Namespace) -> Result:
    """Measure in a fresh process per loop."""
    result = Result("scrape")
    sizes, result.notes = descriptors.sizes_within([options.channels])
    bars: list[Bar] = []
    title = f"scrape: {options.channels:,} memberships, all flowing, {options.rounds} rounds"
    for loop in options.loops if sizes else ():
        try:
            with Worker(loop) as worker:
                found: dict[str, list[float]] = worker.call(
                    measure, channels=options.channels, rounds=options.rounds
                )
        except WorkerError as error:
            result.notes.append(f"{options.channels:,} channels, {loop}: the system refuses: {error}")
            continue
        result.data[loop] = found
        rows = []
        for way, times in found.items():
            spent = Samples(tuple(times))
            rows.append((way, f"{spent.median:.2f}", spent.spread(2)))
            bars.append(Bar(way, loop, spent.median, ours=not way.startswith(_BARE)))
            if way in _REACH and options.channels == _MEASURE:
                result.measured[_REACH[way], loop] = spent.median
        result.tables.append(Table(f"{title}, {loop}", ("", "ms", "min-max"), rows))
    result.data |= {"channels": options.channels, "rounds": options.rounds}
    result.panels.append(Panel(title, "ms (less is better)", bars, log=True))
    return result


async def measure(channels: int, rounds: int) -> dict[str, list[float]]:
    """Time each way once a round, after a datagram to each membership: in a worker."""
    descriptors.raise_limit()
    groups = sockets.channels(channels)
    async with aiomcast.Receiver() as receiver:
        for group in groups:
            await receiver.join(group, sockets.PORT, sources=[sockets.SOURCE], interface=sockets.LOOPBACK)
        stream = receiver.packets()
        ways = _ways(receiver)
        spent: dict[str, list[float]] = {way: [] for way in ways}
        with sockets.sender() as sender:
            for _ in range(rounds + 1):
                for way, look in ways.items():
                    # All their numbers are others than at the last look.
                    sockets.fill(groups, channels, 200, sock=sender)
                    async with asyncio.timeout(60):
                        for _ in range(channels):
                            await anext(stream)
                    spent[way].append(_milliseconds(look))
    return {way: times[1:] for way, times in spent.items()}  # in the first one all is new


class _Asking(NoOpMeter):
    """A meter that only asks: what is told costs nothing more."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._callbacks: list[CallbackT] = []

    def create_observable_counter(
        self, name: str, callbacks: Sequence[CallbackT] | None = None, unit: str = "", description: str = ""
    ) -> ObservableCounter:
        """Keep the callbacks."""
        self._callbacks += callbacks or ()
        return super().create_observable_counter(name)

    def create_observable_gauge(
        self, name: str, callbacks: Sequence[CallbackT] | None = None, unit: str = "", description: str = ""
    ) -> ObservableGauge:
        """Keep the callbacks."""
        self._callbacks += callbacks or ()
        return super().create_observable_gauge(name)

    def ask(self) -> None:
        """Call each once, as one collection does."""
        for callback in self._callbacks:
            assert callable(callback)
            callback(CallbackOptions())


def _milliseconds(look: Callable[[], object]) -> float:
    with Stopwatch() as watch:
        look()
    return watch.ns / 1e6


def _collected(collector: PrometheusCollector) -> None:
    list(collector.collect())


def _ways(receiver: aiomcast.Receiver) -> _Ways:
    """Return what is to be timed, by its name."""
    joined = [sock for membership in receiver.memberships for sock in sockets_of(membership)]
    ways: _Ways = {
        _BARE: lambda: [sockets.dropped(sock) for sock in joined],
        _STATISTICS: receiver.statistics,
    }
    for name, is_each in ((_SUMS, False), (_EACH, True)):
        collector, registry = PrometheusCollector(receiver, memberships=is_each), CollectorRegistry()
        registry.register(collector)
        reader, asking = InMemoryMetricReader(), _Asking("benchmarks")
        meter = MeterProvider([reader], shutdown_on_exit=False).get_meter("benchmarks")
        instrument(receiver, meter, memberships=is_each)
        instrument(receiver, asking, memberships=is_each)
        ways |= {
            _OURS.format(name): partial(_collected, collector),
            _TEXT.format(name): partial(generate_latest, registry),
            _OBSERVED.format(name): asking.ask,
            _SDK.format(name): reader.get_metrics_data,
        }
    return ways
