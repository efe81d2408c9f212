"""`aiomcast record`, read by tshark: files, rotated files, a pipe, and how each ends."""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

pytest.importorskip("rich")

import aiomcast
from aiomcast.command.recording import PipeRecording
from tests.support.platforms import IS_WINDOWS, linux_only

from .test_cli import COMMAND, PORT_TEXT, SECONDS, A, transmit

pytestmark = pytest.mark.skipif(IS_WINDOWS, reason="there is no tshark in the tests of Windows")


@pytest.fixture(scope="module")
def tshark() -> str:
    found = shutil.which("tshark")
    if found is None:
        stopped = pytest.fail if os.environ.get("AIOMCAST_REQUIRE_LAB") == "1" else pytest.skip
        stopped("tshark is not installed")
    return found


@contextlib.contextmanager
def recording(
    group: str, *options: str, stdout: int | IO[bytes] = subprocess.PIPE
) -> Iterator[subprocess.Popen[bytes]]:
    """A running `aiomcast record` on loopback that has begun."""
    command = [*COMMAND, "record", group, PORT_TEXT, "-s", A, "-i", "lo", *options]
    with subprocess.Popen(command, stdout=stdout, stderr=subprocess.PIPE) as process:
        try:
            assert process.stderr is not None
            line = process.stderr.readline().decode()
            assert line.startswith(f"listening to {group}"), line
            yield process
        finally:
            process.kill()


def ended(process: subprocess.Popen[bytes], status: int = 0) -> tuple[list[str], list[str]]:
    """Return the lines that it wrote and said."""
    output, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == status, errors
    return (output or b"").decode().splitlines(), errors.decode().splitlines()


def payloads(tshark: str, file: str | IO[bytes]) -> list[bytes]:
    """Return those that tshark reads, which finds nothing wrong."""
    name, stdin = (file, None) if isinstance(file, str) else ("-", file)
    fields = ["-T", "fields", "-e", "udp.payload", "-d", f"udp.port=={PORT_TEXT},data"]
    done = subprocess.run(
        [tshark, "-r", name, *fields], stdin=stdin, capture_output=True, text=True, timeout=SECONDS
    )
    assert done.returncode == 0, done.stderr
    assert "cut short" not in done.stderr
    return [bytes.fromhex(line) for line in done.stdout.split()]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_it_with_a_whole_file(
    group: str, tmp_path: Path, tshark: str, number: signal.Signals
) -> None:
    file = tmp_path / "feed.pcapng"
    with recording(group, "--to", str(file), "--interval", "0.1", "--format", "json") as process:
        assert process.stdout is not None
        transmit(group, b"one", b"two two")
        while b'"packets": 2' not in process.stdout.readline():
            pass
        process.send_signal(number)
        _, (summary,) = ended(process)
    assert summary.startswith(f"2 packets, 10 bytes written to {file} in ")
    assert payloads(tshark, str(file)) == [b"one", b"two two"]


def test_a_count_and_rotated_files(group: str, tmp_path: Path, tshark: str) -> None:
    options = ("--to", str(tmp_path / "feed.pcapng"), "--rotate-bytes", "1K", "--count", "20", "--overwrite")
    for name in ("feed-00001.pcapng", "feed-12345.pcapng", "feed-1.pcapng", "feed-00001.txt"):
        (tmp_path / name).write_text("of old")
    sent = [b"%d" % number * 40 for number in range(30)]
    with recording(group, *options) as process:
        transmit(group, *sent)
        _, (summary,) = ended(process)
    files = sorted(tmp_path.glob("feed-0*.pcapng"))
    assert f"written to {files[0]} to {files[-1].name} in " in summary
    assert len(files) > 2
    assert all(file.stat().st_size < 1300 for file in files)
    assert [one for file in files for one in payloads(tshark, str(file))] == sent[:20]
    left = {file.name for file in tmp_path.iterdir()} - {file.name for file in files}
    assert left == {"feed-1.pcapng", "feed-00001.txt"}


def test_a_pipe_into_tshark(group: str, tshark: str) -> None:
    with recording(group, "--to", "-", "--count", "3", "--interval", "30") as process:
        transmit(group, b"one", b"", b"\xff" * 1400, b"and more")
        assert process.stdout is not None
        assert payloads(tshark, process.stdout) == [b"one", b"\xff" * 1400]  # and one of no bytes
        assert process.stderr is not None
        interval, summary = process.stderr.read().decode().splitlines()
        assert process.wait(SECONDS) == 0
    assert f"lo {group}:{PORT_TEXT} " in interval
    assert summary.startswith("3 packets, 1403 bytes written in ")


def test_a_pipe_that_is_closed_ends_it(group: str) -> None:
    with recording(group, "--to", "-") as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read().startswith(b"0 packets")
        assert process.wait(SECONDS) == 0


async def test_drops_stand_at_the_packet_after_them(group: str, tmp_path: Path, tshark: str) -> None:
    """On the pipe, whose blocks are made here."""

    class Dropping:
        dropped = 5

        def statistics(self) -> aiomcast.Statistics:
            return aiomcast.Statistics(kernel_drops=self.dropped - 2, queue_drops=2)

    packet = aiomcast.Packet(b"x", aiomcast.Flow(A, 7, group, 5000, 1), None, True)
    with open(tmp_path / "feed.pcapng", "wb") as file:
        before = os.dup(1)
        os.dup2(file.fileno(), 1)
        try:
            receiver = Dropping()
            writing = PipeRecording(receiver, None)  # type: ignore[arg-type]  # it is asked for these alone
            await writing.begin()
            receiver.dropped = 12
            await writing.take([packet], lambda _: "lo")
            await writing.take([packet], lambda _: "lo")
            assert writing.taken == 2
        finally:
            os.dup2(before, 1)
            os.close(before)
    command = [tshark, "-r", str(tmp_path / "feed.pcapng"), "-T", "fields", "-e", "frame.drop_count"]
    command += ["-e", "frame.comment", "-e", "frame.interface_name"]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=SECONDS)
    first, second = done.stdout.splitlines()
    assert "cut short" in first
    assert first.endswith("lo")
    assert "7" in first.split("\t")
    assert "7" not in second.split("\t")


def test_nothing_came_is_status_1_and_an_empty_capture(group: str, tmp_path: Path, tshark: str) -> None:
    file = tmp_path / "feed.pcapng"
    with recording(group, "--to", str(file), "--seconds", "0.2") as process:
        _, (summary, line) = ended(process, 1)
    assert summary.startswith("0 packets, 0 bytes written to ")
    assert line.startswith(f"aiomcast: nothing came from {group}:{PORT_TEXT}: aiomcast doctor ")
    assert payloads(tshark, str(file)) == []


LIMITED = """
import resource, signal, sys
from aiomcast.command.cli import main

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
sys.exit(main())
"""


@linux_only
def test_a_file_that_cannot_grow_is_said_and_stays_whole(group: str, tmp_path: Path, tshark: str) -> None:
    file = tmp_path / "feed.pcapng"
    command = [sys.executable, "-c", LIMITED, "record", group, PORT_TEXT, "-s", A, "-i", "lo"]
    with subprocess.Popen([*command, "--to", str(file)], stderr=subprocess.PIPE) as process:
        try:
            assert process.stderr is not None
            process.stderr.readline()
            transmit(group, b"the first")
            while b"the first" not in file.read_bytes():
                assert process.poll() is None
            while process.poll() is None:
                transmit(group, b"x" * 400)
            assert process.stderr.read() == f"aiomcast: {file} was not written to: File too large\n".encode()
        finally:
            process.kill()
    assert process.returncode == 1
    assert payloads(tshark, str(file))[0] == b"the first"


WRONG = {
    "no file": ((), 2, "--to is missing"),
    "there already": (("--to", "PLACE/there"), 2, "there is there: name another file, or give --overwrite"),
    "a folder that is not": (("--to", "PLACE/no/feed"), 1, "No such file or directory"),
    "a folder": (("--to", "PLACE", "--overwrite"), 2, "is a folder: name a file"),
    "no device": (("--to", "/dev/full", "--overwrite"), 1, "was not opened: File exists"),
    "no right": (("--to", "/proc/feed"), 1, "/proc/feed was not opened: "),
    "a rotated pipe": (("--to", "-", "--rotate-seconds", "3"), 2, "--rotate-seconds with --to -"),
    "an overwritten pipe": (("--to", "-", "--overwrite"), 2, "--overwrite with --to -"),
    "files of nothing": (("--to", "PLACE/x", "--rotate-bytes", "0"), 2, "--rotate-bytes: 0 is less than 1"),
    "files of no size": (("--to", "PLACE/x", "--rotate-bytes", "much"), 2, "write 512K or 8M"),
    "files of no time": (("--to", "PLACE/x", "--rotate-seconds", "0"), 2, "0 is less than 0.001"),
    "a live view": (("--to", "PLACE/x", "--format", "live"), 2, "--format: 'live' is none of "),
    "no sequence": (("--to", "PLACE/x", "--sequence", "rtp"), 2, "there is no option --sequence"),
}


@linux_only
@pytest.mark.parametrize(("options", "status", "part"), WRONG.values(), ids=WRONG)
def test_wrong_input_gets_one_line(
    group: str, tmp_path: Path, options: tuple[str, ...], status: int, part: str
) -> None:
    (tmp_path / "there").write_text("of old")
    given = [one.replace("PLACE", str(tmp_path)) for one in options]
    command = [*COMMAND, "record", group, PORT_TEXT, "-s", A, "-i", "lo", *given]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    assert (done.returncode, done.stdout) == (status, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("aiomcast: ")
    assert part in line
    assert (tmp_path / "there").read_text() == "of old"
