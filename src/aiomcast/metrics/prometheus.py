"""A collector for prometheus_client."""

from __future__ import annotations

from collections.abc import Iterator
from typing import final

from ..receiving.receiver import Receiver
from ..values.statistics import Statistics
from .missing import MissingExtraError
from .quantities import QUANTITIES, Quantity
from .snapshot import Taking

try:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
    from prometheus_client.registry import Collector
except ImportError:
    raise MissingExtraError("prometheus_client", "prometheus") from None

__all__ = ["PrometheusCollector"]

_LABELS = ("group", "port", "interface")


@final
class PrometheusCollector(Collector):
    """Tells the counters of `receiver` at each scrape: `registry.register(PrometheusCollector(receiver))`.

    Make it in the event loop of the receiver; a scrape may come from any thread. `aiomcast_*` is the
    whole receiver, what was left included: those counters never fall. `aiomcast_membership_*` has the
    labels group, port and interface, and ends when the membership is left. With `sources`, for a
    receiver with `by_source=True`, `aiomcast_source_*` tells as many sources of each membership apart,
    those that came first, and has the others under `source="other"`.

    ArgumentError for a negative `sources`, StateError without a running loop or `by_source`.
    """

    def __init__(self, receiver: Receiver, *, sources: int = 0) -> None:
        self._taking = Taking(receiver, sources)

    def describe(self) -> Iterator[Metric]:
        """Name nothing beforehand, so that registering takes no counts."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics, of one moment."""
        taken = self._taking.take()
        by_labels = taken.memberships.items()
        for quantity in QUANTITIES:
            whole = _family(quantity, "aiomcast_", ())
            _add(whole, quantity, (), taken.receiver)
            yield whole
            each = _family(quantity, "aiomcast_membership_", _LABELS)
            for labels, counted in by_labels:
                _add(each, quantity, labels, counted)
            yield each
        yield GaugeMetricFamily("aiomcast_memberships", "Memberships joined now.", len(taken.memberships))
        if taken.sources:
            names = (*_LABELS, "source")
            packets = CounterMetricFamily("aiomcast_source_packets", "Packets that passed.", labels=names)
            octets = CounterMetricFamily("aiomcast_source_bytes", "Payload that passed.", labels=names)
            for labels, sources in taken.sources.items():
                for source, came in sources.items():
                    packets.add_metric((*labels, source), came.packets)
                    octets.add_metric((*labels, source), came.octets)
            yield packets
            yield octets


def _family(quantity: Quantity, prefix: str, labels: tuple[str, ...]) -> Metric:
    kind = CounterMetricFamily if quantity.is_counter else GaugeMetricFamily
    if quantity.values[0][0] is not None:
        labels = (*labels, "reason")
    return kind(prefix + quantity.prometheus, quantity.says, labels=labels)


def _add(family: Metric, quantity: Quantity, labels: tuple[str, ...], counted: Statistics) -> None:
    assert isinstance(family, CounterMetricFamily | GaugeMetricFamily)
    for reason, value in quantity.values:
        number = value(counted)
        if number is not None:
            family.add_metric(labels if reason is None else (*labels, reason), number)
