"""`aiomcast demo`: as plain lines, on a terminal, cut short, and with a fault to find."""

import re
import signal
import subprocess
import sys

import pytest

pytest.importorskip("rich")

from aiomcast import FilterMode, Flow, Packet, SourceFilter
from aiomcast.command import demonstration as demo

DEMO = [sys.executable, "-m", "aiomcast", "demo"]
VERDICT = re.compile(
    r"(?P<word>ok|FAILED): packets from sources not in force: (?P<leaked>\d+) of (?P<shut_out>\d+); "
    r"seen (?P<seen>\d+), lost (?P<lost>\d+), doubled (?P<doubled>\d+); swaps (?P<swaps>\d+)"
)


def counted(line: str) -> dict[str, int]:
    """Return the numbers of an "ok" verdict."""
    found = VERDICT.fullmatch(line.strip())
    assert found is not None, line
    assert found["word"] == "ok"
    return {name: int(number) for name, number in found.groupdict().items() if name != "word"}


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
    numbers = counted(last)
    assert re.fullmatch(r"232\.\d+\.\d+\.\d+ port \d+ on loopback", first)
    assert numbers["swaps"] >= 2
    assert len(swaps) == numbers["swaps"] + 1
    assert numbers["leaked"] == numbers["lost"] == numbers["doubled"] == 0
    assert numbers["seen"] > 0
    assert numbers["shut_out"] > 0


def test_on_a_terminal_it_draws_a_table() -> None:
    text = on_terminal([*DEMO, "--seconds", "1.5"])
    assert counted(text.splitlines()[-1])["seen"] > 0
    assert "let in" in text
    assert "shut out" in text
    assert text.count("packets coming in") > 3  # drawn again and again


def test_cut_short_it_still_judges() -> None:
    with subprocess.Popen([*DEMO, "--seconds", "50"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        while "received 127.0.0.2: 0" in (line := process.stdout.readline()) or "port" in line:
            pass  # until the line of the first swap
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert counted(rest.splitlines()[-1])["swaps"] >= 1


def packet(source: str, number: int) -> Packet:
    return Packet(b"%d" % number, Flow(source, 4000, "232.1.1.1", 5000, 1))


@pytest.mark.parametrize(
    ("arrived", "expected"),
    [
        ([(demo.A, 1), (demo.A, 2)], "ok"),
        ([(demo.A, 1), (demo.B, 1)], "FAILED"),
        ([(demo.A, 1), (demo.A, 3)], "FAILED"),
        ([(demo.A, 1), (demo.A, 1)], "FAILED"),
        ([(demo.A, 1), ("192.0.2.1", 2)], "FAILED"),
        ([], "FAILED"),
    ],
    ids=["right", "leaked", "lost", "doubled", "stranger", "nothing came"],
)
def test_the_verdict_finds_faults(arrived: list[tuple[str, int]], expected: str) -> None:
    run = demo.Demonstration("232.1.1.1", 5000, 1.0, in_force=frozenset({demo.A}))
    for source, number in arrived:
        run.take(packet(source, number))
    for one in run.sources.values():
        one.settle()
    assert run.verdict().startswith(expected + ":")
    assert run.is_right is (expected == "ok")


async def test_a_receiver_that_ignores_its_filter_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo judges by its own record: make a swap that lets all in, and the status is 1."""
    import aiomcast

    swap = aiomcast.Membership.swap

    async def leak(membership: aiomcast.Membership, sources: object) -> None:
        await swap(membership, SourceFilter(FilterMode.INCLUDE, demo.SOURCES))

    monkeypatch.setattr(aiomcast.Membership, "swap", leak)
    assert await demo.run(0.6) == 1
