"""What is joined where relays divide channels: those that are this one's now."""

from __future__ import annotations

from collections.abc import Mapping

from aiomcast import Membership, Receiver, Sources
from aiomcast.relay import JetStream, JetStreamLeases, SharedChannel, Sharing

__all__ = ["SharedOut"]


class SharedOut:
    """Joins its part of the channels, as `Sharing` has it. ArgumentError for what cannot be.

    `filters` and `interface` are those of all channels; `name` tells this relay from the others.
    """

    def __init__(
        self,
        filters: Mapping[tuple[str, int], Sources],
        interface: str | int | None,
        server: JetStream,
        bucket: str,
        *,
        name: str,
        copies: int,
        lease: float,
    ) -> None:
        self._channels = {
            (group, port): SharedChannel.of(group, port, sources=sources, interface=interface)
            for (group, port), sources in filters.items()
        }
        self._name = name
        self._leases = JetStreamLeases(server, bucket, lease=lease)
        self._sharing = Sharing(self._leases, self._channels.values(), name=name, copies=copies, lease=lease)
        self._receiver: Receiver

    async def begin(self, receiver: Receiver) -> None:
        """See that one channel can be joined, and that the leases can be had: later both are tried again."""
        self._receiver = receiver
        first = next(iter(self._channels.values()))
        tried = await receiver.join(first.group, first.port, sources=first.filter, interface=first.interface)
        await tried.leave()
        await self._leases.renew(self._name, b"")

    def now(self) -> Mapping[tuple[str, int], Membership]:
        """Return those that are its own."""
        joined = {(one.group, one.port): one for one in self._receiver.memberships}
        return {
            place: joined[channel.group, channel.port]
            for place, channel in self._channels.items()
            if (channel.group, channel.port) in joined
        }

    async def attend(self) -> None:
        """Take and give up channels as relays come and go."""
        await self._sharing.run(self._receiver)
