"""Subjects: under which name each packet is published, from a template. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, final

import attrs

from ..errors import ArgumentError, ArgumentTypeError
from ..values.addresses import Address, check_port, group_address, unicast
from ..values.packets import Flow
from ..values.sealed import sealed
from ..values.shown import shown

__all__ = ["DEFAULT_SUBJECT", "Subject"]

DEFAULT_SUBJECT: Final = "mcast.{group}.{port}.{source}"
_FIELDS: Final = ("group", "port", "source", "source_port")
_HINT: Final = f"write words with dots between them, as in {DEFAULT_SUBJECT}; a field is a word of its own"


@final
@sealed
@attrs.frozen(slots=True)
class Subject:
    """A template of subjects: words with dots between them, of which some are fields.

    The fields are `{group}`, `{port}`, `{source}` and `{source_port}`. Each is one word: the dots of an
    IPv4 address are written as "-", as 239-1-1-1, so that `mcast.239-1-1-1.>` is all of a group.
    ArgumentError for what cannot be a subject.
    """

    template: str

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.template, str):
            raise ArgumentTypeError(f"subject {shown(self.template)}", _HINT)
        words = self.template.split(".")
        if not all(_is_word(word) for word in words) or not any("{" in word for word in words):
            raise ArgumentError(f"subject {shown(self.template)}", _HINT)

    def of(self, flow: Flow) -> str:
        """Return the subject of packets of `flow`."""
        return self._filled(
            {
                "group": _word(flow.group),
                "port": str(flow.port),
                "source": _word(flow.source),
                "source_port": str(flow.source_port),
            }
        )

    def matching(
        self, group: Address | None = None, port: int | None = None, source: Address | None = None
    ) -> str:
        """Return the pattern that matches the subjects of these, `*` for what is not said.

        AddressError, ArgumentError for what cannot be an address or a port.
        """
        named = dict.fromkeys(_FIELDS, "*")
        if group is not None:
            named["group"] = _word(group_address(group))
        if port is not None:
            named["port"] = str(check_port(port))
        if source is not None:
            named["source"] = _word(unicast(source))
        return self._filled(named)

    def _filled(self, words: Mapping[str, str]) -> str:
        return self.template.format_map(words)


def _is_word(word: str) -> bool:
    if word.startswith("{") and word.endswith("}"):
        return word[1:-1] in _FIELDS
    return bool(word) and not set(word) & set(" \t\r\n*>{}$") and word.isprintable()


def _word(address: str) -> str:
    return address.replace(".", "-")
