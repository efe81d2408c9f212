"""The channels that `aiomcast listen` is given, as arguments or in a file: text in, values out."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import attrs

from aiomcast import ArgumentError

__all__ = ["Asked", "in_file", "in_words"]

_HINT = "write GROUP PORT, GROUP:PORT, [IPv6]:PORT, SOURCE@GROUP:PORT or GROUP+N:PORT"
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
_PLACE = re.compile(
    r"(?: \[(?P<bracketed>[^\]]*)\] | (?P<v4>[^:\[\]+]*) | (?P<v6>[^\[\]+]*) )"
    r"(?: \+(?P<groups>\d{1,5}) )? (?: :(?P<port>\d+) )?",
    re.VERBOSE,
)


@attrs.frozen
class Asked:
    """A group and port, and the sources that were written before it: none where there were none."""

    group: str
    port: int
    sources: tuple[str, ...] = ()


def in_words(words: Iterable[str]) -> Iterator[Asked]:
    """Yield the channels that are written so: each a word, or a group and then its port.

    ArgumentError for what is none. Whether a group is one is for the join to say.
    """
    rest = iter(words)
    for word in rest:
        sources, found = _taken_apart(word)
        port = found["port"]
        if port is None:
            port = next(rest, "")
            if not port.isdecimal():
                what = f"{port!r} is no PORT" if port else "the PORT is missing"
                raise ArgumentError(f"channel {word!r}: {what}", _HINT)
        group = found["bracketed"] or found["v4"] or found["v6"] or ""
        for one in _consecutive(group, int(found["groups"] or 1)):
            yield Asked(one, int(port), sources)


def in_file(path: str) -> Iterator[Asked]:
    """Yield the channels of a file: a line each, as words; what follows a # is a comment.

    ArgumentError for a line that is none, which names it, and for a file that cannot be read.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ArgumentError(f"channels {path}", error.strerror or str(error)) from error
    except UnicodeDecodeError as error:
        raise ArgumentError(f"channels {path}", "it is no text") from error
    for number, line in enumerate(lines, 1):
        try:
            yield from in_words(line.partition("#")[0].split())
        except ArgumentError as error:
            raise ArgumentError(f"{path}, line {number}: {error.detail}", error.hint) from None


def _taken_apart(word: str) -> tuple[tuple[str, ...], re.Match[str]]:
    scheme = _SCHEME.match(word)
    if scheme and scheme[1].lower() != "udp":
        raise ArgumentError(f"channel {word!r}: scheme {scheme[1]}", "there is udp:// alone")
    written, at, place = word[scheme.end() if scheme else 0 :].rpartition("@")
    if at and not written and not scheme:  # udp://@GROUP:PORT is how players write it
        raise ArgumentError(f"channel {word!r}: no source before the @", _HINT)
    found = _PLACE.fullmatch(place)
    if found is None:
        raise ArgumentError(f"channel {word!r}", _HINT)
    sources = tuple(one.removeprefix("[").removesuffix("]") for one in written.split(",")) if written else ()
    return sources, found


def _consecutive(group: str, count: int) -> Iterator[str]:
    yield group
    if count > 1:
        bare, percent, zone = group.partition("%")
        try:
            first = ipaddress.ip_address(bare)
            for number in range(1, count):
                yield f"{first + number}{percent}{zone}"
        except ValueError as error:
            raise ArgumentError(f"channel {group}+{count}", str(error)) from None
