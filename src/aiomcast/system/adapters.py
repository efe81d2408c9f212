"""Adapters and their addresses where netlink does not tell them: the package ifaddr asks the system.

It is not there on Linux, where it could tell nothing more: the C library's list is netlink's.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ifaddr import Adapter

__all__ = ["index_of", "list_adapters"]


def list_adapters() -> list[Adapter]:
    """Return all, each with its addresses.

    OSError when the system refuses them, EOPNOTSUPP where there is no ifaddr, EILSEQ for a name that is
    no UTF-8.
    """
    try:
        import ifaddr
    except ModuleNotFoundError:
        raise OSError(errno.EOPNOTSUPP, "there is neither netlink nor the package ifaddr") from None
    try:
        return list(ifaddr.get_adapters())
    except UnicodeDecodeError as error:
        raise OSError(errno.EILSEQ, "the name of one is no UTF-8") from error


def index_of(adapter: Adapter) -> int | None:
    """Return its index, that of IPv6 where it has none for IPv4, as on Windows where IPv4 is off.

    That one is the scope of its link-local address, which every interface with IPv6 has.
    """
    scopes = (one.ip[2] for one in adapter.ips if isinstance(one.ip, tuple))
    return adapter.index or next((one for one in scopes if one), None)
