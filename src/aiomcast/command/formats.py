"""What `aiomcast listen` writes: packets and the name of their interface in, bytes out."""

from __future__ import annotations

import base64
import enum
import functools
import json
from datetime import datetime

import aiomcast

__all__ = ["FORMATS", "Format"]


class Format(enum.StrEnum):
    """How `aiomcast listen` writes packets to standard output."""

    TEXT = "text"
    JSON = "json"
    HEX = "hex"
    RAW = "raw"


def _head(packet: aiomcast.Packet, name: str) -> str:
    stamp = packet.timestamp_ns
    when = "-" if stamp is None else f"{datetime.fromtimestamp(stamp / 1e9):%H:%M:%S.%f}"
    cut = " truncated" if packet.truncated else ""
    return f"{when} {name} {_ends(packet.flow)} {len(packet.data)} bytes{cut}"


@functools.lru_cache(1024)
def _ends(flow: aiomcast.Flow) -> str:
    pairs = (flow.source, flow.source_port), (flow.group, flow.port)
    return " > ".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in pairs)


def _text(packets: list[aiomcast.Packet], name: str) -> bytes:
    return "".join(f"{_head(packet, name)}: {_shown(packet.data)}\n" for packet in packets).encode()


def _shown(data: bytes) -> str:
    text = data[:240].rstrip().decode(errors="replace")[:60]  # no character is over 4 bytes
    return text if text.isprintable() and "\ufffd" not in text else data[:24].hex(" ")


@functools.lru_cache(1024)
def _json_tags(flow: aiomcast.Flow, name: str) -> str:
    tags = {"source": flow.source, "source_port": flow.source_port, "group": flow.group, "port": flow.port}
    return json.dumps(tags | {"interface_index": flow.interface_index, "interface": name})[:-1]


def _json(packets: list[aiomcast.Packet], name: str) -> bytes:
    lines = []
    for packet in packets:
        tags = {
            "timestamp_ns": packet.timestamp_ns,
            "truncated": packet.truncated,
            "hop_limit": packet.hop_limit,
            "traffic_class": packet.traffic_class,
            "size": len(packet.data),
            "data": base64.b64encode(packet.data).decode(),
        }
        lines.append(f"{_json_tags(packet.flow, name)}, {json.dumps(tags)[1:]}\n")
    return "".join(lines).encode()


_ASCII = bytes(byte if 32 <= byte < 127 else ord(".") for byte in range(256))


def _hex(packets: list[aiomcast.Packet], name: str) -> bytes:
    lines = []
    for packet in packets:
        lines.append(f"{_head(packet, name)}\n")
        for start in range(0, len(packet.data), 16):
            row = packet.data[start : start + 16]
            lines.append(f"{start:08x}  {row.hex(' '):<47}  |{row.translate(_ASCII).decode()}|\n")
    return "".join(lines).encode()


def _raw(packets: list[aiomcast.Packet], name: str) -> bytes:
    return b"".join(packet.data for packet in packets)


FORMATS = {Format.TEXT: _text, Format.JSON: _json, Format.HEX: _hex, Format.RAW: _raw}
