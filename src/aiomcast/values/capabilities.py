"""`Capabilities`: what the running system has, of what a receiver makes use of."""

from __future__ import annotations

import attrs

__all__ = ["Capabilities"]


@attrs.frozen(kw_only=True)
class Capabilities:
    """What the running system has, of what a receiver uses. What is False weakens what its line says.

    It is found by asking sockets that are closed again, not by a version: containers and sandboxes leave
    out options that their kernel has. `Receiver.capabilities` is one.
    """

    timestamps: bool
    """Packets have the kernel's time of arrival. Without, `timestamp_ns` is None, packets of a membership
    over several sockets come socket by socket (guarantee 9), and what arrived before a swap with
    `pending="deliver"` passes if the old filter or the new one lets it in."""
    lossless_switch: bool
    """A change between INCLUDE and EXCLUDE, and of a source from socket to socket, loses nothing (guarantee
    3). Without, a packet that arrives in that moment can be lost."""
    kernel_drops: bool
    """Drops of a socket's buffer are counted. Without, `kernel_drops` stays 0 (guarantee 5)."""
    coalescing: bool
    """The kernel hands on several datagrams of a flow at once, which costs less. No guarantee needs it."""
    kept_out_by_kernel: bool
    """The kernel keeps from a socket what other sockets have joined. Without, receivers and endpoints do,
    and count it in `filtered`. A `MulticastProtocol` on an event loop's own transport cannot: it may be
    handed packets of its group that came in on another interface."""
