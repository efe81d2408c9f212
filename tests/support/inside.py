"""What tests look at that no user does: the sockets behind a membership, and whether a change is over."""

from __future__ import annotations

from aiomcast import Membership, MulticastSocket, PacketStream, Receiver
from aiomcast.reading.contract import Reader, Reading
from aiomcast.receiving.shards import Shards

__all__ = ["are_settled", "is_settled", "readers_of", "reading_of", "shards_of", "sockets_of", "streams_of"]


def shards_of(membership: Membership) -> Shards:
    """Return what holds its filter on the one interface that it is on."""
    (shards,) = membership._presence.shards
    return shards


def readers_of(membership: Membership) -> tuple[Reader, ...]:
    """Return the readers of the sockets in force, on all its interfaces."""
    return tuple(reader for shards in membership._presence.shards for reader in shards.readers)


def is_settled(membership: Membership) -> bool:
    """Whether no sockets of an earlier filter are left."""
    return all(
        shards.all_readers == shards.readers and shards._replacing.is_over
        for shards in membership._presence.shards
    )


def reading_of(receiver: Receiver) -> Reading:
    """Return what reads its sockets; it has joined something."""
    assert receiver._reading is not None
    return receiver._reading


def are_settled(*memberships: Membership) -> bool:
    """Whether no sockets of an earlier filter are left, of any of them."""
    return all(map(is_settled, memberships))


def sockets_of(membership: Membership) -> list[MulticastSocket]:
    """Return the system's sockets in force."""
    found = [reader.sock for reader in readers_of(membership)]
    sockets = [one for one in found if isinstance(one, MulticastSocket)]
    assert len(sockets) == len(found)
    return sockets


def streams_of(receiver: Receiver) -> tuple[PacketStream, ...]:
    """Return its open streams of everything, without those of its memberships."""
    return receiver._dispatcher.listening.open()
