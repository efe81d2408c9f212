"""Observable instruments for OpenTelemetry."""

from __future__ import annotations

import math
from functools import partial
from typing import TypeAlias, final

from ..errors import MissingExtraError
from ..receiving.receiver import Receiver
from .points import Points
from .quantities import QUANTITIES
from .snapshot import Name, Taking

try:
    from opentelemetry.metrics import CallbackOptions, Meter, Observation, get_meter
except ImportError:
    raise MissingExtraError.of("opentelemetry-api", "opentelemetry") from None

__all__ = ["instrument"]

_WHOLE, _EACH = "aiomcast.", "aiomcast.membership."
_Attributes: TypeAlias = dict[str, str | int]


def instrument(receiver: Receiver, meter: Meter | None = None, *, memberships: bool = False) -> None:
    """Make instruments of `meter` (None: that of `aiomcast`) tell the counters of `receiver`.

    Call it once, in the event loop of the receiver; exporters may ask from any thread. `aiomcast.*` is
    the whole receiver, what was left included. With `memberships`, `aiomcast.membership.*` tells each
    membership apart by the attributes `network.multicast.group`, `network.local.port` and
    `network.interface.name`: nine points for each of them. Drops have `error.type`: kernel, queue or
    filter.

    ArgumentTypeError for a `memberships` that is not True or False, StateError without a running loop.
    """
    meter = get_meter("aiomcast") if meter is None else meter
    shared = _Shared(Taking(receiver, memberships=memberships))
    for quantity in QUANTITIES:
        make = meter.create_observable_counter if quantity.is_counter else meter.create_observable_gauge
        for prefix in (_WHOLE, _EACH) if memberships else (_WHOLE,):
            name = prefix + quantity.name
            make(name, [partial(shared.told, name)], quantity.unit, quantity.says)


@final
class _Shared:
    """One snapshot for all instruments: it is taken anew when one of them asks for the second time."""

    def __init__(self, taking: Taking) -> None:
        self._taking = taking
        self._points: Points[_Attributes, Observation] = Points(_attributes, lambda _: _observation)
        self._told: dict[str, list[Observation]] = {}  # by instrument, what it has not asked for yet

    def told(self, name: str, _: CallbackOptions) -> list[Observation]:
        """Return what the instrument of that name observes."""
        observed = self._told.pop(name, None)
        if observed is None:
            told = self._take()
            observed = told.pop(name)
            self._told = told
        return observed

    def _take(self) -> dict[str, list[Observation]]:
        taken = self._taking.take()
        told = {
            _WHOLE + quantity.name: [
                _observation({} if reason is None else {"error.type": reason}, number)
                for reason, value in quantity.values
                if not math.isnan(number := value(taken.receiver))
            ]
            for quantity in QUANTITIES
        }
        for quantity, observed in self._points.of(taken.names, taken.tallies).items():
            told[_EACH + quantity.name] = observed
        return told


def _attributes(name: Name, reason: str | None) -> _Attributes:
    group, port, interface = name
    named: _Attributes = {
        "network.multicast.group": group,
        "network.local.port": port,
        "network.interface.name": interface,
    }
    return named if reason is None else {**named, "error.type": reason}


def _observation(attributes: _Attributes, number: float) -> Observation:
    return Observation(number, attributes)
