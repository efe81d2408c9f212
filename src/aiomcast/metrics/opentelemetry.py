"""Observable instruments for OpenTelemetry."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import final

from ..receiving.receiver import Receiver
from ..values.statistics import Statistics
from .missing import MissingExtraError
from .quantities import QUANTITIES, Quantity
from .snapshot import Snapshot, Taking

try:
    from opentelemetry.metrics import CallbackOptions, Meter, Observation, get_meter
except ImportError:
    raise MissingExtraError("opentelemetry-api", "opentelemetry") from None

__all__ = ["instrument"]


def instrument(receiver: Receiver, meter: Meter | None = None) -> None:
    """Make instruments of `meter` (None: that of `aiomcast`) tell the counters of `receiver`.

    Call it once, in the event loop of the receiver; exporters may ask from any thread. `aiomcast.*` is
    the whole receiver, what was left included; `aiomcast.membership.*` has the attributes
    `network.multicast.group`, `network.local.port` and `network.interface.name`. Drops have
    `error.type`: kernel, queue or filter. StateError without a running event loop.
    """
    meter = get_meter("aiomcast") if meter is None else meter
    shared = _Shared(Taking(receiver, 0))
    for quantity in QUANTITIES:
        for prefix, tell in (("aiomcast.", _whole), ("aiomcast.membership.", _each)):
            make = meter.create_observable_counter if quantity.is_counter else meter.create_observable_gauge
            name = prefix + quantity.name
            make(name, [shared.callback(name, quantity, tell)], quantity.unit, quantity.says)


Tell = Callable[[Quantity, Snapshot], Iterable[Observation]]


@final
class _Shared:
    """One snapshot for all instruments: it is taken anew when one of them asks for the second time."""

    def __init__(self, taking: Taking) -> None:
        self._taking = taking
        self._taken: Snapshot | None = None
        self._served: set[str] = set()

    def callback(
        self, name: str, quantity: Quantity, tell: Tell
    ) -> Callable[[CallbackOptions], Iterable[Observation]]:
        """Return what an instrument calls."""

        def observe(_: CallbackOptions) -> Iterable[Observation]:
            if self._taken is None or name in self._served:
                self._taken = self._taking.take()
                self._served.clear()
            self._served.add(name)
            return list(tell(quantity, self._taken))

        return observe


def _whole(quantity: Quantity, taken: Snapshot) -> Iterable[Observation]:
    return _observed(quantity, taken.receiver, {})


def _each(quantity: Quantity, taken: Snapshot) -> Iterable[Observation]:
    for (group, port, interface), counted in taken.memberships.items():
        named: dict[str, str | int] = {
            "network.multicast.group": group,
            "network.local.port": int(port),
            "network.interface.name": interface,
        }
        yield from _observed(quantity, counted, named)


def _observed(
    quantity: Quantity, counted: Statistics, named: Mapping[str, str | int]
) -> Iterable[Observation]:
    for reason, value in quantity.values:
        number = value(counted)
        if number is not None:
            yield Observation(number, {**named} if reason is None else {**named, "error.type": reason})
