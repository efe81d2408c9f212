"""How many sources a socket of a membership may hold: known, asked anew, and warned of once."""

from __future__ import annotations

import warnings
from typing import final

from ..reading.contract import Network
from ..rfc3678.abi import native
from ..rfc3678.limits import source_sysctl
from ..values.filters import SourceFilter

__all__ = ["SourceLimit"]

ABI = native()


@final
class SourceLimit:
    """The limit of sources per socket for `group`: `value`, None for any number."""

    __slots__ = ("_group", "_is_warned", "_network", "value")

    def __init__(self, network: Network, group: str) -> None:
        self._network = network
        self._group = group
        self._is_warned = False
        self.value: int | None = network.source_limit(group)

    def ask(self) -> bool:
        """Ask for it; say whether it is another than known."""
        known, self.value = self.value, self._network.source_limit(self._group)
        return self.value != known

    def ask_for(self, wanted: SourceFilter) -> int | None:
        """Return it, asked anew where `wanted` is beyond it; warn of an EXCLUDE list that is."""
        if not self._is_exceeded(wanted):
            return self.value
        self.ask()
        if self._is_exceeded(wanted) and not wanted.is_include and not self._is_warned:
            self._is_warned = True
            warnings.warn(
                f"{len(wanted.sources)} sources are blocked for {self._group}, but the kernel takes "
                f"{self.value}: the others are refused in user space" + self._remedy(),
                RuntimeWarning,
                stacklevel=2,
            )
        return self.value

    def _remedy(self) -> str:
        sysctl = source_sysctl(self._group) if ABI.facts.excludes_block else None
        return f"; raise {sysctl} to have the kernel refuse them" if sysctl is not None else ""

    def _is_exceeded(self, wanted: SourceFilter) -> bool:
        return self.value is not None and len(wanted.sources) > self.value
