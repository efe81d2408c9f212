"""What the command has to do otherwise on Windows: tags by the reader's own way, lines, closed pipes."""

from __future__ import annotations

import base64
import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

pytest.importorskip("rich")

from tests.support.platforms import IS_WINDOWS
from tests.support.sending import LO, A, Sources

pytestmark = pytest.mark.skipif(not IS_WINDOWS, reason="it is Windows' own")

COMMAND = [sys.executable, "-m", "aiomcast"]
PORT = 5000
SECONDS = 30  # more than anything here takes


@contextlib.contextmanager
def listening(group: str, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """A running `aiomcast listen` on loopback that has joined."""
    command = [*COMMAND, "listen", group, str(PORT), "--interface", str(LO), "--source", A, *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            assert process.stderr is not None
            line = process.stderr.readline()
            assert line.startswith(b"listening to "), line
            yield process
        finally:
            process.kill()


def test_lines_that_end_in_two_characters_arrive_with_their_tags(group: str) -> None:
    with listening(group, "--format", "json", "--count", "3") as listener:
        sent = subprocess.run(
            [*COMMAND, "send", group, str(PORT), "--source", A, "--interface", str(LO), "--stdin"],
            input=b"one\r\n\r\nlast",
            capture_output=True,
            timeout=SECONDS,
        )
        assert sent.returncode == 0, sent.stderr
        written, _ = listener.communicate(timeout=SECONDS)
    assert listener.returncode == 0
    packets = [json.loads(line) for line in written.splitlines()]
    assert [base64.b64decode(packet["data"]) for packet in packets] == [b"one", b"", b"last"]
    assert [
        (packet["source"], packet["group"], packet["interface_index"], packet["hop_limit"])
        for packet in packets
    ] == [(A, group, LO, 1)] * 3
    assert [packet["traffic_class"] for packet in packets] == [0] * 3


def test_a_closed_pipe_ends_it_well_at_the_next_write(group: str) -> None:
    """It is EINVAL there, and not EPIPE."""
    with listening(group, "--format", "raw") as listener, Sources(group, PORT) as sources:
        assert listener.stdout is not None
        assert listener.stderr is not None
        sources.send(A, b"first")
        assert listener.stdout.read(5) == b"first"
        listener.stdout.close()
        sources.send(A, b"second")
        assert listener.stderr.read().startswith(b"1 packets, 5 bytes written")
        assert listener.wait(SECONDS) == 0


@pytest.mark.parametrize("arguments", [["interfaces"], ["--help"], ["--version"]], ids=" ".join)
def test_a_pipe_that_nobody_reads_from_the_start(arguments: list[str]) -> None:
    with subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.close()  # long before anything is written
        assert process.stderr is not None
        assert process.stderr.read() == b""
        assert process.wait(SECONDS) == 0
