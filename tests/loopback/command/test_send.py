"""What `aiomcast send` sends, and what it says of it."""

import argparse
import asyncio
import re
import struct
import subprocess
import sys
from pathlib import Path

import pytest

import aiomcast
from aiomcast.command.payloads import escaped, with_rtp
from aiomcast.command.send import PIECE
from tests.support.platforms import linux_only

SEND = [sys.executable, "-m", "aiomcast", "send"]
A = "127.0.0.2"
WITHOUT_ROOM = """
import errno, sys
import aiomcast
from aiomcast.command.cli import main

send = aiomcast.Sender.send

async def refused(sender, data):
    if data in (b"2", b"3"):
        raise aiomcast.RefusedError(errno.ENOBUFS, "sending: No buffer space available")
    await send(sender, data)

aiomcast.Sender.send = refused
sys.exit(main())
"""


async def sent(group: str, *options: str, count: int) -> list[bytes]:
    """Return what came in of a run."""
    async with aiomcast.listen(group, 0, sources=[A], interface="lo") as feed:
        command = [*SEND, group, str(feed.port), "-s", A, "-i", "lo", *options]
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=30)
        assert (done.returncode, done.stdout) == (0, "")
        assert done.stderr.startswith(f"sent {count} packets, ")
        async with feed.packets() as stream:
            return [(await stream.receive()).data for _ in range(count)]


async def test_a_payload_again_and_again(group: str) -> None:
    came = await sent(group, "--payload", r"grüße\x00\n", "-c", "3", "--rate", "0", count=3)
    assert came == ["grüße\0\n".encode()] * 3


def test_escapes_of_a_payload() -> None:
    assert escaped(r"\x1b\r\t\\x41 %") == b"\x1b\r\t\\x41 %"
    for wrong in ("\\", r"\x4", r"\u0041", "\\\n"):
        with pytest.raises(argparse.ArgumentTypeError, match="give "):
            escaped(wrong)


@pytest.mark.parametrize("size", [None, 700])
async def test_a_file_in_pieces(group: str, tmp_path: Path, size: int | None) -> None:
    content = bytes(range(256)) * 11
    (tmp_path / "file").write_bytes(content)
    step = size or PIECE
    pieces = [content[start : start + step] for start in range(0, len(content), step)]
    options = [] if size is None else ["--size", str(size)]
    assert await sent(group, "--file", str(tmp_path / "file"), *options, count=len(pieces)) == pieces


async def test_rtp_headers(group: str) -> None:
    came = await sent(group, "--rtp", "--payload", "x", "-c", "3", "--rate", "50", count=3)
    flags, kinds, numbers, stamps, sources, rest = zip(
        *(struct.unpack("!BBHIIs", data) for data in came), strict=True
    )
    assert (set(flags), set(kinds), set(rest), len(set(sources))) == ({0x80}, {96}, {b"x"}, 1)
    assert [(number - numbers[0]) % 65536 for number in numbers] == [0, 1, 2]
    passed = [(stamp - stamps[0]) % 2**32 for stamp in stamps]
    assert passed == sorted(passed)


def test_stamps_of_rtp_count_90_000_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    stamps = []
    for now in (47_721.5, 47_721.75, 47_722.5):  # 2**32 ticks are 47,721.86 seconds
        monkeypatch.setattr("aiomcast.command.payloads.time.monotonic", lambda now=now: now)
        stamps.append(struct.unpack("!BBHII", with_rtp(b"", 1, 2))[3])
    assert [(stamp - stamps[0]) % 2**32 for stamp in stamps] == [0, 22_500, 90_000]
    assert stamps[2] < stamps[1], "they wrap"


@linux_only
def test_what_the_system_refuses_is_said_and_counted(group: str) -> None:
    command = [sys.executable, "-c", WITHOUT_ROOM, "send", group, "5000", "-s", A, "-i", "lo"]
    done = subprocess.run([*command, "--rate", "0", "-c", "5"], capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    first, last = done.stderr.splitlines()
    assert first == "aiomcast: sending: No buffer space available; more of them are counted"
    assert last.startswith("sent 3 packets, 3 bytes in ")
    assert last.endswith("; the system refused 2 more")


@linux_only
@pytest.mark.parametrize("options", [("-i", "lo"), ("-s", "::1")])
def test_ipv6_on_loopback_is_refused_with_the_reason(options: tuple[str, ...]) -> None:
    done = subprocess.run(
        [*SEND, "ff15::77", "5000", *options, "-c", "1"], capture_output=True, text=True, timeout=30
    )
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.endswith("there is no IPv6 multicast on lo: take another interface, or IPv4")


@pytest.mark.parametrize(
    ("ttl", "reach"),
    [("0", "with TTL 0, which stays on this host"), ("1", "no router forwards"), ("5", "at most 4 routers")],
)
async def test_how_far_it_can_get(ttl: str, reach: str) -> None:
    from aiomcast.command import send

    async with aiomcast.Sender("239.1.1.1", 5000, interface="lo", ttl=int(ttl)) as sender:
        assert send._reach(sender) == "where only this host hears it"
        sender.interface = aiomcast.Interface(1, "eth7", (), True)
        assert reach in send._reach(sender)


async def test_answers_are_written_and_counted(any_group: str) -> None:
    class Answering(aiomcast.MulticastProtocol):
        def datagram_received(self, data: bytes, addr: tuple[str | int, ...]) -> None:
            transport.sendto(b"got\x00\\ " + data, addr)

    transport, _ = await aiomcast.create_multicast_endpoint(
        Answering, any_group, 0, sources=None, interface="lo"
    )
    port = transport.get_extra_info("sockname")[1]
    command = [*SEND, any_group, str(port), "-i", "lo", "--rate", "0", "-c", "2", "--answers", "1"]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=30)
    transport.close()
    first, second = done.stdout.splitlines()
    assert re.fullmatch(r"127\.0\.0\.1 port \d+: got\\x00\\\\ 1", first)
    assert second.endswith(" 2")
    assert done.returncode == 0
    assert done.stderr.startswith("sent 2 packets, 2 bytes in 0.")
    assert done.stderr.endswith("; 2 answers\n")


@linux_only
async def test_answers_into_a_closed_pipe_end_it(any_group: str) -> None:
    class Answering(aiomcast.MulticastProtocol):
        def datagram_received(self, data: bytes, addr: tuple[str | int, ...]) -> None:
            transport.sendto(b"answer to " + data, addr)

    transport, _ = await aiomcast.create_multicast_endpoint(
        Answering, any_group, 0, sources=None, interface="lo"
    )
    port = transport.get_extra_info("sockname")[1]
    command = [*SEND, any_group, str(port), "-i", "lo", "--rate", "100", "--answers", "30"]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(30):
            assert process.stdout is not None
            assert process.stderr is not None
            assert (await process.stdout.readline()).endswith(b": answer to 1\n")
            process.stdout._transport.close()  # type: ignore[attr-defined]  # there is no other way to close it
            assert await process.stderr.read() == b""
            assert await process.wait() == 0
    finally:
        transport.close()
