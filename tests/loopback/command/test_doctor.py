"""`aiomcast doctor` as its users run it: what it writes, and its exit status."""

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

pytest.importorskip("rich")

from tests.support.platforms import linux_only
from tests.support.repeating import repeating
from tests.support.sending import LO, by_index

COMMAND = [sys.executable, "-m", "aiomcast", "doctor"]
SOURCE = "127.0.0.2"
QUICK = ("--interface", "lo", "--seconds", "0.3")
SECONDS = 30  # more than anything here takes


def run(*arguments: str, columns: int = 80) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"COLUMNS": str(columns)}
    return subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, timeout=SECONDS, env=environment
    )


@contextmanager
def flowing(group: str) -> Iterator[None]:
    """Somebody sends all the while."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, by_index(LO))
        sock.bind((SOURCE, 0))
        with repeating(lambda: sock.sendto(b"x", (group, 5000))):
            yield


@linux_only
def test_it_flows(group: str) -> None:
    with flowing(group):
        done = run(group, "5000", "-s", SOURCE, *QUICK)
        both = run(group, "5000", "-s", f"{SOURCE},127.0.0.9", *QUICK)
    assert done.returncode == 0, done
    assert done.stdout.startswith(f"{group} port 5000 from {SOURCE}, on lo, looked at for 0.3 s\n\nflows: ")
    assert f"packets come in from {SOURCE}; nothing from 127.0.0.9" in both.stdout.replace("\n  ", " ")
    assert done.stderr == ""


def test_a_cause_is_here(any_group: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as selfish:
        selfish.bind(("", 0))
        port = str(selfish.getsockname()[1])
        done = run(any_group, port, *QUICK)
        told = run(any_group, port, *QUICK, "--format", "json")
    assert (done.returncode, told.returncode) == (1, 1)
    assert f"\n  mend: ss -ulnp sport = :{port}\n" in done.stdout
    assert json.loads(told.stdout)["verdict"]["kind"] == "port held"


@linux_only
def test_json_has_the_facts(any_group: str) -> None:
    told = json.loads(run(any_group, "5000", "-f", "json", "-i", "lo", "--seconds", "0.05").stdout)
    assert set(told) == {"verdict", "others", "facts", "unseen"}
    assert set(told["verdict"]) == {"kind", "text", "remedy", "evidence"}
    assert (told["facts"]["group"], told["facts"]["member"], told["facts"]["interface"]) == (
        any_group,
        True,
        "lo",
    )


@linux_only
@pytest.mark.parametrize("columns", [50, 80])
def test_it_is_as_wide_as_the_terminal(any_group: str, columns: int) -> None:
    lines = run(
        any_group, "5000", "--interface", "lo", "--seconds", "0.05", columns=columns
    ).stdout.splitlines()
    assert all(len(line) <= columns for line in lines if not line.startswith("  mend: "))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["10.0.0.1", "5000"], "10.0.0.1 is not a multicast group"),
        (["239.1.1.1", "0"], "port 0 is not a UDP port"),
        (["239.1.1.1", "5000", "--seconds", "0"], "--seconds"),
        (["239.1.1.1", "5000", "--format", "xml"], "--format"),
        (["239.1.1.1", "5000", "--interface", "none-such"], "none-such"),
        (["239.1.1.1", "5000", "--source", "::1"], "::1"),
    ],
)
def test_wrong_usage_is_one_line(arguments: list[str], said: str) -> None:
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert re.fullmatch(r"aiomcast: [^\n]+\n", done.stderr)
