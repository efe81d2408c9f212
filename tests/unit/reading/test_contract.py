"""What reads keeps its contract: the type checker holds every class to it, and so does a look at run time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from aiomcast import SourceFilter, open_socket
from aiomcast.loops.network import SystemNetwork
from aiomcast.loops.read_loop import ReadLoop
from aiomcast.reading import Reader, contract, portable, windows
from aiomcast.reading.lanes import Lanes
from aiomcast.system.sockets import MulticastSocket
from tests.support.readers import native

if TYPE_CHECKING:
    from aiomcast.reading import _native

    # Never run: each line is an error of the type checker where a class breaks the contract.
    def readers(a: portable.Reader, b: _native.Reader, c: windows.Reader) -> list[contract.Reader]:
        return [a, b, c]

    def read_set(a: portable.ReadSet) -> contract.ReadSet[portable.Reader]:
        return a

    def compiled_read_set(a: _native.ReadSet) -> contract.ReadSet[_native.Reader]:
        return a

    def reading(a: ReadLoop) -> contract.Reading:
        return a

    def network(a: SystemNetwork) -> contract.Network:
        return a

    def together(a: Lanes) -> contract.Together:
        return a

    def sock(a: MulticastSocket) -> contract.Socket:
        return a

    def timer(a: asyncio.TimerHandle) -> contract.Timer:
        return a


def members(protocol: type) -> set[str]:
    """Return the names that a protocol asks for, also those of attributes."""
    there = {name for name in vars(protocol) if not name.startswith("_")}
    return there | set(protocol.__annotations__)


async def lacking(protocol: type, make: Callable[[MulticastSocket], object]) -> set[str]:
    """Return the names of `protocol` that what is made of a socket does not have."""
    with open_socket("239.77.1.2", 5000, "lo") as sock:
        made = make(sock)
        missing = {name for name in members(protocol) if not hasattr(made, name)}
        if isinstance(made, ReadLoop):
            made.close()
        await asyncio.sleep(0)
    return missing


MADE: dict[str, tuple[type, Callable[[MulticastSocket], object]]] = {
    "Reader": (contract.Reader, lambda sock: Reader(sock, SourceFilter.any())),
    "portable.ReadSet": (contract.ReadSet, lambda sock: portable.ReadSet()),
    "ReadLoop": (contract.Reading, lambda sock: ReadLoop(asyncio.get_running_loop())),
    "SystemNetwork": (contract.Network, lambda sock: SystemNetwork()),
    "Lanes": (contract.Together, lambda sock: Lanes([])),
    "MulticastSocket": (contract.Socket, lambda sock: sock),
}
if native is not None:
    MADE["native.Reader"] = (contract.Reader, lambda sock: native.Reader(sock, SourceFilter.any()))
    MADE["native.ReadSet"] = (contract.ReadSet, lambda sock: native.ReadSet())


@pytest.mark.parametrize("name", MADE)
async def test_every_name_of_the_contract_is_there(name: str) -> None:
    assert await lacking(*MADE[name]) == set()


async def test_a_place_is_one_of_the_contract() -> None:
    loop = ReadLoop(asyncio.get_running_loop())
    with open_socket("239.77.1.2", 5000, "lo") as sock:
        reader = Reader(sock, SourceFilter.any())
        assert reader.place is None
        place = loop.reserve(reader)
        assert reader.place is place
        assert members(contract.Place) <= set(dir(place))
        place.forget()
        reader.close()
        loop.close()
