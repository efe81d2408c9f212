"""`Message`: what a packet becomes on its way, and back. Pure values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, final

import attrs

from ..values.packets import Flow, Packet

__all__ = ["Message", "Origin", "origin_of", "packet_of", "tags_of_flow", "tags_of_packet", "time_of"]

SOURCE: Final = "Mcast-Source"
SOURCE_PORT: Final = "Mcast-Source-Port"
GROUP: Final = "Mcast-Group"
PORT: Final = "Mcast-Port"
INTERFACE: Final = "Mcast-Interface"
TIME: Final = "Mcast-Time"
HOP_LIMIT: Final = "Mcast-Hop-Limit"
TRAFFIC_CLASS: Final = "Mcast-Traffic-Class"
TRUNCATED: Final = "Mcast-Truncated"
RELAY: Final = "Mcast-Relay"
RUN: Final = "Mcast-Run"
COUNTER: Final = "Mcast-Counter"
SETTLED: Final = "Mcast-Settled"

_FLOW: Final = (SOURCE, SOURCE_PORT, GROUP, PORT, INTERFACE)
_PORTS: Final = range(65536)


@final
@attrs.frozen(slots=True)
class Message:
    """One packet on its way: under which subject, with which tags, and by what it is told from others.

    Two messages with the same `identity` are the same packet, and only the first is stored.
    """

    subject: str
    tags: Mapping[str, str]
    data: bytes
    identity: str


@final
@attrs.frozen(slots=True)
class Origin:
    """By whom a message came: `relay` by name, `run` of it, the how-manieth of its `flow` it is there.

    Flows may share a subject, as those that differ in the port that they come from.

    Of the counters up to `settled`, `merged` were stored already by another relay when this was sent.
    """

    relay: str
    run: str
    flow: tuple[str, ...]
    counter: int
    settled: int
    merged: int


def tags_of_flow(flow: Flow, interface: str, relay: str, run: str) -> dict[str, str]:
    """Return the tags that all packets of a flow share."""
    return {
        SOURCE: flow.source,
        SOURCE_PORT: str(flow.source_port),
        GROUP: flow.group,
        PORT: str(flow.port),
        INTERFACE: interface,
        RELAY: relay,
        RUN: run,
    }


def tags_of_packet(packet: Packet, shared: Mapping[str, str], counter: int, settled: str) -> dict[str, str]:
    """Return all tags of a packet. What it does not have is left out."""
    tags = {**shared, COUNTER: str(counter), SETTLED: settled}
    if packet.timestamp_ns is not None:
        tags[TIME] = str(packet.timestamp_ns)
    if packet.hop_limit is not None:
        tags[HOP_LIMIT] = str(packet.hop_limit)
    if packet.traffic_class is not None:
        tags[TRAFFIC_CLASS] = str(packet.traffic_class)
    if packet.truncated:
        tags[TRUNCATED] = "1"
    return tags


def packet_of(tags: Mapping[str, str], data: bytes) -> Packet | None:
    """Return the packet that these tags are of, None where they are none of a relay's.

    Its `interface_index` is 0: an index of the relay's host means nothing elsewhere.
    """
    try:
        flow = Flow(tags[SOURCE], _port(tags[SOURCE_PORT]), tags[GROUP], _port(tags[PORT]), 0)
        return Packet(
            data,
            flow,
            _number(tags.get(TIME)),
            TRUNCATED in tags,
            _number(tags.get(HOP_LIMIT)),
            _number(tags.get(TRAFFIC_CLASS)),
        )
    except (KeyError, ValueError):
        return None


def origin_of(tags: Mapping[str, str]) -> Origin | None:
    """Return by whom a message came, None where its tags do not tell."""
    try:
        settled, _, merged = tags[SETTLED].partition("/")
        flow = tuple([tags[tag] for tag in _FLOW])
        return Origin(tags[RELAY], tags[RUN], flow, int(tags[COUNTER]), int(settled), int(merged))
    except (KeyError, ValueError):
        return None


def time_of(tags: Mapping[str, str]) -> int | None:
    """Return the kernel's stamp of the packet, None where it has none."""
    text = tags.get(TIME, "")
    return int(text) if text.isdecimal() else None


def _number(text: str | None) -> int | None:
    return None if text is None else int(text)


def _port(text: str) -> int:
    number = int(text)
    if number not in _PORTS:
        raise ValueError(text)
    return number
