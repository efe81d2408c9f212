"""What a receiver has counted, for Prometheus and for OpenTelemetry. Each needs its extra.

`PrometheusCollector` is for `aiomcast[prometheus]`, `instrument` for `aiomcast[opentelemetry]`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import MissingExtraError

if TYPE_CHECKING:
    from .opentelemetry import instrument
    from .prometheus import PrometheusCollector

__all__ = ["MissingExtraError", "PrometheusCollector", "instrument"]


def __getattr__(name: str) -> object:
    if name == "PrometheusCollector":
        from .prometheus import PrometheusCollector

        return PrometheusCollector
    if name == "instrument":
        from .opentelemetry import instrument

        return instrument
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
