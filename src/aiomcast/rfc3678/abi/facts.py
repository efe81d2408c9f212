"""`Facts`: how a platform behaves, where its headers have no number for it. Data only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import attrs

__all__ = ["Facts", "Setting"]


class Setting(NamedTuple):
    """A limit of the system: the sysctl that holds it (None: there is none), and its default.

    The default holds where the sysctl cannot be read; None means that there is no limit then.
    """

    sysctl: str | None
    default: int | None


@attrs.frozen(kw_only=True, eq=False)
class Facts:
    """What the code would otherwise have to ask the platform's name for."""

    # Sockets.
    reuse_port: bool
    """Whether sharing a port with every program takes SO_REUSEPORT besides SO_REUSEADDR."""
    reuse_port_groups: bool
    """Whether what is for one of several sockets bound with SO_REUSEPORT may come to another of them."""
    binds_to_group: bool
    """Whether a socket may be bound to a group, so that it hears no other; else to the wildcard."""
    empty_set_clears: bool
    """Whether setting an empty source list clears the one that was there."""
    excludes_block: bool
    """Whether an EXCLUDE list keeps packets of its sources from the socket; else only user space can."""
    hears_unjoined: bool
    """Whether an IPv6 socket that has had no multicast option yet hears its group without having joined."""
    rejoin_pause: float
    """Seconds from leaving a group to joining it again: a join before that is reported to nobody."""

    # Errors, by their names in errno.
    not_a_member: frozenset[str] = frozenset({"EADDRNOTAVAIL"})
    """What a call about a group that the socket is no member of is refused with."""
    interface_gone: frozenset[str] = frozenset()
    """What a call on an interface that is gone is refused with, and also others are, beside ENODEV and ENXIO,
    which mean nothing else."""
    hints: Mapping[str, str] = {}
    """What to do about an error where that is not what it is on the systems that have sysctls."""

    # The time of arrival.
    time_option: int | None
    """The option that makes a socket tell it with every datagram."""
    time_kind: int | None
    """The type of the control message that it comes in."""
    time_in_nanoseconds: bool
    """Whether that message is a struct timespec; else it is a struct timeval."""
    shared_stamps: bool
    """Whether two sockets see the same time of arrival for the same packet; else each copy is stamped."""

    hardware_time_option: int | None
    """The option that makes a socket tell the time of arrival by the interface's clock, with what has the
    same number: three structs timespec of two 64-bit integers, of which the third is that time."""

    # Limits.
    sources_ipv4: Setting
    """How many sources a socket may list for an IPv4 group."""
    sources_ipv6: Setting
    """How many sources a socket may list for an IPv6 group."""
    lists_add_up: bool
    """Whether the old list of a socket and its new one count together while one takes the other's place."""
    host_sources_ipv4: Setting
    """How many different sources all sockets of the host may list for an IPv4 group on an interface, before
    a call brings the kernel down."""
    host_sources_ipv6: Setting
    """The same for an IPv6 group."""
    groups: int | None
    """How many groups a socket may join, where it is a fixed number; a refusal can mean it."""
    groups_ipv4_sysctl: str | None
    """The sysctl that limits the IPv4 groups of a socket, where a refusal can mean it."""
    option_memory_sysctl: str | None
    """The sysctl that limits the memory of a socket's options, where a refusal can mean it."""
    doubles_buffers: bool
    """Whether a receive buffer is granted twice as large as asked for: what is kept beside each datagram
    counts, too."""
    receive_buffer_sysctl: str | None
    """The sysctl that limits what is granted as a receive buffer."""
    sysctls_by_name: bool
    """Whether a sysctl is read by sysctlbyname(3); else in /proc/sys, where that is there."""
    hides_sysctls: bool
    """Whether some sysctls are only there in the network namespace that the host starts with."""

    def sources(self, family: int) -> Setting:
        """Return how many sources a socket may list for a group of family 4 or 6."""
        return self.sources_ipv4 if family == 4 else self.sources_ipv6

    def host_sources(self, family: int) -> Setting:
        """Return how many sources of a group of family 4 or 6 a host may list on an interface."""
        return self.host_sources_ipv4 if family == 4 else self.host_sources_ipv6
