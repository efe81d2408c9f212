"""What FreeBSD's network stack was seen to answer: by the model, and to the bytes that the package makes."""

from __future__ import annotations

import ctypes
import errno
import ipaddress
import json
import os
import pathlib
import re
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from aiomcast import FilterMode, RefusedError, SourceFilter
from aiomcast.errors import ArgumentError
from aiomcast.rfc3678 import calls
from aiomcast.rfc3678.abi import FREEBSD
from tests.support.bsd_host import MODES, BsdHost, in_place
from tests.support.bsd_model import BsdSocket, BsdState

RECORDED = json.loads((pathlib.Path(__file__).parents[2] / "data" / "freebsd-calls.json").read_text("utf-8"))
CASES: list[dict[str, Any]] = RECORDED["cases"]  # Any: JSON, here and below
GROUP_CALLS = {FREEBSD.MCAST_JOIN_GROUP: calls.join_group, FREEBSD.MCAST_LEAVE_GROUP: calls.leave_group}
SOURCE_CALLS = {
    FREEBSD.MCAST_JOIN_SOURCE_GROUP: calls.join_source_group,
    FREEBSD.MCAST_LEAVE_SOURCE_GROUP: calls.leave_source_group,
    FREEBSD.MCAST_BLOCK_SOURCE: calls.block_source,
    FREEBSD.MCAST_UNBLOCK_SOURCE: calls.unblock_source,
}
# What the package lets come to no call, as it is an error of its own, or not as it was made here.
NEVER_MADE = {
    "set duplicates INCLUDE{A,A,B}",
    "set, mode 0",
    "set, mode 3",
    "set, source of the other family",
    "set, source with length byte 0",
    "set, multicast address as source",
    "set, unspecified address as source",
    "set, group not multicast",
    "join, group not multicast",
    "join source, multicast source",
}

every_case = pytest.mark.parametrize("number", range(len(CASES)), ids=[case["case"] for case in CASES])


def test_what_was_recorded() -> None:
    assert len(CASES) == 186 + 26
    assert sum(len(case.get("calls", ())) for case in CASES) > 200


def raw(text: str) -> bytes:
    """Return the bytes that the data's notation stands for."""
    return b"".join(bytes(int(one[2:])) if one[:2] == "0*" else bytes.fromhex(one) for one in text.split())


def numbered(number: int, v6: bool) -> str:
    """Return the source with this number."""
    first = ipaddress.ip_address("2001:db8:9::" if v6 else "203.0.113.0")
    return str(first + number)


class Replay:
    """A socket, and a host that gets the recorded calls."""

    def __init__(self, host: BsdHost, number: int) -> None:
        self.host = host
        self.case = CASES[number]
        self.v6 = self.case["case"].startswith("v6")
        self.group = ""
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        first = number
        while "fresh" not in CASES[first]:
            first -= 1
        for case in CASES[first:number]:
            for call in case.get("calls", ()):
                self.make(call)

    def listed(self, call: dict[str, Any]) -> bytes:
        if "sources" not in call:
            return b"".join(map(raw, call.get("list", ())))
        first, count = call["sources"]
        packed = [ipaddress.ip_address(numbered(first + n, self.v6)).packed for n in range(count)]
        return FREEBSD.source_storage(packed)

    def make(self, call: dict[str, Any]) -> str | None:
        """Make one call; return the name of the errno that it is refused with."""
        value = raw(call["bytes"])
        at = 16 if call["option"] == FREEBSD.IP_MSFILTER else 8
        self.group = str(ipaddress.ip_address(FREEBSD.address_of(value[at:])))
        try:
            if call["option"] == FREEBSD.IP_MSFILTER:
                assert (call["level"], call["option"]) == self.host._msfilter(self.v6)
                self.host.set_filter(self.sock, value, self.listed(call))
            else:
                self.host.setsockopt(self.sock, call["level"], call["option"], value)
        except OSError as error:
            return errno.errorcode[error.errno or 0]
        return None

    def state(self, index: int = 2) -> BsdState | None:
        return self.host.state(self.sock, index, self.group)


@pytest.fixture
def replay(number: int) -> Iterator[Replay]:
    made = Replay(BsdHost(), number)
    with made.sock:
        yield made


@every_case
def test_the_model_answers_alike(number: int, replay: Replay) -> None:
    case, before = replay.case, replay.state()
    for call in case.get("calls", ()):
        before = replay.state()
        assert replay.make(call) == call.get("errno")
    state = replay.state()
    expected = None if "joins" in case else case.get("state")  # see test_the_limits_of_a_socket
    if expected is not None:
        if "errno" in expected:
            assert state is None
        else:
            assert state is not None
            assert (state.mode.name, len(state.sources)) == (expected["mode"], expected["count"])
            assert sorted(expected.get("sources", state.sources)) == sorted(state.sources)
    if "kept" in case:
        assert state == before != None  # noqa: E711  a state, and the same
    if "count" in case:
        assert state is not None
        assert len(state.sources) == case["count"]
        assert sorted(storages(replay.listed(case["calls"][-1]))) == sorted(
            storages(FREEBSD.source_storage([ipaddress.ip_address(one).packed for one in state.sources]))
        )
    if "delivered" in case and (state is not None or not replay.v6):
        three = [numbered(n, replay.v6) for n in (1, 2, 3)]
        blocks = case.get("later", False)
        came = [one for one in three if state is not None and state.lets_in(one, excludes_block=blocks)]
        assert came == case["delivered"]


@every_case
def test_the_package_makes_these_bytes(number: int, replay: Replay, monkeypatch: pytest.MonkeyPatch) -> None:
    case, host, sock = replay.case, replay.host, replay.sock
    in_place(monkeypatch, host)
    host.option(sock, 0, 0)  # from here on it knows the descriptor
    for recorded in case.get("calls", ()):
        value, listed = raw(recorded["bytes"]), replay.listed(recorded)
        before = len(host.made)
        if "length byte" in case["case"]:
            continue
        try:
            call_like(sock, recorded["option"], value, listed)
        except RefusedError as error:
            assert errno.errorcode[error.errno or 0] == recorded.get("errno")
        except (ArgumentError, KeyError):  # an argument of the package's, or none of a mode
            assert case["case"][3:] in NEVER_MADE
            assert len(host.made) == before
            continue
        else:
            assert recorded.get("errno") is None
        assert case["case"][3:] not in NEVER_MADE - {"set duplicates INCLUDE{A,A,B}"}
        (made,) = host.made[before:]
        if len(set(storages(listed))) == len(storages(listed)):
            assert (made.level, made.option) == (recorded["level"], recorded["option"])
            assert made.value.hex() == value.hex()
        assert sorted(storages(made.listed)) == sorted(set(storages(listed)))


def storages(listed: bytes) -> list[bytes]:
    return [listed[at : at + 128] for at in range(0, len(listed), 128)]


def address(storage: bytes) -> str:
    """Return the address in a sockaddr_storage of FreeBSD's, read without the package's table."""
    return str(ipaddress.ip_address(storage[4:8] if storage[1] == 2 else storage[8:24]))


def call_like(sock: socket.socket, option: int, value: bytes, listed: bytes) -> None:
    """Call the package's function that is to make `value`: its fields by their offsets in the headers."""
    index = int.from_bytes(value[:4], "little")
    if option == FREEBSD.IP_MSFILTER:
        assert len(value) == 152
        mode = {1: FilterMode.INCLUDE, 2: FilterMode.EXCLUDE}[value[4]]
        wanted = SourceFilter(mode, set(map(address, storages(listed))))
        calls.setsourcefilter(sock, index, address(value[16:]), wanted)
    elif option in (FREEBSD.MCAST_JOIN_GROUP, FREEBSD.MCAST_LEAVE_GROUP):
        assert len(value) == 136
        GROUP_CALLS[option](sock, index, address(value[8:]))
    else:
        assert len(value) == 264
        SOURCE_CALLS[option](sock, index, address(value[8:]), address(value[136:]))


# What goes beyond one call


@pytest.mark.parametrize("number", [n for n, case in enumerate(CASES) if "get" in case])
def test_what_is_asked(number: int, replay: Replay) -> None:
    """The answer says how many there are, and lists no more than there is room, nor than one set takes."""
    for call in replay.case.get("calls", ()):
        replay.make(call)
    asked = replay.case["get"]
    group = replay.group or ("ff3e::8000:1" if replay.v6 else "232.1.1.1")
    mode, count = ctypes.c_uint32(), ctypes.c_uint32(asked["room"])
    listed = ctypes.create_string_buffer(128 * asked["room"])
    name = FREEBSD.sockaddr(ipaddress.ip_address(group).packed)
    where = ctypes.c_uint32(asked["interface"]), name, ctypes.c_uint32(len(name))
    arguments = replay.sock.fileno(), *where, ctypes.byref(mode), ctypes.byref(count), listed
    try:
        replay.host.libc_call("getsourcefilter", *arguments)
    except OSError as error:
        assert errno.errorcode[error.errno or 0] == asked["errno"]
    else:
        assert (MODES[mode.value].name, count.value) == (asked["mode"], asked["count"])
        assert sum(one != bytes(128) for one in storages(listed.raw)) == asked["listed"]


@pytest.mark.parametrize("v6", [False, True])
def test_the_limits_of_a_socket(v6: bool) -> None:
    model = BsdSocket(v6=v6)
    for case in CASES:
        if case["case"].startswith("v6" if v6 else "v4"):
            for number in range(case.get("joins", 0)):
                model.join_source("one by one", numbered(number, v6))
            if "joins" in case:
                assert len(model.get("one by one").sources) == case["state"]["count"] == case["joins"]
            if "groups" in case:
                groups = BsdSocket(v6=v6)
                for number in range(case["groups"]):
                    groups.join_group(str(number))
                number = getattr(errno, case["errno"])
                with pytest.raises(OSError, match=re.escape(os.strerror(number))):
                    groups.join_group("one more")
