"""Whether a stream of JetStream is one that relays can use. Pure."""

from __future__ import annotations

from typing import Final

from nats.js.api import StreamConfig

from .broker import Demand
from .errors import RelayError

__all__ = ["HEADERS", "check_fit", "widest"]

HEADERS: Final = 1024
"""Bytes that the tags of a packet take, at the most."""


def check_fit(config: StreamConfig, demand: Demand, server: str) -> None:
    """Raise a RelayError where a stream so configured is not what is demanded; the hint mends it."""
    stream = f"stream {config.name} of {server}"
    if config.retention not in (None, "limits"):
        raise RelayError(
            f"{stream} has retention {config.retention}: what one consumer has read the others miss",
            "make one with --retention limits",
        )
    if config.no_ack:
        raise RelayError(f"{stream} acknowledges nothing", "make one with acknowledgements (--ack)")
    if config.sealed:
        raise RelayError(f"{stream} is sealed: it takes no more", "make another")
    if config.duplicate_window < demand.window:
        raise RelayError(
            f"{stream} knows duplicates for {config.duplicate_window:g} s, less than {demand.window:g}",
            f"nats stream edit {config.name} --dupe-window {demand.window:g}s",
        )
    most = config.max_msg_size
    if most is not None and 0 <= most < demand.largest + HEADERS:
        raise RelayError(
            f"{stream} takes messages of {most} bytes at the most, tags included",
            f"nats stream edit {config.name} --max-msg-size {demand.largest + HEADERS}, "
            "or relay shorter packets only",
        )
    if not any(_covers(subject, demand.pattern) for subject in config.subjects or ()):
        raise RelayError(
            f"{stream} does not take {demand.pattern}, only {', '.join(config.subjects or ())}",
            f"nats stream edit {config.name} --subjects '{widest(demand.pattern)}'",
        )


def widest(pattern: str) -> str:
    """Return what to give a stream, so that it has the whole of a template."""
    words = pattern.split(".")
    first = words.index("*") if "*" in words else len(words)
    return ".".join([*words[:first], ">"]) if first else ">"


def _covers(subject: str, pattern: str) -> bool:
    """Whether everything that `pattern` matches is matched by `subject`."""
    wide, narrow = subject.split("."), pattern.split(".")
    for index, word in enumerate(wide):
        if word == ">":
            return len(narrow) > index
        if index >= len(narrow) or (word != "*" and word != narrow[index]):
            return False
    return len(wide) == len(narrow)
