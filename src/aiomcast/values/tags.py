"""`Tags`: which packets a stream is for. A pure value."""

from __future__ import annotations

from typing import TypedDict, final

import attrs

from ..errors import ArgumentTypeError
from .addresses import Address, group_address, source_address
from .packets import Channel, Flow
from .sealed import sealed
from .shown import shown

__all__ = ["TagKeywords", "Tags"]


class TagKeywords(TypedDict, total=False):
    """The keywords of `Tags`, which `packets()` and `batches()` take."""

    source: Address | None
    group: Address | None
    channel: Channel | None


def _source(given: Address | None) -> str | None:
    return None if given is None else source_address(given)


def _group(given: Address | None) -> str | None:
    return None if given is None else group_address(given)


def _channel(given: Channel | None) -> Channel | None:
    if given is not None and not isinstance(given, Channel):
        raise ArgumentTypeError(f"channel {shown(given)}", "give an aiomcast.Channel(source, group)")
    return given


@final
@sealed
@attrs.frozen(slots=True, kw_only=True)
class Tags:
    """What the packets of a stream have in common; None is any.

    `source` and `group` are addresses in any accepted form, kept as canonical text; `channel` is
    a source and a group at once. AddressError for what is no such address, ArgumentTypeError for
    a `channel` that is none.
    """

    source: str | None = attrs.field(default=None, converter=_source)
    group: str | None = attrs.field(default=None, converter=_group)
    channel: Channel | None = attrs.field(default=None, converter=_channel)

    @property
    def are_any(self) -> bool:
        """Whether every packet has them."""
        return self.source is None and self.group is None and self.channel is None

    def match(self, flow: Flow) -> bool:
        """Whether the packets of `flow` have them."""
        return (
            self.source in (None, flow.source)
            and self.group in (None, flow.group)
            and self.channel in (None, flow.channel)
        )
