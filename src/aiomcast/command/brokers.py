"""The server in the middle, as it is given: --to and what belongs to it."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from aiomcast import ArgumentError

if TYPE_CHECKING:
    from aiomcast.relay import JetStream, RedisStreams

__all__ = ["Broker", "broker", "brokers", "is_nats"]

Broker: TypeAlias = "JetStream | RedisStreams"

_NATS = ("nats", "tls", "ws", "wss")
_REDIS = ("redis", "rediss")
_OF_NATS = ("create", "credentials", "share")  # options that Redis has nothing for
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class _Keep(NamedTuple):
    """A number, and the unit of time that stands behind it, if one does."""

    number: float
    unit: str


def brokers(command: argparse.ArgumentParser) -> None:
    """Declare --to, --stream, --create, --keep, --not-durable and --credentials."""
    add = command.add_argument
    add(
        "--to", dest="url", metavar="URL", required=True,
        help="The server: nats://[USER:PASSWORD@]HOST[:PORT], or redis:// in the same way.",
    )  # fmt: skip
    add(
        "--stream", metavar="NAME",
        help="The stream to store in (default: nats, the one that takes the subjects; redis, mcast).",
    )  # fmt: skip
    add(
        "--create", action="store_true", help="Make the stream where there is none (nats; Redis always does)."
    )
    add(
        "--keep", metavar="AGE|N", type=_keep,
        help="nats, with --create: how long messages are kept, as 3600, 90m, 24h or 7d; redis: how many.",
    )  # fmt: skip
    add(
        "--not-durable", dest="is_not_durable", action="store_true",
        help="Take a Redis that has what it stores in memory alone.",
    )  # fmt: skip
    add("--credentials", metavar="FILE", help="Who this is, in a file as nsc writes it (nats).")


def is_nats(url: str) -> bool:
    """Whether it names a NATS server, not Redis. ArgumentError where it names neither."""
    scheme, found, _ = url.strip().partition("://")
    if not found or scheme.lower() not in _NATS + _REDIS:
        said = f"scheme {scheme[:40]}" if found else "no scheme"
        raise ArgumentError(f"--to: {said}", "write nats://HOST:PORT or redis://HOST:PORT")
    return scheme.lower() in _NATS


def broker(given: argparse.Namespace) -> Broker:
    """Return the server that the options of `brokers` name. ArgumentError where they do not fit it.

    MissingExtraError without what talks to it.
    """
    if is_nats(given.url):
        return _jetstream(given)
    return _redis_streams(given)


def _jetstream(given: argparse.Namespace) -> JetStream:
    if given.is_not_durable:
        raise ArgumentError("--not-durable with a NATS server", "it is for Redis: JetStream stores in files")
    keep: _Keep | None = given.keep
    if keep is not None and not given.create:
        raise ArgumentError(
            "--keep without --create", "a stream that is there keeps what it was made to keep"
        )
    from aiomcast.relay import JetStream

    return JetStream(
        given.url,
        stream=given.stream,
        create=given.create,
        keep=None if keep is None else keep.number * _UNITS[keep.unit or "s"],
        credentials=given.credentials,
    )


def _redis_streams(given: argparse.Namespace) -> RedisStreams:
    for name in _OF_NATS:
        if getattr(given, name):
            raise ArgumentError(f"--{name} with Redis", "it is for a NATS server")
    keep: _Keep | None = given.keep
    if keep is not None and (keep.unit or keep.number % 1):
        raise ArgumentError(f"--keep {keep.number:g}{keep.unit} with Redis", "give a number of messages")
    from aiomcast.relay import RedisStreams

    return RedisStreams(
        given.url,
        stream="mcast" if given.stream is None else given.stream,
        keep=None if keep is None else int(keep.number),
        durable=not given.is_not_durable,
    )


def _keep(text: str) -> _Keep:
    found = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)([smhd]?)", text)
    if found is None or not float(found[1]):
        raise argparse.ArgumentTypeError(f"{text!r} is no age, as 90m, 24h or 7d, and no number of messages")
    return _Keep(float(found[1]), found[2])
