"""`aiomcast relay`: what comes to groups, stored on a NATS or Redis server."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, cast

from aiomcast import ArgumentError
from aiomcast.relay import PayloadIdentity, Relay, SequenceIdentity

from .brokers import Broker, broker, brokers
from .formats import Format
from .handing import Handed
from .intervals import INTERVALS
from .joining import buffers, channels, receiver, wanted
from .listening import Listening, Wanted
from .options import number, octets, sequence
from .output import STDOUT, Output
from .relaying import Relaying, told
from .running import run
from .writing import IntervalLines

if TYPE_CHECKING:
    from aiomcast.relay import JetStream

    from .sharing_out import SharedOut

__all__ = ["define", "perform"]

_SUBJECT = "mcast.{group}.{port}.{source}"
_SLOT = 10.0  # seconds
_WINDOW = 60.0  # seconds
_PENDING = 8192  # packets
_LARGEST = 65_507  # bytes: what a datagram can carry
_LEASE = 3.0  # seconds
_FEWEST_BITS = 16  # of numbers: fewer come again within a window


def define(command: argparse.ArgumentParser) -> None:
    """Store what comes to groups on a NATS or Redis server, each packet once.

    Channels are written as for `listen`. Each packet becomes a message with its payload untouched and all
    its tags, in a stream of JetStream (nats://, tls://, ws://, wss://, several servers of a cluster with
    commas) or of Redis (redis://, rediss://). It takes aiomcast[nats] or aiomcast[redis].

    Several relays may receive the same channels: what is known to be the same packet is stored once. It is
    known by its payload and the time slot it came in, or with --sequence by its number and payload.
    While the server is away, or full, packets wait in memory, and then --overflow decides.

    With --share relays that are given the same channels divide them: each channel is received by --copies
    of them, and one that dies is replaced within --lease seconds. --name tells them apart.

    stored: are in the stream by this relay. merged: were there already, by another. retried: were sent
    again. refused: were not taken for now. too long: had more than --largest bytes, and were not sent.
    dropped: were lost before they could be taken. pending: are not known to be stored.

    Ends with Ctrl-C, SIGTERM, SIGHUP, --count or --seconds: it takes no more, and waits up to 5 seconds
    until the server has what was taken; a second signal ends that, too. The status is 1 when the server
    is not there or does not fit, when packets were left unstored, and when nothing came of a channel that
    was asked for (with --share: that is its own), or fewer packets than --count, within --seconds.
    SIGUSR1 has the totals written.

    Examples:
      aiomcast relay 192.0.2.10@232.1.1.1:5000 --to nats://192.0.2.1:4222 --create --keep 24h
      aiomcast relay 232.1.1.1:5000 -s 192.0.2.10 --to redis://192.0.2.1:6379 --sequence rtp
      aiomcast relay --channels all.txt --to nats://192.0.2.1 --share relays --copies 2 --name a
    """
    channels(command)
    brokers(command)
    add = command.add_argument
    add("--name", metavar="RELAY", help="What its messages say whose they are (default: this host's name).")
    add(
        "--subject", metavar="TEMPLATE", default=_SUBJECT, help=f"Subjects of messages (default: {_SUBJECT})."
    )
    sequence(command)
    add(
        "--feed", metavar="NAME",
        help="With --sequence: lines from different groups or sources are one feed, of this name.",
    )  # fmt: skip
    add(
        "--slot", metavar="S", type=number(float),
        help=f"Without --sequence: the same payload within S seconds is one packet (default: {_SLOT:g}).",
    )  # fmt: skip
    add(
        "--window", metavar="S", type=number(float), default=_WINDOW,
        help=f"How long the server has to know what it has stored (default: {_WINDOW:g}).",
    )  # fmt: skip
    add(
        "--pending", metavar="N", type=number(int), default=_PENDING,
        help=f"How many packets may wait for the server (default: {_PENDING}).",
    )  # fmt: skip
    add(
        "--largest", metavar="BYTES", type=octets, default=_LARGEST,
        help=f"Leave out packets that are longer (default: {_LARGEST}, which none is).",
    )  # fmt: skip
    add(
        "--share",
        metavar="BUCKET",
        help="Divide the channels with all relays of this key-value bucket (nats).",
    )
    add("--copies", metavar="N", type=number(int), help="How many relays receive each channel (default: 1).")
    add(
        "--lease", metavar="S", type=number(float),
        help=f"After how long one that says nothing is replaced (default: {_LEASE:g}); the same for all.",
    )  # fmt: skip
    add(
        "--interval", metavar="S", type=number(float, 0.1),
        help="Write a line per channel, and one of the relay, every S seconds.",
    )  # fmt: skip
    add(
        "-f", "--format", dest="form", choices=("text", "json"), default="text",
        help="What these lines are (default: text).",
    )  # fmt: skip
    buffers(command, "stored")


def perform(given: argparse.Namespace) -> int:
    """Do it, with the arguments that `define` declares, and return the status."""
    asked = wanted(given)
    for name, other in (("copies", "share"), ("lease", "share"), ("feed", "sequence")):
        if getattr(given, name) is not None and getattr(given, other) is None:
            raise ArgumentError(f"--{name} without --{other}", f"it says more of --{other}")
    server, taking = broker(given), receiver(given, has_headers=True)
    handed = Handed(taking)
    relay = Relay(
        handed,  # type: ignore[arg-type]  # it is iterated over, as batches are
        server,
        name=given.name,
        subject=given.subject,
        identity=_identity(given),
        window=given.window,
        pending=given.pending,
        largest=given.largest,
        drain=0.0,  # that is waited for here
    )
    output, form = Output(STDOUT), Format(given.form)
    shown = None if given.interval is None else IntervalLines(output, INTERVALS[form], given.interval)
    relaying = Relaying(relay, handed, server, shown, output, form)
    joined = _shared_out(given, asked, server, relay.name)
    listening = Listening(asked, taking, given.sequence, relaying, given.quiet, joined)
    return run(_relayed(listening, server, given.quiet))


async def _relayed(listening: Listening, server: Broker, quiet: bool) -> int:
    with told(quiet):
        async with server:
            return await listening.run()


def _identity(given: argparse.Namespace) -> PayloadIdentity | SequenceIdentity:
    """Return by what packets are known."""
    if given.sequence is None:
        return PayloadIdentity(_SLOT if given.slot is None else given.slot)
    if given.slot is not None:
        raise ArgumentError("--slot and --sequence together", "give one of the two")
    if given.sequence.bits < _FEWEST_BITS:
        raise ArgumentError(
            f"--sequence with numbers of {given.sequence.bits} bits",
            "they come again too soon; without --sequence packets are known by their payloads",
        )
    return SequenceIdentity(given.sequence, feed=given.feed)


def _shared_out(given: argparse.Namespace, asked: Wanted, server: Broker, name: str) -> SharedOut | None:
    """Return what joins a part of the channels, where they are to be divided."""
    if given.share is None:
        return None
    from .sharing_out import SharedOut  # which takes nats-py

    return SharedOut(
        asked.filters,
        asked.interface,
        cast("JetStream", server),  # Redis and --share was refused
        given.share,
        name=name,
        copies=1 if given.copies is None else given.copies,
        lease=_LEASE if given.lease is None else given.lease,
    )
