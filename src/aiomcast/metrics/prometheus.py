"""A collector for prometheus_client."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeAlias, final

from ..errors import MissingExtraError
from ..receiving.receiver import Receiver
from .points import Points
from .quantities import QUANTITIES, Quantity
from .snapshot import Name, Taking

try:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, Sample
    from prometheus_client.registry import Collector
except ImportError:
    raise MissingExtraError.of("prometheus_client", "prometheus") from None

__all__ = ["PrometheusCollector"]

_LABELS = ("group", "port", "interface")
_Labels: TypeAlias = dict[str, str]


@final
class PrometheusCollector(Collector):
    """Tells the counters of `receiver` at each scrape: `registry.register(PrometheusCollector(receiver))`.

    Make it in the event loop of the receiver; a scrape may come from any thread. `aiomcast_*` is the
    whole receiver, what was left included: those counters never fall.

    With `memberships`, `aiomcast_membership_*` tells each membership apart by the labels group, port and
    interface, and ends when the membership is left: nine series for each of them.

    With `sources`, for a receiver with `by_source=True`, `aiomcast_source_*` tells as many sources of each
    membership apart, those that came first, and has the others under `source="other"`.

    ArgumentTypeError or ArgumentError for a `memberships` that is not True or False and a negative
    `sources`, StateError without a running loop or `by_source`.
    """

    def __init__(self, receiver: Receiver, *, memberships: bool = False, sources: int = 0) -> None:
        self._taking = Taking(receiver, memberships=memberships, sources=sources)
        self._points = Points(_labels, _sampling) if memberships else None
        self._tells_sources = sources > 0

    def describe(self) -> Iterator[Metric]:
        """Name nothing beforehand, so that registering takes no counts."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics, of one moment."""
        taken = self._taking.take()
        points = None if self._points is None else self._points.of(taken.names, taken.tallies)
        for quantity in QUANTITIES:
            whole = _family(quantity, "aiomcast_")
            for reason, value in quantity.values:
                if not math.isnan(number := value(taken.receiver)):
                    whole.add_metric([] if reason is None else [reason], number)
            yield whole
            if points is not None:
                each = _family(quantity, "aiomcast_membership_")
                each.samples = points[quantity]
                yield each
        yield GaugeMetricFamily("aiomcast_memberships", "Memberships joined now.", taken.joined)
        if self._tells_sources:
            names = (*_LABELS, "source")
            packets = CounterMetricFamily("aiomcast_source_packets", "Packets that passed.", labels=names)
            octets = CounterMetricFamily("aiomcast_source_bytes", "Payload that passed.", labels=names)
            for (group, port, interface), by_source in zip(taken.names, taken.sources, strict=True):
                for source, came in by_source.items():
                    labels = (group, str(port), interface, source)
                    packets.add_metric(labels, came.packets)
                    octets.add_metric(labels, came.octets)
            yield packets
            yield octets


def _family(quantity: Quantity, prefix: str) -> CounterMetricFamily | GaugeMetricFamily:
    kind = CounterMetricFamily if quantity.is_counter else GaugeMetricFamily
    labels = () if quantity.values[0][0] is None else ("reason",)
    return kind(prefix + quantity.prometheus, quantity.says, labels=labels)


def _labels(name: Name, reason: str | None) -> _Labels:
    labels = dict(zip(_LABELS, map(str, name), strict=True))
    return labels if reason is None else {**labels, "reason": reason}


def _sampling(quantity: Quantity) -> Callable[[_Labels, float], Sample]:
    suffix = "_total" if quantity.is_counter else ""
    return partial(Sample, f"aiomcast_membership_{quantity.prometheus}{suffix}")
