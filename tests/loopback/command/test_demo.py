"""`aiomcast demo`: as plain lines, on a terminal, cut short, and with a fault to find."""

import errno
import re
import signal
import subprocess
import sys

import pytest

pytest.importorskip("rich")

from aiomcast import FilterMode, Flow, Packet, SourceFilter
from aiomcast.command import demonstration as demo
from aiomcast.command.verdict import SOURCES, Demonstration

A, B, _ = SOURCES
NOT_OFF = "none from a source that was switched off"
DEMO = [sys.executable, "-m", "aiomcast", "demo"]
OK = re.compile(r"ok: ([1-9][\d,]*) packets; none from a source that was switched off; none lost")


def on_terminal(command: list[str], *, columns: int = 120, status: int = 0) -> str:
    """Run `command` on a pseudo-terminal; return what it showed, without its control sequences."""
    pytest.importorskip("pty", reason="Windows has no such terminals")
    from tests.support.terminal import Terminal

    with Terminal(command, columns=columns) as terminal:
        pass
    assert terminal.process.returncode == status
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.shown)


def test_plain_lines_end_with_the_verdict() -> None:
    done = subprocess.run([*DEMO, "--seconds", "1.5"], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")
    first, *swaps, last = done.stdout.splitlines()
    assert OK.fullmatch(last)
    assert re.fullmatch(r"232\.\d+\.\d+\.\d+ port \d+ on loopback", first)
    assert len(swaps) >= 3
    assert all(
        re.fullmatch(r" *\d+\.\d s  let in 127[\d., ]+; received 127[\d.:, ]+", line) for line in swaps
    )


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_on_a_terminal_it_draws_a_table(columns: int) -> None:
    text = on_terminal([*DEMO, "--seconds", "1"], columns=columns)
    lines = [line for line in text.splitlines() if line.strip()]
    assert max(map(len, lines)) <= columns
    cells = [re.findall(r"[^│]+", line) for line in lines if "127.0.0." in line]
    assert {row[0].strip() for row in cells} == set(SOURCES)
    assert {row[1].strip() for row in cells} == {"● let in", "○ shut out"}
    assert any("█" in row[4] for row in cells)
    assert text.count("coming in") > 3  # drawn again and again
    assert OK.search(" ".join(line.strip() for line in lines[-2:]))


def test_cut_short_it_still_judges() -> None:
    with subprocess.Popen([*DEMO, "--seconds", "50"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        while "received 127.0.0.2: 0" in (line := process.stdout.readline()) or "port" in line:
            pass  # until the line of the first swap
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert OK.fullmatch(rest.splitlines()[-1])


def packet(source: str, number: int) -> Packet:
    return Packet(b"%d" % number, Flow(source, 4000, "232.1.1.1", 5000, 1))


@pytest.mark.parametrize(
    ("arrived", "expected"),
    [
        ([(A, 1), (A, 2)], f"ok: 2 packets; {NOT_OFF}; none lost"),
        ([(A, 1), (B, 1)], "FAILED: 2 packets; 1 from a source that was switched off; none lost"),
        ([(A, 1), (A, 3)], f"FAILED: 2 packets; {NOT_OFF}; 1 lost"),
        ([(A, 1), (A, 1)], f"FAILED: 2 packets; {NOT_OFF}; none lost; 1 came twice"),
        ([(A, 1), ("192.0.2.1", 2)], "FAILED: 1 packets; 1 from a source that was switched off; none lost"),
        ([(A, number) for number in range(1099)], f"ok: 1,099 packets; {NOT_OFF}; none lost"),
        ([], f"FAILED: no packets; {NOT_OFF}; none lost"),
    ],
    ids=["right", "leaked", "lost", "doubled", "stranger", "many", "nothing came"],
)
def test_the_verdict_finds_faults(arrived: list[tuple[str, int]], expected: str) -> None:
    run = Demonstration("232.1.1.1", 5000, 1.0, in_force=frozenset({A}))
    for source, number in arrived:
        run.take(packet(source, number))
    for one in run.sources.values():
        one.settle()
    assert run.verdict() == expected
    assert run.is_right is expected.startswith("ok")


async def test_a_receiver_that_ignores_its_filter_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo judges by its own record: make a swap that lets all in, and the status is 1."""
    import aiomcast

    swap = aiomcast.Membership.swap

    async def leak(membership: aiomcast.Membership, sources: object) -> None:
        await swap(membership, SourceFilter(FilterMode.INCLUDE, SOURCES))

    monkeypatch.setattr(aiomcast.Membership, "swap", leak)
    assert await demo.run(0.6) == 1


async def test_a_packet_that_cannot_be_sent_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import aiomcast

    send = aiomcast.Sender.send

    async def refused(sender: aiomcast.Sender, data: bytes) -> None:
        if data == b"20" and sender.source == B:
            raise aiomcast.RefusedError(errno.EPERM, "sending 2 bytes: Operation not permitted", "a firewall")
        await send(sender, data)

    monkeypatch.setattr(aiomcast.Sender, "send", refused)
    assert await demo.run(50) == 1
    *_, last = capsys.readouterr().out.splitlines()
    end = f"none lost; {B} could not send: sending 2 bytes: Operation not permitted: a firewall"
    assert re.fullmatch(rf"FAILED: \d+ packets; {NOT_OFF}; {re.escape(end)}", last)
