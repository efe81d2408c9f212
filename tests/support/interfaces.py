"""Interfaces of this host that a test can send on."""

from __future__ import annotations

import contextlib

import pytest

import aiomcast

from .sending import sending

__all__ = ["ipv6_way"]


def ipv6_way() -> tuple[aiomcast.Interface, str]:
    """Return an interface and an address of it that IPv6 multicast can be sent from, or skip.

    An interface-local group (ff31::) is looped back there and never sent. lo itself mostly has
    no route for multicast.
    """
    for interface in aiomcast.list_interfaces():
        for source in interface.addresses:
            if ":" in source and not source.startswith("fe80"):
                with contextlib.suppress(OSError), sending(source, "ff31::1", 9, interface.index) as sock:
                    sock.send(b"")
                    return interface, source
    pytest.skip("no interface here takes IPv6 multicast")
