"""What `aiomcast gaps` writes: lines of each interval, of what is found, and of the end, as text or JSON."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from datetime import datetime

import attrs

from aiomcast.feeds import Gap

from .formats import Format
from .output import Output
from .tally import Feed, Found, LineTally, named
from .units import bits, count, duration

__all__ = ["FeedLines"]

_WORDS = {
    "received": "received",
    "won": "won",
    "copies": "copies",
    "lost": "lost",
    "lost_here": "lost here but not there",
    "lost_everywhere": "lost on all",
    "late": "late",
    "duplicates": "duplicates",
    "reordered": "reordered",
    "restarts": "restarts",
    "astray": "astray",
    "unreadable": "without a number",
    "dropped": "dropped by this host",
}
_ALWAYS = ("received", "won", "lost", "lost_here", "lost_everywhere")


class FeedLines:
    """Writes to standard output: a line for each line of the feed and interval, and for what is found."""

    is_live: bool = False

    def __init__(self, output: Output, form: Format, interval: float) -> None:
        self._output = output
        self._is_json = form is Format.JSON
        self.interval: float = interval

    async def found(self, stamp_ns: int, found: Found) -> None:
        """Write a gap or a restart as it is found."""
        if self._is_json:
            tags: dict[str, object] = {"kind": "gap" if isinstance(found, Gap) else "restart"}
            tags |= {"time_ns": stamp_ns} | attrs.asdict(found, recurse=False)
            flow = found.flow
            tags |= {"flow": {"source": flow.source, "group": flow.group, "port": flow.port}}
            await self._write([json.dumps(tags)])
        else:
            await self._write([f"{_clock(stamp_ns)} {named(found)}"])

    async def show(self, feed: Feed) -> None:
        """Write what the interval had."""
        if self._is_json:
            await self._write([json.dumps(_tags("line", feed, one, one.new)) for one in feed.lines])
            return
        when = _clock(feed.now_ns)
        await self._write([f"{when} {one.name}: {', '.join(_interval(feed, one))}" for one in feed.lines])

    async def end(self, feed: Feed) -> None:
        """Write who lost what."""
        if self._is_json:
            lines = [json.dumps(_tags("total", feed, one, one.total)) for one in feed.lines]
            whole = {
                "kind": "feed",
                "time_ns": feed.now_ns,
                "seconds": round(feed.passed, 6),
                **{name: getattr(feed, name) for name in ("delivered", "lost", "late", "gaps", "restarts")},
            }
            await self._write([*lines, json.dumps(whole)])
            return
        await self._write([*map(_in_words, feed.lines), f"feed: {feed.verdict}"])

    async def attend(self) -> None:
        """Nothing, for ever."""
        await asyncio.Event().wait()

    def close(self) -> None:
        """Nothing."""

    async def _write(self, lines: list[str]) -> None:
        await self._output.write([f"{line}\n".encode() for line in lines])


def _clock(stamp_ns: int) -> str:
    return f"{datetime.fromtimestamp(stamp_ns / 1e9):%H:%M:%S.%f}"[:-3]


def _interval(feed: Feed, line: LineTally) -> Iterator[str]:
    new = line.account.new
    yield f"{count(feed.rate(new.packets))} pkt/s"
    yield f"{bits(feed.rate(8 * new.octets))}bit/s"
    yield from _numbers(line.new, [name for name in _ALWAYS if name != "received"])
    yield from _times(line)


def _in_words(line: LineTally) -> str:
    return f"{line.name}: {', '.join([*_numbers(line.total, _ALWAYS), *_times(line)])}"


def _numbers(numbers: Mapping[str, int], always: list[str] | tuple[str, ...]) -> Iterator[str]:
    for name, words in _WORDS.items():
        number = numbers.get(name, 0)
        if name in numbers and (name in always or (number and name not in ("received", "copies"))):
            yield f"{number} {words}"


def _times(line: LineTally) -> Iterator[str]:
    if line.behind is not None:
        yield f"{duration(line.behind * 1e9)} behind"
    yield f"jitter {duration(line.account.jitter_ns)}"
    if line.state:
        yield line.state


def _tags(kind: str, feed: Feed, line: LineTally, numbers: Mapping[str, int]) -> dict[str, object]:
    account = line.account
    jitter = account.jitter_ns
    traffic = account.new if kind == "line" else account.total
    return {
        "kind": kind,
        "time_ns": feed.now_ns,
        "seconds": round(feed.interval if kind == "line" else feed.passed, 6),
        "line": line.name,
        **numbers,
        "octets": traffic.octets,
        "jitter_ns": None if jitter is None else round(jitter),
        **(
            {"behind_ns": None if line.behind is None else round(line.behind * 1e9)} if feed.is_merged else {}
        ),
        "state": line.state,
    }
