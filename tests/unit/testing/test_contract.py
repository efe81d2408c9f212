"""The type checker holds the network in memory to the contract of what reads; its names are typed."""

import typing

import pytest

import aiomcast.testing
from aiomcast.feeds import Replay
from aiomcast.memory.reader import MemoryReader
from aiomcast.memory.reading import MemoryReading, _Place, _Timer
from aiomcast.memory.sockets import MemorySocket
from aiomcast.reading.contract import Network, Place, Reader, Reading, Socket, Timer
from aiomcast.testing import MemoryHost, MemoryNetwork

PUBLIC = [MemoryHost, MemoryNetwork]


def network(one: MemoryNetwork, other: MemoryHost, replay: Replay) -> list[Network]:
    """All are networks."""
    return [one, other, replay]


def reading(one: MemoryReading, reader: MemoryReader, sock: MemorySocket) -> tuple[Reading, Reader, Socket]:
    """Each keeps the contract of its name."""
    return one, reader, sock


def place(one: _Place, timer: _Timer) -> tuple[Place, Timer]:
    """Each keeps the contract of its name."""
    return one, timer


def test_what_is_exported() -> None:
    assert sorted(one.__name__ for one in PUBLIC) == aiomcast.testing.__all__


@pytest.mark.parametrize("owner", PUBLIC)
def test_every_public_name_is_documented_and_its_types_can_be_asked_for(owner: type) -> None:
    typing.get_type_hints(owner.__init__)  # type: ignore[misc]  # the number of this turn
    for name, one in vars(owner).items():
        if not name.startswith("_"):
            method = one.fget if isinstance(one, property) else one
            assert method.__doc__
            assert "return" in typing.get_type_hints(method)


@pytest.mark.parametrize("made", [MemoryNetwork(), MemoryNetwork().host])
def test_an_instance_shows_documented_names_only(made: object) -> None:
    assert [name for name in vars(made) if not name.startswith("_")] == []
