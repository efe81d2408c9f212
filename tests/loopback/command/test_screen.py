"""The terminal is given back, whatever happens to a view, and drawn on when it is there again."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("rich")
pytest.importorskip("pty", reason="Windows has no such terminals")

from tests.support.terminal import Terminal

from .test_cli import COMMAND, PORT_TEXT, A, transmit

ENTERED, LEFT = "\x1b[?1049h", "\x1b[?1049l"
NEXT = "ready> "
FAILING = """
import sys
from aiomcast.command import view
from aiomcast.command.cli import main

draw = view.View.__rich_console__
drawn = []

def fail(self, *given):
    drawn.append(1)
    if len(drawn) > GOOD:
        raise RuntimeError("it cannot be drawn")
    return draw(self, *given)

view.View.__rich_console__ = fail
sys.exit(main())
"""
TELLING = """
import asyncio, logging, sys
from rich.text import Text
from aiomcast.command.screen import Screen

async def main():
    screen = Screen()
    screen.draw(Text("the first view"))
    logging.getLogger("aiomcast").warning("said by the log")
    print("said", "with no end", end="", file=sys.stderr)
    screen.draw(Text("the second view"))
    screen.close()
    screen.close()
    print("written afterwards", file=sys.stderr)

asyncio.run(main())
"""


def is_given_back(shown: str) -> bool:
    """Whether it has the screen that it had, and its cursor."""
    entered = shown.count(ENTERED)
    cursor = re.findall(r"\x1b\[\?25([hl])", shown)
    return entered == shown.count(LEFT) and shown.rfind(LEFT) >= shown.rfind(ENTERED) and cursor[-1:] != ["l"]


def listen(group: str, *options: str) -> list[str]:
    return [*COMMAND, "listen", group, PORT_TEXT, "-s", A, "-i", "lo", *options]


@pytest.fixture
def environment() -> dict[str, str]:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return os.environ | {"PS1": NEXT, "PATH": path}


@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGINT, 0), (signal.SIGTERM, 0), (signal.SIGHUP, 0), (signal.SIGQUIT, -signal.SIGQUIT)],
)
def test_a_signal_gives_the_terminal_back(group: str, number: signal.Signals, status: int) -> None:
    with Terminal(listen(group, "--interval", "3600"), rows=24, columns=80) as terminal:
        terminal.read_until("dropped by")
        terminal.process.send_signal(number)
    assert terminal.process.returncode == status
    assert ENTERED in terminal.shown
    assert is_given_back(terminal.shown)
    assert ("left over" in terminal.shown) is (status == 0)


@pytest.mark.parametrize("name", ["SIGTSTP", "SIGSTOP"])
def test_what_was_stopped_goes_on(group: str, environment: dict[str, str], name: str) -> None:
    """A shell's Ctrl-Z, and what cannot be handled: then its screen is left when it goes on."""
    command = " ".join(listen(group, "--interval", "3600"))
    shell = ["bash", "--norc", "--noprofile", "-i"]
    with Terminal(shell, rows=24, columns=80, env=environment) as terminal:
        terminal.read_until(NEXT)
        terminal.type(f"{command}\n")
        terminal.read_until("dropped by")
        if name == "SIGTSTP":
            terminal.type("\x1a")
            terminal.read_until("Stopped")
            assert is_given_back(terminal.shown.partition("Stopped")[0])
        else:
            children = Path(f"/proc/{terminal.process.pid}/task/{terminal.process.pid}/children")
            os.kill(int(children.read_text()), signal.SIGSTOP)
            terminal.read_until("Stopped")
        terminal.type("fg\n")
        terminal.read_until("dropped by", after=ENTERED)
        terminal.type("\x03")
        terminal.read_until(NEXT, after="left over")
        assert is_given_back(terminal.shown)
        terminal.type("exit\n")
    assert terminal.shown.count(ENTERED) == 2


def test_in_the_background_nothing_is_drawn(group: str, environment: dict[str, str]) -> None:
    command = " ".join(listen(group, "--interval", "0.1", "--count", "1"))
    with Terminal(["bash", "--norc", "--noprofile", "-i"], rows=24, columns=80, env=environment) as terminal:
        terminal.read_until(NEXT)
        terminal.type(f"{command}\n")
        terminal.read_until("dropped by")
        terminal.type("\x1a")
        terminal.read_until(NEXT, after="Stopped")
        terminal.type("bg; sleep 0.5; echo still $((1 + 1))\n")  # five times as long as to the next drawing
        terminal.read_until("still 2")
        transmit(group, b"the last")
        terminal.type("wait; exit\n")
    assert terminal.shown.count(ENTERED) == 1
    assert "1 packets, 8 bytes counted" in terminal.shown.replace("\r\n", " ")


@pytest.mark.parametrize("good", [0, 1])
def test_what_cannot_be_drawn_leaves_the_terminal_whole(group: str, good: int) -> None:
    code = FAILING.replace("GOOD", str(good))
    command = [sys.executable, "-c", code, *listen(group, "--interval", "3600")[len(COMMAND) :]]
    with Terminal(command, rows=24, columns=80) as terminal:
        if good:
            terminal.read_until("dropped by")
            terminal.resize(30, 100)  # drawn anew for that alone
    assert terminal.process.returncode == 1
    assert is_given_back(terminal.shown)
    assert "RuntimeError: it cannot be drawn" in terminal.shown[terminal.shown.rindex(LEFT) :]


def test_a_terminal_that_changes_all_the_time(group: str) -> None:
    with Terminal(listen(group, "--interval", "0.1"), rows=24, columns=80) as terminal:
        terminal.read_until("dropped by")
        for columns in range(40, 131):
            terminal.resize(24, columns)
        terminal.read_until("bytes", after="packets")  # which 130 columns have room for
        terminal.process.send_signal(signal.SIGTERM)
    assert terminal.process.returncode == 0
    assert is_given_back(terminal.shown)


def test_what_is_said_meanwhile_is_shown_and_then_written() -> None:
    with Terminal([sys.executable, "-c", TELLING], rows=10, columns=40) as terminal:
        pass
    screen, _, rest = terminal.shown.rpartition(LEFT)
    assert "the second view" in screen
    assert "said by the log" in screen[screen.index("the second view") :]
    assert rest.split("\r\n")[:3] == ["said by the log", "said with no end", "written afterwards"]
    assert terminal.process.returncode == 0


def test_hangup_is_left_alone_where_it_is_ignored(group: str) -> None:
    command = ["nohup", *listen(group, "--count", "1")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            while not process.stderr.readline().startswith("listening"):
                assert process.poll() is None
            process.send_signal(signal.SIGHUP)
            transmit(group, b"the last")
            assert process.stdout.readline().endswith("8 bytes: the last\n")
        finally:
            process.kill()
