"""`aiomcast listen` with several channels, intervals, sequence numbers, its status, and its live view."""

import contextlib
import ipaddress
import json
import os
import re
import select
import signal
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("rich")

from tests.support.platforms import IS_WINDOWS

from .test_cli import COMMAND, PORT, PORT_TEXT, SECONDS, A, B, ended, listening, no_signals, run, transmit

no_terminals = pytest.mark.skipif(IS_WINDOWS, reason="Windows has no such terminals")
ON_LO = ("--interface", "lo")


def neighbour(group: str) -> str:
    """Return the group after this one."""
    return str(ipaddress.ip_address(group) + 1)


@contextlib.contextmanager
def running(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A running `aiomcast listen` with both of its outputs piped."""
    command = [*COMMAND, "listen", *ON_LO, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


def said(process: subprocess.Popen[bytes], lines: int) -> list[str]:
    """Return that many lines of its standard error, waiting for them."""
    assert process.stderr is not None
    return [process.stderr.readline().decode() for _ in range(lines)]


def written(process: subprocess.Popen[bytes]) -> list[str]:
    """Return the lines it wrote, whatever it said; it ends well, by itself or by a signal."""
    output, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 0
    return output.decode().splitlines()


def rtp(number: int) -> bytes:
    return struct.pack(">BBHII", 0x80, 33, number, 0, 7)


def test_channels_of_every_kind_in_one_process(group: str, tmp_path: Path) -> None:
    second = neighbour(group)
    (tmp_path / "channels").write_text(f"{B}@{second}:{PORT}  # the second\n")
    options = ("--channels", str(tmp_path / "channels"), "--count", "2", "--format", "json")
    with running(f"udp://{A}@{group}:{PORT}", *options) as process:
        assert said(process, 2) == [
            f"listening to {group} port {PORT} on lo, from {A}\n",
            f"listening to {second} port {PORT} on lo, from {B}\n",
        ]
        transmit(group, b"refused", source=B)
        transmit(group, b"one")
        transmit(second, b"two", source=B)
        output, _ = ended(process)
    packets = [json.loads(line) for line in output.splitlines()]
    assert {(one["source"], one["group"]) for one in packets} == {(A, group), (B, second)}


def test_sources_of_one_group_are_one_membership(group: str) -> None:
    with running(f"{A}@{group}:{PORT}", f"{B}@{group}:{PORT}", "--count", "2") as process:
        assert said(process, 1) == [f"listening to {group} port {PORT} on lo, from {A}, {B}\n"]
        for source in (A, B):
            transmit(group, b"one", source=source)
        ended(process)


def test_consecutive_groups_and_listed_sources(group: str) -> None:
    with running(f"{group}+2", PORT_TEXT, "-s", f"{A},{B}", "-c", "2") as process:
        assert [line.split(" on ")[0] for line in said(process, 2)] == [
            f"listening to {one} port {PORT}" for one in (group, neighbour(group))
        ]
        for one in (group, neighbour(group)):
            transmit(one, b"one")
        ended(process)


def test_a_channel_that_stays_silent_is_status_1(group: str) -> None:
    second = neighbour(group)
    with running(f"{A}@{group}:{PORT}", f"{B}@{second}:{PORT}", "--seconds", "0.5", "-q") as process:
        deadline = time.monotonic() + SECONDS
        while process.poll() is None and time.monotonic() < deadline:
            transmit(group, b"one")
            select.select((), (), (), 0.02)
        _, errors = process.communicate()
    assert process.returncode == 1
    (line,) = errors.decode().splitlines()
    expected = (
        f"nothing came from {B}@{second}:{PORT}: aiomcast doctor {second} {PORT} -s {B} finds the cause"
    )
    assert line == f"aiomcast: {expected}"


def test_too_few_packets_are_status_1(group: str) -> None:
    with listening(group, "--source", A, "--seconds", "0.5", "--count", "3") as process:
        transmit(group, b"one", b"two")
        _, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 1
    summary, line = errors.decode().splitlines()
    assert summary.startswith("2 packets, 6 bytes written")
    assert line == "aiomcast: 2 of 3 packets came in 0.5 s"


@no_signals
def test_who_ends_a_silent_one_has_not_asked_for_anything(group: str) -> None:
    with listening(group, "--source", A) as process:
        process.send_signal(signal.SIGINT)
        output, _ = ended(process)
    assert output == b""


@no_signals
def test_silence_is_told_of_with_what_finds_the_cause(group: str) -> None:
    with listening(group, "--source", A) as process:
        (line,) = said(process, 1)
        process.send_signal(signal.SIGINT)
        ended(process)
    cause = f"aiomcast doctor {group} {PORT} -s {A}"
    assert line == f"nothing from {group}:{PORT} in 3 s: {cause} finds the cause\n"


def test_intervals_as_json(group: str) -> None:
    options = ("--source", A, "--interval", "0.2", "--format", "json", "--sequence", "rtp", "--count", "4")
    with listening(group, *options) as process:
        transmit(group, *map(rtp, (65534, 65535, 2, 2)))
        lines = [json.loads(line) for line in written(process)]
    assert {(line["group"], line["port"], line["interface"]) for line in lines} == {(group, PORT, "lo")}
    assert sum(line["packets"] for line in lines) == 4
    assert sum(line["octets"] for line in lines) == 48
    counted = [line["sequence"] for line in lines]
    for name, number in {"received": 4, "lost": 2, "duplicates": 1, "reordered": 0, "restarts": 0}.items():
        assert sum(one[name] for one in counted) == number, name
    assert [one["source"] for one in lines[-1]["sources"]] == [A]


@no_signals
def test_intervals_as_lines_go_on_where_nothing_comes(group: str) -> None:
    with listening(group, "--source", A, "--interval", "0.1", "--sequence", "u32le@0") as process:
        assert process.stdout is not None
        lines = [process.stdout.readline().decode() for _ in range(3)]
        process.send_signal(signal.SIGTERM)
        written(process)
    head = rf"\d\d:\d\d:\d\d lo {re.escape(group)}:{PORT}"
    for line in lines:
        assert re.fullmatch(rf"{head} 0 pkt/s 0bit/s 0 lost 0 dropped jitter - last never\n", line), line


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="there is no such signal here")
def test_a_signal_asks_for_the_totals(group: str) -> None:
    with listening(group, "--source", A, "--sequence", "rtp") as process:
        assert process.stdout is not None
        transmit(group, rtp(1), rtp(3))
        for _ in range(2):
            process.stdout.readline()
        process.send_signal(signal.SIGUSR1)
        totals, summary = said(process, 2)
        process.send_signal(signal.SIGINT)
        written(process)
    assert totals.startswith(f"lo {group}:{PORT} {A} 2 packets, 24 bytes, 1 lost, 0 duplicates, 0 reordered")
    assert summary.startswith("2 packets, 24 bytes written in ")


@no_signals
def test_a_slow_pipe_gets_whole_lines_and_the_summary_counts_them(group: str) -> None:
    with listening(group, "--source", A, "--format", "text") as process:
        assert process.stdout is not None
        descriptor = process.stdout.fileno()
        transmit(group, b"first")
        read = os.read(descriptor, 1000)
        for _ in range(20):  # more than a pipe holds, of which nothing is read
            transmit(group, *[b"x" * 60] * 100)
        process.send_signal(signal.SIGINT)
        rest, statistics = ended(process)
    lines = (read + rest).decode().splitlines(keepends=True)
    assert all(line.endswith(f" 60 bytes: {'x' * 60}\n") for line in lines[1:])
    assert statistics.startswith(f"{len(lines)} packets, {60 * (len(lines) - 1) + 5} bytes written")


WRONG = {
    "no channel": ((), "no channel"),
    "an interval of payloads": (
        ("GROUP", PORT_TEXT, "--interval", "1", "--format", "raw"),
        "use text or json",
    ),
    "live without a terminal": (("GROUP", PORT_TEXT, "--format", "live"), "--interval S"),
    "a source here and not there": ((f"{A}@GROUP:5000", "GROUP:5000"), "with a source and without"),
    "a scheme": (("http://GROUP:5000",), "udp:// alone"),
    "a file that is not there": (("--channels", "/nosuch"), "No such file"),
    "a sequence": (("GROUP", PORT_TEXT, "--sequence", "s32@0"), "write rtp, ts, rtp+ts, or u32@0"),
    "a buffer": (("GROUP", PORT_TEXT, "--buffer", "lots"), "write 512K or 8M"),
    "no buffer": (("GROUP", PORT_TEXT, "--buffer", "0"), "receive_buffer 0"),
    "an interval too short": (("GROUP", PORT_TEXT, "--interval", "0.01"), "0.1"),
}


@pytest.mark.parametrize(("arguments", "part"), WRONG.values(), ids=WRONG)
def test_wrong_input_gets_one_line(group: str, arguments: tuple[str, ...], part: str) -> None:
    done = run("listen", *(one.replace("GROUP", group) for one in arguments))
    assert (done.returncode, done.stdout) == (2, b"")
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("aiomcast: ")
    assert part in line


@contextlib.contextmanager
def on_a_terminal(rows: int, columns: int, *arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A running `aiomcast listen` whose terminal is this big, and what that shows."""
    import pty
    import termios

    controller, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (rows, columns))
    environment = os.environ | {"TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8"}
    command = [*COMMAND, "listen", *ON_LO, *arguments]
    with subprocess.Popen(
        command, stdin=terminal, stdout=terminal, stderr=terminal, env=environment
    ) as process:
        os.close(terminal)
        try:
            yield process, controller
        finally:
            process.kill()
            os.close(controller)


def shown_until(controller: int, is_enough: Callable[[str], bool]) -> str:
    """Return what a terminal shows, without its codes, until that is enough or nobody writes any more."""
    shown, text = b"", ""
    deadline = time.monotonic() + SECONDS
    while (
        not is_enough(text) and select.select((controller,), (), (), max(0.0, deadline - time.monotonic()))[0]
    ):
        try:
            shown += os.read(controller, 65536)
        except OSError:  # EIO: the other end is closed
            break
        text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode(errors="replace"))
    return text


@no_terminals
@pytest.mark.parametrize(("rows", "columns"), [(24, 80), (20, 50)])
def test_the_live_view_is_whole_and_stays_when_it_ends(group: str, rows: int, columns: int) -> None:
    channels = (f"{group}+2:{PORT}", "-s", f"{A},{B}", "--sequence", "rtp", "--interval", "0.1")
    with on_a_terminal(rows, columns, *channels) as (process, controller):
        shown_until(controller, lambda text: "all 2 channels" in text)
        transmit(group, rtp(1), rtp(5))
        text = shown_until(controller, lambda text: re.search(rf"{A} .* 3 .*s\r\n", text) is not None)
        assert f"{group}:{PORT}" in text
        process.send_signal(signal.SIGINT)
        end = shown_until(controller, lambda text: "left over" in text)
        assert process.wait(SECONDS) == 0
    table = end[end.rindex("pkt/s") :].splitlines()
    assert [line.split()[0] for line in table[1:7]] == [
        f"{group}:{PORT}", A, B, f"{neighbour(group)}:{PORT}", A, B,
    ]  # fmt: skip
    assert table[7].startswith("all 2 channels")
    assert "2 packets, 24 bytes counted in " in " ".join(table)


@no_terminals
def test_the_live_view_follows_the_size_of_the_terminal(group: str) -> None:
    import termios

    with on_a_terminal(24, 80, group, PORT_TEXT, "-s", A, "--interval", "3600") as (process, controller):
        shown_until(controller, lambda text: "dropped by" in text)
        termios.tcsetwinsize(controller, (30, 120))
        process.send_signal(signal.SIGWINCH)
        assert "packets" in shown_until(controller, lambda text: "packets" in text)  # 80 have no room for it
        process.send_signal(signal.SIGINT)
        assert "left over" in shown_until(controller, lambda text: "left over" in text)
        assert process.wait(SECONDS) == 0


def test_losses_are_said_at_the_end(group: str) -> None:
    with listening(group, "--source", A, "--sequence", "u32@0", "--count", "3") as process:
        transmit(group, *(number.to_bytes(4) for number in (7, 9, 9)))
        _, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 0
    totals, summary = errors.decode().splitlines()
    assert totals.startswith(f"lo {group}:{PORT} {A} 3 packets, 12 bytes, 1 lost, 1 duplicates")
    assert summary.startswith("3 packets, 12 bytes written")


@no_terminals
def test_packets_on_a_terminal_are_never_raw(group: str) -> None:
    with on_a_terminal(24, 80, group, PORT_TEXT, "-s", A, "-f", "raw") as (process, controller):
        assert "--format raw to a terminal" in shown_until(controller, lambda text: "pipe" in text)
        assert process.wait(SECONDS) == 2
    with on_a_terminal(24, 80, group, PORT_TEXT, "-s", A, "-f", "text", "-c", "1") as (process, controller):
        shown_until(controller, lambda text: "listening" in text)
        transmit(group, b"\x1b]0;title\x07")
        shown = shown_until(controller, lambda text: "left over" in text)
        assert "10 bytes: 1b 5d 30 3b" in shown.replace("\r\n", "")
        assert process.wait(SECONDS) == 0
