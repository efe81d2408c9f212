"""Whatever a socket, a sender or a call of RFC 3678 is given: it is done, or an error of the package."""

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import aiomcast
from aiomcast import ArgumentError, ArgumentTypeError, MulticastError, Sender, SourceFilter, open_socket
from aiomcast.rfc3678 import calls
from aiomcast.system.interfaces import find_interface, placed

from ..support.accounts import open_descriptors
from ..support.junk import JUNK
from ..support.sending import LO, A

every_junk = pytest.mark.parametrize("junk", JUNK.values(), ids=JUNK)
GROUP = "239.77.1.1"


@pytest.fixture
def sock() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        yield one


def given(call: Callable[[], object], junk: object, *types: type) -> None:
    """Make a call with junk in it: it succeeds, or raises as the package does, and nothing stays open."""
    before = open_descriptors()
    try:
        done = call()
    except MulticastError as error:
        if isinstance(error, ArgumentError):
            right = isinstance(junk, types) and (not isinstance(junk, bool) or bool in types)
            assert isinstance(error, TypeError) is not right, repr(error)
            assert error.hint
        assert len(str(error)) < 1000
    else:
        if isinstance(done, socket.socket):
            done.close()
    assert open_descriptors() == before


@every_junk
def test_open_socket(junk: Any) -> None:
    given(lambda: open_socket(junk, 5000, "lo"), junk, str)
    given(lambda: open_socket(GROUP, junk, "lo"), junk, int)
    given(lambda: open_socket(GROUP, 5000, junk), junk, str, int, type(None))


@every_junk
def test_find_interface_and_placed(junk: Any) -> None:
    given(lambda: find_interface(junk), junk, str, int, type(None))
    given(lambda: find_interface(None, junk), junk, str, type(None))
    given(lambda: placed(junk, [A], "lo"), junk, str)
    given(lambda: placed(GROUP, [junk], None), junk, str)
    if not isinstance(junk, (list, dict)):  # which are right: it depends on what is in them
        given(lambda: placed(GROUP, [A], junk), junk, str, int, type(None))
    if not isinstance(junk, str):
        given(lambda: placed(GROUP, junk, "lo"), junk)


@every_junk
async def test_sender(junk: Any) -> None:
    for options, types in (
        ({"group": junk}, (str,)), ({"port": junk}, (int,)), ({"interface": junk}, (str, int, type(None))),
        ({"ttl": junk}, (int,)), ({"loop": junk}, (bool,)), ({"source": junk}, (str, type(None))),
    ):  # fmt: skip

        def make(options: dict[str, Any] = options) -> socket.socket:
            return Sender(**{"group": GROUP, "port": 5000, "interface": "lo", **options})._socket

        given(make, junk, *types)


@every_junk
async def test_what_is_sent(junk: Any) -> None:
    async with Sender(GROUP, 5000, interface="lo") as sender:
        if isinstance(junk, (bytes, bytearray)):
            await sender.send(junk)
            return
        with pytest.raises(ArgumentTypeError, match="is no datagram") as caught:
            await sender.send(junk)
        assert caught.value.hint


async def test_buffers_that_can_be_sent_and_those_that_cannot() -> None:
    async with Sender(GROUP, 5000, interface="lo") as sender:
        for data in (b"", bytearray(b"x"), memoryview(b"xyz")[1:]):
            await sender.send(data)
        released = memoryview(b"x")
        released.release()
        for wrong in (memoryview(b"xyz")[::2], released):
            with pytest.raises(ArgumentTypeError):
                await sender.send(wrong)


@every_junk
def test_set_filter(junk: Any) -> None:
    with open_socket(GROUP, 5000, "lo") as opened:
        given(lambda: opened.set_filter(junk), junk, type(None))
        given(lambda: opened.set_filter([junk]), junk, str)
        assert opened.filter == (SourceFilter.any() if junk is None else SourceFilter.none())


@every_junk
@pytest.mark.parametrize("name", calls.__all__)
def test_the_calls_of_rfc_3678(name: str, junk: Any, sock: socket.socket) -> None:
    function = getattr(calls, name)
    by_address = "ipv4" in name or name.endswith("membership")
    interface: Any = "127.0.0.1" if by_address else LO
    arguments: list[Any] = [sock, interface, GROUP]
    right: list[tuple[type, ...]] = [(), (str,) if by_address else (int,), (str,)]
    if name.startswith("set"):
        arguments.append(SourceFilter.include([A]))
        right.append(())
    elif "source" in name and "filter" not in name:
        arguments.append(A)
        right.append((str,))
    for place, types in enumerate(right):
        given(lambda: function(*arguments[:place], junk, *arguments[place + 1 :]), junk, *types)  # noqa: B023


SSM = [aiomcast.SourceFilter.any(), SourceFilter.exclude([A]), None]


@pytest.mark.parametrize("wanted", SSM, ids=["any", "exclude", "None"])
def test_a_socket_of_a_source_specific_group_names_its_sources(wanted: aiomcast.Sources, group: str) -> None:
    with open_socket(group, 5000, "lo") as opened:
        for held in ([], [A]):
            opened.set_filter(held)
            with pytest.raises(aiomcast.AddressError, match="source-specific") as caught:
                opened.set_filter(wanted)
            assert caught.value.hint
            assert opened.filter == opened.kernel_filter() == SourceFilter.include(held)
    with open_socket("ff3e::8000:1", 5000, "lo") as opened, pytest.raises(aiomcast.AddressError):
        opened.set_filter(SourceFilter.exclude(["2001:db8::1"]) if wanted else wanted)


def test_a_socket_takes_every_form_of_sources(any_group: str) -> None:
    with open_socket(any_group, 5000, "lo") as opened:
        for sources, held in (
            ([A], SourceFilter.include([A])), ({A}, SourceFilter.include([A])), (None, SourceFilter.any()),
            (iter([A]), SourceFilter.include([A])), ((), SourceFilter.none()),
            (SourceFilter.exclude([A]), SourceFilter.exclude([A])),
        ):  # fmt: skip
            opened.set_filter(sources)
            assert opened.filter == opened.kernel_filter() == held
        for wrong in (
            ["2001:db8::1"],
            SourceFilter.include(["2001:db8::1"]),
            SourceFilter.exclude(["2001:db8::1"]),
        ):
            with pytest.raises(aiomcast.AddressError):
                opened.set_filter(wrong)
            assert opened.filter == opened.kernel_filter() == SourceFilter.exclude([A])
