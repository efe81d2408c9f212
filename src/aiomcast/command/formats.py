"""What `aiomcast listen` writes of packets: a packet and the name of its interface in, bytes out."""

from __future__ import annotations

import binascii
import enum
import functools
import json
from collections.abc import Callable
from datetime import datetime
from typing import TypeAlias

from aiomcast import Flow, Packet

from .report import address

__all__ = ["PACKETS", "Format", "WrittenAs"]

WrittenAs: TypeAlias = Callable[[Packet, str], bytes]


class Format(enum.StrEnum):
    """What `aiomcast listen` writes to standard output."""

    LIVE = "live"
    TEXT = "text"
    JSON = "json"
    HEX = "hex"
    RAW = "raw"


def _text(packet: Packet, name: str) -> bytes:
    return f"{_head(packet, name)}: {_shown(packet.data)}\n".encode()


def _head(packet: Packet, name: str) -> str:
    stamp = packet.timestamp_ns
    when = "-" if stamp is None else f"{_second(stamp // 10**9)}.{stamp % 10**9 // 1000:06}"
    cut = " truncated" if packet.truncated else ""
    return f"{when} {_ends(packet.flow, name)} {len(packet.data)} bytes{cut}"


@functools.lru_cache(16)
def _second(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds):%H:%M:%S}"


@functools.lru_cache(1024)
def _ends(flow: Flow, name: str) -> str:
    return f"{name} {address(flow.source, flow.source_port)} > {address(flow.group, flow.port)}"


def _shown(data: bytes) -> str:
    text = data[:240].rstrip().decode(errors="replace")[:60]  # no character is over 4 bytes
    return text if text.isprintable() and "\ufffd" not in text else data[:24].hex(" ")


def _json(packet: Packet, name: str) -> bytes:
    _, flow, stamp, truncated, hop_limit, traffic_class, _ = packet
    data = packet.data
    return (
        f'{_json_tags(flow, name)}, "timestamp_ns": {_number(stamp)}, "truncated": {str(truncated).lower()}, '
        f'"hop_limit": {_number(hop_limit)}, "traffic_class": {_number(traffic_class)}, '
        f'"size": {len(data)}, "data": "{binascii.b2a_base64(data, newline=False).decode()}"}}\n'
    ).encode()


def _number(number: int | None) -> str:
    return "null" if number is None else str(number)


@functools.lru_cache(1024)
def _json_tags(flow: Flow, name: str) -> str:
    tags = {"source": flow.source, "source_port": flow.source_port, "group": flow.group, "port": flow.port}
    return json.dumps(tags | {"interface_index": flow.interface_index, "interface": name})[:-1]


_ROW = 16  # bytes
_PLACES = [
    (f"{start:08x}  ", start, start + _ROW, 3 * start, 3 * start + 47) for start in range(0, 1 << 16, _ROW)
]
_PRINTABLE = bytes(byte if 32 <= byte < 127 else ord(".") for byte in range(256))


def _hex(packet: Packet, name: str) -> bytes:
    data = packet.data
    missing = -len(data) % _ROW
    octets = data.hex(" ") + "   " * missing  # of all rows at once
    text = data.translate(_PRINTABLE).decode()
    rows = [
        f"{place}{octets[first:last]}  |{text[start:end]}|\n"
        for place, start, end, first, last in _PLACES[: (len(data) + missing) // _ROW]
    ]
    return f"{_head(packet, name)}\n{''.join(rows)}".encode()


def _raw(packet: Packet, name: str) -> bytes:
    return packet.data


PACKETS: dict[Format, WrittenAs] = {
    Format.TEXT: _text,
    Format.JSON: _json,
    Format.HEX: _hex,
    Format.RAW: _raw,
}
