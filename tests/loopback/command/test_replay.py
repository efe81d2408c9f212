"""What `aiomcast replay` sends of a capture, and what it says of it."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import aiomcast
from aiomcast.command.cli import main
from tests.unit.feeds.captures import STAMP_NS, ethernet, interface, ipv4, ipv6, packet, section, udp

REPLAY = [sys.executable, "-m", "aiomcast", "replay"]
A, B = "127.0.0.2", "127.0.0.3"
MS = 1_000_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "feed.pcapng"


def captured(path: Path, *sent: tuple[str, str, int], step_ns: int = 0) -> str:
    """Write a capture of packets from a source to a group and port, each with its number."""
    frames = [
        ethernet(ipv4(udp(b"%d" % number, (4000, port)), source, group))
        for number, (source, group, port) in enumerate(sent)
    ]
    blocks = [packet(one, units=STAMP_NS + at * step_ns) for at, one in enumerate(frames)]
    path.write_bytes(section() + interface() + b"".join(blocks))
    return str(path)


async def run(*options: str, status: int = 0) -> str:
    """Return what it said."""
    command = [*REPLAY, *options]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=40)
    assert (done.returncode, done.stdout) == (status, ""), done.stderr
    return done.stderr


async def taken(feed: aiomcast.Membership, count: int) -> list[aiomcast.Packet]:
    async with asyncio.timeout(20), feed.packets() as stream:
        return [await stream.receive() for _ in range(count)]


async def test_what_was_captured_is_sent_again_with_its_source_port_and_ttl(path: Path, group: str) -> None:
    async with aiomcast.listen(group, 0, sources=[A, B], interface="lo", ancillary={"hop_limit"}) as feed:
        file = captured(path, *[((A, B)[at % 2], group, feed.port) for at in range(10)])
        said = await run(file, "-i", "lo", "--speed", "fast")
        came = await taken(feed, 10)
    assert [one.data for one in came] == [b"%d" % at for at in range(10)]
    assert [(one.source, one.source_port, one.hop_limit) for one in came] == [(A, 4000, 9), (B, 4000, 9)] * 5
    assert said.startswith("sent 10 packets, 10 bytes in ")
    assert said.endswith(f" s to {group} port {feed.port} from 2 sources on lo\n")


async def test_it_can_go_to_another_group(path: Path, group: str, any_group: str) -> None:
    async with aiomcast.listen(any_group, 0, interface="lo") as feed:
        there = f"{any_group}:{feed.port}"
        file = captured(path, ("192.0.2.10", group, 4444), (A, group, 4445))
        options = ("-i", "lo", "--speed", "fast", "--ttl", "0")
        said = await run(file, "--to", there, *options)
        assert f"to {any_group} port {feed.port} from 127.0.0.1 on lo" in said
        await run(file, f"{group}:4445", "--to", f"{group}:4445={there}", "-s", B, *options)
        await run(file, f"{A}@{group}:4445", "--to", there, "-s", "capture", *options)
        came = await taken(feed, 4)
    assert [(one.source, one.data) for one in came] == [
        ("127.0.0.1", b"0"), ("127.0.0.1", b"1"), (B, b"1"), (A, b"1"),
    ]  # fmt: skip


async def test_channels_choose_what_is_sent_and_the_rest_is_told(path: Path, group: str) -> None:
    async with aiomcast.listen(group, 0, sources=[A, B], interface="lo") as feed:
        captured(path, (A, group, feed.port), (B, group, feed.port), (A, group, feed.port + 1))
        with path.open("ab") as more:
            more.write(packet(ethernet(ipv4(bytes(20), protocol=6))))
            more.write(packet(ethernet(ipv4(udp(bytes(90))))[:60], length=132))
        said = await run(str(path), f"{B}@{group}:{feed.port}", "-i", "lo")
        assert [one.data for one in await taken(feed, 1)] == [b"1"]
    assert said.startswith("sent 1 packets, 1 bytes ")
    assert said.endswith("; not sent: 1 other packets, 1 cut by the capture\n")


async def test_rounds_and_a_count(path: Path, group: str) -> None:
    async with aiomcast.listen(group, 0, sources=[A], interface="lo") as feed:
        file = captured(path, *[(A, group, feed.port)] * 3)
        assert "sent 9 packets" in await run(file, "-i", "lo", "--loop", "3")
        assert "sent 8 packets" in await run(file, "-i", "lo", "--loop", "0", "-c", "8")
        came = await taken(feed, 17)
    assert [one.data for one in came[:9]] == [b"0", b"1", b"2"] * 3


async def test_the_pace_is_that_of_the_capture(path: Path, group: str) -> None:
    """It does not end before its time: what comes late is the machine's affair."""
    file = captured(path, *[(A, group, 4444)] * 5, step_ns=200 * MS)
    for options, least in (((), 0.8), (("--speed", "4"), 0.2)):
        said = await run(file, "-i", "lo", *options)
        found = re.search(r" in ([0-9.]+) s to ", said)
        assert found
        assert float(found[1]) >= least


async def test_it_can_be_ended(path: Path, group: str) -> None:
    async with aiomcast.listen(group, 0, sources=[A], interface="lo") as feed:
        file = captured(path, *[(A, group, feed.port)] * 2, step_ns=3_600_000 * MS)
        process = await asyncio.create_subprocess_exec(
            *REPLAY, file, "-i", "lo", stderr=asyncio.subprocess.PIPE
        )
        await taken(feed, 1)
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(20):
            _, said = await process.communicate()
    assert process.returncode == 0
    assert said.startswith(b"sent 1 packets")


async def test_a_capture_of_nothing(path: Path, group: str) -> None:
    file = captured(path)
    assert await run(file, "--loop", "0") == "sent 0 packets, 0 bytes in 0.0 s\n"


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["{no}"], 1, "neither pcapng nor pcap"),
        (["{none}"], 1, "No such file"),
        ([], 2, "FILE is missing"),
        (["{file}", "232.1.1.1", "x"], 2, "no PORT"),
        (["{file}", "--speed", "0"], 2, "neither a number above 0 nor fast"),
        (["{file}", "--speed", "quick"], 2, "neither a number above 0 nor fast"),
        (["{file}", "--to", "192.0.2.1@239.1.1.1:1"], 2, "GROUP:PORT=GROUP:PORT"),
        (["{file}", "--to", "239.1.1.1:1", "--to", "239.1.1.2:1"], 2, "FROM=TO"),
        (["{file}", "--to", "192.0.2.1:1", "-i", "lo"], 2, "192.0.2.1"),
        (["{file}", "--loop", "-1"], 2, "less than 0"),
        (["{file}", "-i", "none0"], 2, "none0"),
    ],
)
def test_wrong_input_is_one_clear_line(
    path: Path, words: list[str], status: int, said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    named = {"file": captured(path, (A, "232.1.1.1", 4444)), "no": __file__, "none": f"{path}.none"}
    assert main(["replay", *(one.format(**named) for one in words)]) == status
    told = capfd.readouterr().err
    assert told.startswith("aiomcast: ")
    assert told.count("\n") == 1
    assert said in told


async def test_a_file_that_breaks_off_says_where(path: Path, group: str) -> None:
    file = captured(path, (A, group, 4444), (A, group, 4444))
    path.write_bytes(path.read_bytes()[:-4])  # noqa: ASYNC240  # it is small
    said = await run(file, "-i", "lo")
    assert "ends within a packet" in said
    assert "sent 1 packets" in said


async def test_ipv6(path: Path, group6: str) -> None:
    """Loopback has no IPv6 multicast, which is told; the lab sends it."""
    frame = ethernet(ipv6(udp(b"six", (4000, 5000)), "::1", group6))
    path.write_bytes(section() + interface() + packet(frame))  # noqa: ASYNC240  # it is small
    said = await run(str(path), "-i", "lo", status=1)
    assert said.count("\n") == 1


# listen --from

LISTEN = [sys.executable, "-m", "aiomcast", "listen"]


def heard(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*LISTEN, *options], capture_output=True, text=True, timeout=40)


def test_listen_shows_what_was_captured_as_if_it_came_now(path: Path) -> None:
    sent = [(("192.0.2.10", "192.0.2.11")[at % 2], "232.1.1.1", 5000) for at in range(10)]
    file = captured(path, *sent, step_ns=1000 * MS)
    done = heard("192.0.2.10@232.1.1.1:5000", "--from", file, "--speed", "fast", "-f", "json")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(one) for one in done.stdout.splitlines()]
    assert [base64.b64decode(one["data"]) for one in lines] == [b"%d" % at for at in range(0, 10, 2)]
    assert {(one["source"], one["interface"], one["hop_limit"]) for one in lines} == {
        ("192.0.2.10", "interface 0", 9)
    }
    assert [one["timestamp_ns"] for one in lines] == [STAMP_NS + at * 1000 * MS for at in range(0, 10, 2)]


def test_listen_at_a_pace_takes_its_time(path: Path) -> None:
    file = captured(path, *[(A, "239.1.1.1", 5000)] * 5, step_ns=100 * MS)
    done = heard("239.1.1.1:5000", "--from", file, "--speed", "2", "-f", "raw")
    assert done.stdout == "01234"
    found = re.search(r" in ([0-9.]+) s", done.stderr)
    assert found
    assert float(found[1]) >= 0.2


def test_listen_says_what_is_not_in_a_capture(path: Path) -> None:
    file = captured(path, *[(A, "239.1.1.1", 5000)] * 5)
    fast = ("--from", file, "--speed", "fast", "-f", "raw")
    done = heard("239.1.1.1:5000", "239.1.1.2:5000", *fast)
    assert done.returncode == 1
    assert f"nothing came from 239.1.1.2:5000: {file} has none of it" in done.stderr
    done = heard("239.1.1.1:5000", "-c", "9", *fast)
    assert done.returncode == 1
    assert f"5 of 9 packets are in {file}" in done.stderr


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["239.1.1.1:5000", "--speed", "2"], 2, "--speed without --from"),
        (["239.1.1.1:5000", "--from", "{none}"], 1, "No such file"),
        (["239.1.1.1:5000", "--from", "{no}"], 1, "neither pcapng nor pcap"),
        (["239.1.1.1:5000", "--from", "{file}", "-i", "eth9"], 2, "interface 0"),
    ],
)
def test_wrong_input_of_listen_from_a_capture(
    path: Path, words: list[str], status: int, said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    named = {"file": captured(path, (A, "232.1.1.1", 4444)), "no": __file__, "none": f"{path}.none"}
    assert main(["listen", "-f", "text", *(one.format(**named) for one in words)]) == status
    told = capfd.readouterr().err
    assert told.count("\n") == 1
    assert said in told


def test_gaps_are_found_in_what_was_captured(path: Path) -> None:
    frames = [ethernet(ipv4(udp(number.to_bytes(4, "big")))) for number in (1, 2, 5, 6)]
    path.write_bytes(section() + interface() + b"".join(packet(one) for one in frames))
    words = ["192.0.2.10@232.1.1.1:5000", "--sequence", "u32be@0", "--from", str(path), "--speed", "fast"]
    command = [sys.executable, "-m", "aiomcast", "gaps", *words, "-f", "text"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=40)
    assert done.returncode == 1, done.stderr
    assert "gap 3 to 4, 2 lost" in done.stdout + done.stderr
