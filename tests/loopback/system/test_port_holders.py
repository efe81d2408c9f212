"""EADDRINUSE names who holds the port and what that program has not set, against Linux and its /proc."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import aiomcast
from aiomcast import RefusedError, open_socket
from aiomcast.system import port_holders
from aiomcast.system.port_holders import why_in_use
from tests.support.port_holder import BOUND, CAN_BE_NOBODY, NOBODY, OPTIONS, command
from tests.support.sandbox import apart, without_privilege

if not sys.platform.startswith("linux"):
    pytest.skip("it is Linux that tells", allow_module_level=True)

little_endian = pytest.mark.skipif(sys.byteorder != "little", reason="it was recorded on such a machine")
needs_nobody = pytest.mark.skipif(not CAN_BE_NOBODY, reason="only root starts programs of another user")

GENERAL = "another socket has this port, and has neither SO_REUSEADDR nor, as the same user's, SO_REUSEPORT"
OTHERS = f"SO_REUSEPORT would do for programs with the user id of this one, {os.geteuid()}"


@contextlib.contextmanager
def held(
    address: str,
    port: int,
    options: Collection[str] = (),
    *,
    joins: tuple[str, str] | None = None,
    dual: bool = False,
    uid: int | None = None,
) -> Iterator[int]:
    """Have another program bind, and give its process id."""
    started = command(address, port, options, joins=joins, dual=dual, uid=uid)
    with subprocess.Popen(started, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == BOUND
            yield process.pid
        finally:
            process.terminate()


def refused(group: str, port: int) -> str:
    """Open a socket for the group, in vain, and return the hint."""
    with pytest.raises(RefusedError) as caught:
        open_socket(group, port, "lo")
    assert caught.value.errno == errno.EADDRINUSE
    assert caught.value.detail == f"opening a socket for {group} port {port}: Address already in use"
    return caught.value.hint


def opens(group: str, port: int) -> None:
    """Open a socket for the group."""
    open_socket(group, port, "lo").close()


@pytest.fixture
def port(any_group: str) -> int:
    """A port that nobody has."""
    with open_socket(any_group, 0, "lo") as sock:
        return sock.port


@pytest.fixture(params=["ipv4", "ipv6"])
def joined(request: pytest.FixtureRequest, any_group: str, group6: str) -> str:
    """A group of either family."""
    return any_group if request.param == "ipv4" else group6.replace("ff31", "ff3e")


def wildcard(group: str) -> str:
    return "::" if ":" in group else "0.0.0.0"


@pytest.mark.parametrize("bound", ["wildcard", "group"])
@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "+".join(options) or "neither")
def test_a_program_of_the_same_user(joined: str, port: int, bound: str, options: tuple[str, ...]) -> None:
    with held(wildcard(joined) if bound == "wildcard" else joined, port, options) as pid:
        if options:
            opens(joined, port)
        else:
            assert refused(joined, port) == (
                f"port {port} is held by {_name(pid)} (pid {pid}) without SO_REUSEADDR or SO_REUSEPORT: "
                "it has to set one of them before it binds"
            )


@needs_nobody
@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "+".join(options) or "neither")
def test_a_program_of_another_user(joined: str, port: int, options: tuple[str, ...]) -> None:
    with held(wildcard(joined), port, options, uid=NOBODY) as pid:
        if "SO_REUSEADDR" in options:
            opens(joined, port)
        else:
            assert refused(joined, port) == (
                f"port {port} is held by {_name(pid)} (pid {pid}) with user id {NOBODY} without "
                f"SO_REUSEADDR: it has to set that before it binds ({OTHERS})"
            )


def test_a_socket_of_both_families_is_in_the_way_of_ipv4(any_group: str, port: int) -> None:
    for address in ("::", f"::ffff:{any_group}", "::ffff:0.0.0.0"):
        with held(address, port, dual=True) as pid:
            assert f"(pid {pid})" in refused(any_group, port)
    with held("::", port):  # IPV6_V6ONLY
        opens(any_group, port)


def test_who_is_not_in_the_way_is_not_named(any_group: str, port: int) -> None:
    other = any_group.replace("239.", "238.")
    with held("127.0.0.1", port), held(other, port), held("::", port), held(any_group, port + 1):
        opens(any_group, port)
        with held(any_group, port) as pid:
            assert refused(any_group, port).startswith(f"port {port} is held by {_name(pid)} (pid {pid}) wi")


def test_this_process(any_group: str, port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("0.0.0.0", port))
        assert refused(any_group, port).startswith(f"port {port} is held by this process without")


async def test_a_join_has_the_hint(any_group: str, port: int) -> None:
    with held("0.0.0.0", port) as pid, pytest.raises(RefusedError, match=f"pid {pid}"):
        async with aiomcast.listen(any_group, port, interface="lo"):
            pass
    async with aiomcast.listen(any_group, port, interface="lo"):
        pass


@needs_nobody
def test_what_cannot_be_seen_without_privilege(any_group: str, port: int) -> None:
    def unprivileged() -> None:
        without_privilege()
        assert refused(any_group, port).startswith(
            f"port {port} is held by a program that cannot be seen without privilege with user id {NOBODY} wi"
        )

    with held(any_group, port, uid=NOBODY):
        apart(unprivileged)


def test_a_socket_that_has_gone_meanwhile(any_group: str, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(sock: socket.socket, address: object) -> None:
        raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))

    monkeypatch.setattr(aiomcast.MulticastSocket, "bind", refuse)
    assert refused(any_group, port) == GENERAL


class Proc:
    """What a system without this one's programs tells in /proc."""

    def __init__(self, place: Path) -> None:
        self._place = place
        (place / "thread-self/net").mkdir(parents=True)
        (place / "self").symlink_to("100")

    def table(self, name: str, text: str) -> None:
        """Have sockets in "udp" or "udp6"."""
        (self._place / "thread-self/net" / name).write_text(text)

    def program(self, pid: int, name: str, *sockets: int) -> None:
        """Have a process with these sockets open, and a file."""
        (self._place / str(pid) / "fd").mkdir(parents=True)
        (self._place / str(pid) / "comm").write_text(name + "\n")
        (self._place / str(pid) / "fd/0").symlink_to("/dev/null")
        for number, inode in enumerate(sockets, 1):
            (self._place / str(pid) / f"fd/{number}").symlink_to(f"socket:[{inode}]")


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Proc:
    """A recorded /proc in place of this system's."""
    monkeypatch.setattr(port_holders, "_PROC", tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    return Proc(tmp_path)


HEAD = (
    "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref "
    "pointer drops            \n"
)


def row(address: str, uid: int, inode: int) -> str:
    """One of the table, at port 5001, as Linux 6.18 has written it."""
    return (
        f"14754: {address}:1389 {'0' * len(address)}:0000 07 00000000:00000000 00:00000000 00000000 "
        f"{uid:5d}        0 {inode} 2 000000003d63207b 0       \n"
    )


@little_endian
def test_tables_of_sockets(proc: Proc) -> None:
    proc.table("udp", HEAD + "\n0\n" + row("0100007F", 1000, 1) + row("010109EF", 1000, 2))
    proc.program(100, "python", 5)
    proc.program(7, "one", 1)
    proc.program(8, "two", 2)
    assert why_in_use("239.9.1.1", 5001).startswith("port 5001 is held by two (pid 8) without")
    assert why_in_use("239.9.1.2", 5001) == why_in_use("239.9.1.1", 5000) == GENERAL


@little_endian
def test_ipv6_is_asked_last_for_ipv4(proc: Proc) -> None:
    proc.table("udp6", HEAD + row("000015FF000000000000000001000900", 0, 3) + row("0" * 32, 0, 4))
    proc.program(9, "group", 3)
    proc.program(100, "python", 4)
    assert "held by group (pid 9) with user id 0 or this process with user id 0 without" in why_in_use(
        "ff15::9:1", 5001
    )
    assert "held by this process with user id 0 without" in why_in_use("239.9.1.1", 5001)
    proc.table("udp", HEAD + row("0" * 8, 0, 3))
    assert "held by group (pid 9) with user id 0 without" in why_in_use("239.9.1.1", 5001)


def test_a_program_with_several_sockets_is_named_once(proc: Proc) -> None:
    proc.table("udp", HEAD + row("0" * 8, 0, 1) + row("0" * 8, 0, 2))
    proc.program(100, "python")
    proc.program(7, "worker", 1, 2)
    assert why_in_use("239.9.1.1", 5001).count("worker") == 1


def test_many_programs(proc: Proc) -> None:
    proc.table("udp", HEAD + "".join(row("0" * 8, 0, inode) for inode in range(1, 8)))
    for inode in range(1, 8):
        proc.program(inode, "worker", inode)
    hint = why_in_use("239.9.1.1", 5001)
    assert hint.count("worker") == 4
    assert " or 3 others without SO_REUSEADDR: " in hint


def test_what_belongs_to_no_program_here(proc: Proc) -> None:
    """A container's, or the kernel's own."""
    proc.table("udp", HEAD + row("0" * 8, 1000, 1))
    proc.program(100, "python", 2)
    assert why_in_use("239.9.1.1", 5001).startswith(
        "port 5001 is held by a program that cannot be seen from here without SO_REUSEADDR or SO_REUSEPORT: "
    )


def test_a_name_that_is_no_text(proc: Proc) -> None:
    proc.table("udp", HEAD + row("0" * 8, 1000, 1))
    proc.program(100, "python")
    proc.program(7, "\x1b[2Jmine", 1)
    assert "held by '\\x1b[2Jmine' (pid 7) without" in why_in_use("239.9.1.1", 5001)


def test_it_looks_at_a_limited_number(proc: Proc, monkeypatch: pytest.MonkeyPatch) -> None:
    proc.table("udp", HEAD + row("0" * 8, 1000, 1))
    proc.program(100, "python", *range(10, 20))
    proc.program(7, "late", 1)
    assert "late" in why_in_use("239.9.1.1", 5001)
    monkeypatch.setattr(port_holders, "_MOST_DESCRIPTORS", 5)
    assert "cannot be seen from here" in why_in_use("239.9.1.1", 5001)
    monkeypatch.setattr(port_holders, "_MOST_SOCKETS", 1)
    assert why_in_use("239.9.1.1", 5001) == GENERAL


def test_a_system_without_proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(port_holders, "_PROC", tmp_path / "none")
    assert why_in_use("239.9.1.1", 5001) == why_in_use("ff15::9:1", 5001) == GENERAL


def test_a_table_that_cannot_be_read(proc: Proc, tmp_path: Path) -> None:
    (tmp_path / "thread-self/net/udp").mkdir()
    assert why_in_use("239.9.1.1", 5001) == GENERAL


def test_a_descriptor_that_is_closed_meanwhile(proc: Proc, monkeypatch: pytest.MonkeyPatch) -> None:
    read, closed = os.readlink, list[str]()

    def readlink(path: Path | os.DirEntry[str]) -> str:
        if isinstance(path, os.DirEntry) and "/7/" in path.path and not closed:
            closed.append(path.path)
            raise FileNotFoundError
        return read(path)

    proc.table("udp", HEAD + row("0" * 8, 1000, 1))
    proc.program(100, "python")
    proc.program(7, "other", 1, 1)
    monkeypatch.setattr(os, "readlink", readlink)
    assert "held by other (pid 7) without" in why_in_use("239.9.1.1", 5001)
    assert closed


@settings(max_examples=30)
@given(st.text(), st.lists(st.text(alphabet="0123456789ABCDEF: _-"), max_size=4), st.integers(0, 65535))
def test_whatever_the_table_holds(before: str, fields: list[str], port: int) -> None:
    line = [before, f"{''.join(fields)}:{port:04X}", *fields, "a", "b", "c", "d", "e", "f", "g", "h", "i"]
    with tempfile.TemporaryDirectory() as place, pytest.MonkeyPatch.context() as patch:
        patch.setattr(port_holders, "_PROC", Path(place))
        proc = Proc(Path(place))
        proc.table("udp", " ".join(line))
        proc.program(100, "python")
        assert why_in_use("239.9.1.1", port)


def _name(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()
