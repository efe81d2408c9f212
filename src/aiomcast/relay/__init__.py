"""Relays: what is received here, stored on a server, and read wherever multicast does not reach.

`JetStream` is for `aiomcast[nats]`, `RedisStreams` for `aiomcast[redis]`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .broker import Start
from .counters import RelayStatistics
from .errors import RelayError, UnreachableError
from .identity import PayloadIdentity, SequenceIdentity
from .networks import RelayNetwork
from .once import Missing, SubscriptionStatistics
from .relaying import Relay
from .sharing import SharedChannel, Sharing
from .subscription import Subscription

if TYPE_CHECKING:
    from .jetstream import JetStream
    from .leases import JetStreamLeases
    from .redis_streams import RedisStreams

__all__ = [
    "JetStream",
    "JetStreamLeases",
    "Missing",
    "PayloadIdentity",
    "RedisStreams",
    "Relay",
    "RelayError",
    "RelayNetwork",
    "RelayStatistics",
    "SequenceIdentity",
    "SharedChannel",
    "Sharing",
    "Start",
    "Subscription",
    "SubscriptionStatistics",
    "UnreachableError",
]


def __getattr__(name: str) -> object:
    if name in ("JetStream", "JetStreamLeases"):
        from .jetstream import JetStream  # first: it says so where nats-py is missing

        if name == "JetStream":
            return JetStream
        from .leases import JetStreamLeases

        return JetStreamLeases
    if name == "RedisStreams":
        from .redis_streams import RedisStreams

        return RedisStreams
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
