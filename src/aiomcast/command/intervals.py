"""A line for each channel, of an interval as text or JSON, or of all that came: a report in, lines out."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import TypeAlias

import attrs

from .formats import Format
from .report import Account, ChannelReport, Report
from .units import age, bits, count, duration

__all__ = ["INTERVALS", "Lines", "totals"]

Lines: TypeAlias = Callable[[Report], list[bytes]]


def _text(report: Report) -> list[bytes]:
    when = f"{datetime.fromtimestamp(report.now_ns / 1e9):%H:%M:%S}"
    return [
        f"{when} {channel.interface} {_of_channel(report, channel)}\n".encode() for channel in report.channels
    ]


def _of_channel(report: Report, channel: ChannelReport) -> str:
    account, dropped = channel.account, channel.newly_dropped
    new = account.new
    parts = [
        channel.name,
        f"{count(report.rate(new.packets))} pkt/s",
        f"{bits(report.rate(8 * new.octets))}bit/s",
        *([f"{new.sequence.lost} lost"] if report.has_sequence else []),
        f"{dropped.kernel_drops + dropped.queue_drops} dropped",
        f"jitter {duration(account.jitter_ns)}",
        f"last {age(report.age(account))}",
    ]
    return " ".join(parts)


def _json(report: Report) -> list[bytes]:
    return [f"{json.dumps(_tags(report, channel))}\n".encode() for channel in report.channels]


def _tags(report: Report, channel: ChannelReport) -> dict[str, object]:
    dropped = channel.newly_dropped
    return {
        "time_ns": report.now_ns,
        "seconds": round(report.interval, 6),
        "group": channel.group,
        "port": channel.port,
        "interface": channel.interface,
        **_counted(report, channel.account),
        "kernel_drops": dropped.kernel_drops,
        "queue_drops": dropped.queue_drops,
        "filtered": dropped.filtered,
        "truncated": dropped.truncated,
        "sources": [{"source": one.source, **_counted(report, one.account)} for one in channel.sources],
    }


def _counted(report: Report, account: Account) -> dict[str, object]:
    new = account.new
    sequence = {"sequence": attrs.asdict(new.sequence)} if report.has_sequence else {}
    return {
        "packets": new.packets,
        "octets": new.octets,
        "jitter_ns": None if account.jitter_ns is None else round(account.jitter_ns),
        "latest_ns": account.latest_ns,
        **sequence,
    }


INTERVALS: dict[Format, Lines] = {Format.TEXT: _text, Format.JSON: _json}


def totals(report: Report) -> list[str]:
    """Return a line for each source of each channel, of all that came since the start."""
    return [
        f"{channel.interface} {channel.name} {source.source} {_of_source(report, source.account)}"
        for channel in report.channels
        for source in channel.sources
    ]


def _of_source(report: Report, account: Account) -> str:
    total = account.total
    parts = [f"{total.packets} packets, {total.octets} bytes"]
    if report.has_sequence:
        parts += [
            f"{number} {name}" for name, number in attrs.asdict(total.sequence).items() if name != "received"
        ]
    parts += [f"jitter {duration(account.jitter_ns)}", f"last {age(report.age(account))}"]
    return ", ".join(parts)
