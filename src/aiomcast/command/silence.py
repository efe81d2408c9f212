"""What to say of a channel on which nothing comes."""

from __future__ import annotations

from aiomcast import FilterMode, Membership

__all__ = ["advice"]


def advice(membership: Membership) -> str:
    """Return what finds the cause."""
    let_in = membership.filter
    sources = sorted(let_in.sources) if let_in.mode is FilterMode.INCLUDE else []
    listed = "".join(f" --source {one}" for one in sources)
    interface = membership.interface.name
    return f"aiomcast doctor {membership.group} {membership.port}{listed} --interface {interface} finds why"
