"""The command `aiomcast` as its users run it: a process, its output, its exit status."""

import base64
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import IO

import pytest

pytest.importorskip("rich")

import aiomcast
from aiomcast.command.arguments import COMMANDS
from aiomcast.reading import options
from tests.support.platforms import IS_WINDOWS, linux_only
from tests.support.sending import LO, by_index

from .test_demo import on_terminal

no_signals = pytest.mark.skipif(IS_WINDOWS, reason="Windows sends a process no such signal")

COMMAND = [sys.executable, "-m", "aiomcast"]
A, B = "127.0.0.2", "127.0.0.3"
PORT = 5000
PORT_TEXT = str(PORT)
FROM_A = ("--source", A, "--interface", "lo")
SECONDS = 30  # more than anything here takes


def run(*arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*COMMAND, *arguments], input=stdin, capture_output=True, timeout=SECONDS)


@contextlib.contextmanager
def listening(
    group: str, *options: str, stdout: int | IO[bytes] = subprocess.PIPE
) -> Iterator[subprocess.Popen[bytes]]:
    """A running `aiomcast listen` on loopback that has joined."""
    command = [*COMMAND, "listen", group, PORT_TEXT, "--interface", "lo", *options]
    with subprocess.Popen(command, stdout=stdout, stderr=subprocess.PIPE) as process:
        try:
            assert process.stderr is not None
            line = process.stderr.readline().decode()
            assert line.startswith(f"listening to {group} port {PORT} on lo, from "), line
            yield process
        finally:
            process.kill()


def ended(process: subprocess.Popen[bytes]) -> tuple[bytes, str]:
    """Return what it wrote yet, and its statistics; it ends well, by itself or by a signal."""
    output, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 0
    (statistics,) = errors.decode().splitlines()
    return output or b"", statistics


def transmit(group: str, *payloads: bytes, source: str = A) -> int:
    """Send with the system's own socket; return the source port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, by_index(LO))
        sock.bind((source, 0))
        for payload in payloads:
            sock.sendto(payload, (group, PORT))
        return int(sock.getsockname()[1])


def test_text_is_a_line_per_packet(group: str) -> None:
    with listening(group, "--source", A, "--count", "4") as process:
        port = transmit(group, b"hello\n", "grüße".encode(), b"\x1b[31m\xff", b"")
        output, statistics = ended(process)
    head = rf"\d\d:\d\d:\d\d\.\d{{6}} lo {re.escape(A)}:{port} > {re.escape(group)}:{PORT}"
    shown = ["6 bytes: hello", "7 bytes: grüße", "6 bytes: 1b 5b 33 31 6d ff", "0 bytes: "]
    for line, end in zip(output.decode().splitlines(), shown, strict=True):
        assert re.fullmatch(f"{head} {re.escape(end)}", line)
    assert statistics.startswith("4 packets, 19 bytes written in ")
    assert "; 4 received, 0 filtered, 0 truncated, 0 left over, 0 dropped by the kernel" in statistics


def test_json_has_every_tag(group: str) -> None:
    payload = bytes(range(256))
    with listening(group, "--source", A, "--count", "2", "--format", "json") as process:
        port = transmit(group, payload, b"")
        output, _ = ended(process)
    first, second = (json.loads(line) for line in output.splitlines())
    stamp = first.pop("timestamp_ns")
    assert (stamp is None) is not options.STAMPS
    assert stamp is None or abs(stamp / 1e9 - datetime.now().timestamp()) < SECONDS
    assert base64.b64decode(first.pop("data")) == payload
    assert first == {
        "source": A,
        "source_port": port,
        "group": group,
        "port": PORT,
        "interface_index": LO,
        "interface": "lo",
        "truncated": False,
        "hop_limit": 1,
        "traffic_class": 0,
        "size": 256,
    }
    assert (second["size"], second["data"]) == (0, "")


def test_hex_is_a_dump(group: str) -> None:
    with listening(group, "--source", A, "--count", "1", "--format", "hex") as process:
        transmit(group, b"\0abc\xff" + b"z" * 13)
        output, _ = ended(process)
    head, *dump = output.decode().splitlines()
    assert head.endswith(" 18 bytes")
    assert dump == [
        "00000000  00 61 62 63 ff 7a 7a 7a 7a 7a 7a 7a 7a 7a 7a 7a  |.abc.zzzzzzzzzzz|",
        "00000010  7a 7a                                            |zz|",
    ]


def test_raw_is_the_payloads_byte_for_byte(group: str) -> None:
    payloads = [bytes(range(256)), b"", b"\r\n\0", b"x" * 65507]
    with listening(group, "--source", A, "--count", "4", "--format", "raw") as process:
        transmit(group, *payloads)
        output, _ = ended(process)
    assert output == b"".join(payloads)


def test_ipv6_and_an_interface_by_index(group6: str) -> None:
    index = str(LO)
    done = run("listen", group6, PORT_TEXT, "--source", "::1", "--interface", index, "--seconds", "0.1")
    assert done.returncode == 1
    doubt, listening, _, _ = done.stderr.decode().splitlines()
    assert doubt.startswith(f"aiomcast: nothing can come to {group6} port {PORT}: ")  # Linux's loopback
    assert listening.startswith(f"listening to {group6} port {PORT} on lo, from ")


@pytest.mark.parametrize(
    ("options", "let_in"), [((), {A, B}), (("--source", A), {A}), (("--exclude", A), {B})]
)
def test_the_sources_let_in(any_group: str, options: tuple[str, ...], let_in: set[str]) -> None:
    count = str(len(let_in))
    with listening(any_group, *options, "--format", "json", "--count", count) as process:
        for source in (A, B):
            transmit(any_group, b"one", source=source)
        output, _ = ended(process)
    assert {json.loads(line)["source"] for line in output.splitlines()} == let_in


def test_seconds_end_it(group: str) -> None:
    with listening(group, "--source", A, "--seconds", "0.5") as process:
        transmit(group, b"one")
        _, statistics = ended(process)
    assert statistics.startswith("1 packets, 3 bytes written in 0.")


@no_signals
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_pipe_sees_packets_as_they_come_and_a_signal_ends_it(group: str, number: signal.Signals) -> None:
    with listening(group, "--source", A) as process:
        assert process.stdout is not None
        for payload in (b"first", b"second"):
            transmit(group, payload)
            assert process.stdout.readline().endswith(payload + b"\n")
        process.send_signal(number)
        _, statistics = ended(process)
    assert statistics.startswith("2 packets, 11 bytes")


def test_a_closed_pipe_ends_it_at_the_next_write(group: str) -> None:
    with listening(group, "--source", A) as process:
        assert process.stdout is not None
        transmit(group, b"first")
        process.stdout.readline()
        process.stdout.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.2)  # where it is told at once, it has ended
        transmit(group, b"second")
        assert process.stderr is not None
        assert process.stderr.read().startswith(b"1 packets, 5 bytes")
        assert process.wait(SECONDS) == 0


@pytest.mark.skipif(IS_WINDOWS, reason="Windows tells of a closed pipe at the next write")
def test_a_closed_pipe_ends_it_at_once(group: str) -> None:
    with listening(group, "--source", A) as process:
        assert process.stdout is not None
        transmit(group, b"first")
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read().startswith(b"1 packets, 5 bytes")  # its end: nothing else is said
        assert process.wait(SECONDS) == 0


@no_signals
def test_a_pipe_that_nobody_reads_does_not_stop_a_signal(group: str) -> None:
    with listening(group, "--source", A, "--format", "raw") as process:
        assert process.stdout is not None
        transmit(group, *[b"x" * 60000] * 3)
        assert process.stdout.read(1) == b"x"  # it has filled the pipe, or is about to
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) == 0


@linux_only
def test_a_full_disk_is_said(group: str) -> None:
    with (
        open("/dev/full", "wb") as full,
        listening(group, "--source", A, stdout=full) as process,
    ):
        transmit(group, b"one")
        _, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 1
    assert errors.decode().splitlines() == ["aiomcast: No space left on device"]


def test_send_numbers_its_packets(group: str) -> None:
    with listening(group, "--source", A, "--format", "json", "--count", "12") as process:
        sent = run("send", group, PORT_TEXT, *FROM_A, "--rate", "0", "--count", "11", "--size", "4")
        assert run("send", group, PORT_TEXT, *FROM_A, "--ttl", "7", "--count", "1").returncode == 0
        output, _ = ended(process)
    packets = [json.loads(line) for line in output.splitlines()]
    payloads = [base64.b64decode(packet["data"]) for packet in packets]
    assert payloads == [*(b"%-4d" % number for number in range(1, 12)), b"1"]
    assert [packet["hop_limit"] for packet in packets] == [1] * 11 + [7]
    assert (sent.returncode, sent.stdout) == (0, b"")
    expected = (
        rf"sent 11 packets, 44 bytes in \d\.\d s to {group} port {PORT} from {A} on lo, "
        "where only this host hears it\n"
    )
    assert re.fullmatch(expected, sent.stderr.decode())


@pytest.mark.parametrize("as_file", [False, True], ids=["pipe", "file"])
def test_send_lines_of_standard_input(group: str, tmp_path: Path, as_file: bool) -> None:
    lines = b"one\n\n" + b"t" * 1400 + b"\nlast"
    arguments = ["send", group, PORT_TEXT, *FROM_A, "--stdin"]
    with listening(group, "--source", A, "--format", "json", "--count", "4") as process:
        if as_file:
            (tmp_path / "lines").write_bytes(lines)
            with open(tmp_path / "lines", "rb") as file:
                sent = subprocess.run(
                    [*COMMAND, *arguments], stdin=file, capture_output=True, timeout=SECONDS
                )
        else:
            sent = run(*arguments, stdin=lines)
        output, _ = ended(process)
    assert [base64.b64decode(json.loads(line)["data"]) for line in output.splitlines()] == lines.split(b"\n")
    assert sent.returncode == 0
    assert sent.stderr.startswith(b"sent 4 packets, 1407 bytes")


def test_a_line_of_windows_ends_in_two_characters(group: str) -> None:
    """Neither is sent there; elsewhere the first is part of the line."""
    with listening(group, "--source", A, "--format", "json", "--count", "2") as process:
        sent = run("send", group, PORT_TEXT, *FROM_A, "--stdin", stdin=b"one\r\ntwo\r\n")
        output, _ = ended(process)
    end = b"" if IS_WINDOWS else b"\r"
    payloads = [base64.b64decode(json.loads(line)["data"]) for line in output.splitlines()]
    assert (payloads, sent.returncode) == ([b"one" + end, b"two" + end], 0)


@no_signals
def test_send_keeps_its_rate_and_ends_by_a_signal(group: str) -> None:
    options = ("--source", A, "--format", "json", "--count", "11")
    command = [*COMMAND, "send", group, PORT_TEXT, *FROM_A, "--rate", "20"]
    with listening(group, *options) as process, subprocess.Popen(command, stderr=subprocess.PIPE) as sender:
        try:
            output, _ = ended(process)
        finally:
            sender.send_signal(signal.SIGINT)
        _, errors = sender.communicate(timeout=SECONDS)
    stamps = [json.loads(line)["timestamp_ns"] for line in output.splitlines()]
    # Ten intervals of 50 ms: the first may be late on a busy machine, and the others then make up for it.
    assert 0.2 < (stamps[-1] - stamps[0]) / 1e9 < 5
    assert sender.returncode == 0
    assert re.fullmatch(r"sent \d+ packets, .*\n", errors.decode())


def test_a_port_of_the_systems_choice_is_said(group: str) -> None:
    done = run("listen", group, "0", "--source", A, "--interface", "lo", "--seconds", "0.1")
    assert done.returncode == 1
    assert re.match(rf"listening to {group} port [1-9]\d+ on lo", done.stderr.decode())


LISTEN = ("listen", "GROUP", PORT_TEXT)
SEND = ("send", "GROUP", PORT_TEXT)
ON_LO = ("--interface", "lo", "--seconds", "0.1")
WRONG: dict[str, tuple[int, tuple[str, ...], str]] = {
    "not an address": (2, ("listen", "example.org", PORT_TEXT), "'example.org' is not an address"),
    "unicast group": (2, ("listen", "192.0.2.1", PORT_TEXT), "not a multicast group"),
    "source of the other family": (2, (*LISTEN, "--source", "::1"), "of one family"),
    "multicast source": (2, (*LISTEN, "--source", "232.1.1.1"), "multicast address"),
    "unspecified source": (2, (*LISTEN, "--source", "0.0.0.0"), "unspecified"),
    "broadcast source": (2, (*LISTEN, "--source", "255.255.255.255"), "broadcast"),
    "port 0": (2, ("send", "GROUP", "0", "--source", A), "from 1 to 65535"),
    "port 0 to be answered": (2, ("send", "GROUP", "0", "--source", A, "--answers", "1"), "from 1 to 65535"),
    "port 70000": (2, ("listen", "GROUP", "70000", "--source", A), "from 1 to 65535"),
    "port abc": (2, ("listen", "GROUP", "abc"), "PORT"),
    "interface name": (2, (*LISTEN, "--source", A, "--interface", "nosuch0"), "there is no interface"),
    "interface index": (2, (*LISTEN, "--source", A, "--interface", "99999"), "there is no interface"),
    "interface address": (2, (*LISTEN, "--source", A, "--interface", "192.0.2.99"), "there is no interface"),
    "any source in 232/8": (2, (*LISTEN, *ON_LO), "RFC 4607"),
    "exclude in 232/8": (2, (*LISTEN, "--exclude", A, *ON_LO), "RFC 4607"),
    "any source in ff3x": (2, ("listen", "ff3e::1234", PORT_TEXT, *ON_LO), "RFC 4607"),
    "duplicate source": (2, (*LISTEN, "--source", A, "--source", A), "listed twice"),
    "source and exclude": (2, (*LISTEN, "--source", A, "--exclude", B), "give one of the two"),
    "unknown option": (2, (*LISTEN, "--nope"), "there is no option --nope"),
    "option without value": (2, (*LISTEN, "--source"), "--source"),
    "unknown format": (2, (*LISTEN, "--format", "xml"), "--format"),
    "count 0": (2, (*LISTEN, "--count", "0"), "--count"),
    "seconds that are none": (2, (*LISTEN, "--seconds", "soon"), "--seconds"),
    "no port": (2, ("listen", "GROUP"), "PORT"),
    "unknown command": (2, ("hear",), "'hear'"),
    "send to unicast": (2, ("send", "192.0.2.1", PORT_TEXT), "not a multicast group"),
    "send with ttl 300": (2, (*SEND, "--ttl", "300", "--interface", "lo"), "ttl 300"),
    "send with size and stdin": (2, (*SEND, "--size", "3", "--stdin"), "--stdin"),
    "send with size and payload": (2, (*SEND, "--size", "3", "--payload", "x"), "--payload"),
    "send nothing of a file": (2, (*SEND, "--size", "0", "--file", __file__), "give 1 or more bytes"),
    "send a file that is none": (2, (*SEND, "--file", "nosuch"), "--file: 'nosuch': No such file"),
    "send from another's address": (
        1,
        (*SEND, "--source", "192.0.2.99", "--interface", "lo"),
        "lo has 127.0.0.1",
    ),
    "send too much": (1, (*SEND, *FROM_A, "--size", "65535"), "65535 bytes"),
    "demo without time": (2, ("demo", "--seconds", "0"), "--seconds"),
}


@pytest.mark.parametrize(("status", "arguments", "part"), WRONG.values(), ids=WRONG)
def test_wrong_input_gets_one_line(group: str, status: int, arguments: tuple[str, ...], part: str) -> None:
    done = run(*(group if argument == "GROUP" else argument for argument in arguments))
    assert done.returncode == status
    assert done.stdout == b""
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("aiomcast: ")
    assert part in line
    assert "Traceback" not in line


def test_a_port_in_use_is_a_refusal(group: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((group, PORT))
        done = run("listen", group, PORT_TEXT, *FROM_A)
    assert done.returncode == 1
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("aiomcast: ")
    assert "Address already in use" in line


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("command", ["interfaces", "--version", "send --help"])
def test_a_full_disk_is_said_once(command: str, unbuffered: str) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*COMMAND, *command.split()],
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=SECONDS,
            env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
        )
    assert (done.returncode, done.stderr) == (1, b"aiomcast: No space left on device\n")


@pytest.mark.parametrize("command", ["interfaces", "demo --seconds 0.5", "--version", "--help"])
def test_a_pipe_closed_from_the_start(command: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "wb") as pipe:
        done = subprocess.run(
            [*COMMAND, *command.split()], stdout=pipe, stderr=subprocess.PIPE, timeout=SECONDS
        )
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.skipif(IS_WINDOWS, reason="there is no shell to close them")
@pytest.mark.parametrize(
    "command", ["interfaces", "demo --seconds 0.5", "send GROUP 5000 --stdin --interface lo"]
)
def test_closed_standard_files(group: str, command: str) -> None:
    line = f"exec {sys.executable} -m aiomcast {command.replace('GROUP', group)} <&- >&-"
    done = subprocess.run(["sh", "-c", line], stderr=subprocess.PIPE, timeout=SECONDS)
    assert done.returncode == 0
    assert b"Traceback" not in done.stderr


def test_version() -> None:
    done = run("--version")
    assert (done.returncode, done.stdout.decode()) == (0, f"aiomcast {aiomcast.__version__}\n")


@pytest.mark.parametrize("option", ["-h", "--help"])
@pytest.mark.parametrize("command", [(), *((name,) for name in COMMANDS)])
def test_help(command: tuple[str, ...], option: str) -> None:
    done = run(*command, option)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode().startswith("Usage: aiomcast")


def test_interfaces_as_lines() -> None:
    done = run("interfaces")
    assert (done.returncode, done.stderr) == (0, b"")
    rows = {line.split("\t")[1]: line.split("\t") for line in done.stdout.decode().splitlines()}
    index, _, addresses, multicast = rows["lo"]
    assert int(index) == LO
    assert "127.0.0.1" in addresses.split(",")
    assert multicast == "yes"


def test_interfaces_as_a_table() -> None:
    shown = on_terminal([*COMMAND, "interfaces"])
    assert "multicast" in shown
    assert "127.0.0.1" in shown


def test_called_alone_it_shows_its_help() -> None:
    done = run()
    assert (done.returncode, done.stderr) == (2, b"")
    assert done.stdout == run("--help").stdout


WITHOUT_RICH = (
    "import sys; sys.modules['rich'] = None\nfrom aiomcast.command.cli import main; sys.exit(main())"
)


def test_without_the_extra_what_draws_says_what_to_install() -> None:
    shown = on_terminal([sys.executable, "-c", WITHOUT_RICH, "interfaces"], status=2)
    assert shown == "aiomcast: drawing on a terminal takes rich: pip install 'aiomcast[cli]'\r\n"


def test_without_the_extra_the_rest_runs(group: str) -> None:
    arguments = ["send", group, PORT_TEXT, *FROM_A, "--count", "1"]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_RICH, *arguments], capture_output=True, timeout=SECONDS
    )
    assert (done.returncode, done.stdout) == (0, b"")
    assert done.stderr.startswith(b"sent 1 packets")
    demo = [sys.executable, "-c", WITHOUT_RICH, "demo", "--seconds", "0.5"]
    assert (
        subprocess.run(demo, capture_output=True, timeout=SECONDS).stdout.split(b"\n")[-2].startswith(b"ok: ")
    )
