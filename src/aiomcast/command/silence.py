"""What to do about a channel on which nothing comes."""

from __future__ import annotations

from aiomcast import FilterMode, SourceFilter

__all__ = ["command_for"]


def command_for(group: str, port: int, let_in: SourceFilter) -> str:
    """Return the command that finds the cause."""
    sources = sorted(let_in.sources) if let_in.mode is FilterMode.INCLUDE else []
    return " ".join(["aiomcast doctor", group, str(port), *(f"-s {one}" for one in sources)])
