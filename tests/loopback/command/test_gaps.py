"""`aiomcast gaps`: who lost what, told exactly, of lines whose senders leave out known numbers."""

import contextlib
import json
import random
import re
import signal
import socket
import subprocess
from collections.abc import Iterable, Iterator

import pytest

pytest.importorskip("rich")

from tests.support.platforms import IS_WINDOWS
from tests.support.sending import LO, by_index

from .test_cli import COMMAND, PORT, SECONDS, A, B, no_signals
from .test_listen import neighbour, no_terminals

U32 = ("--sequence", "u32@0")
Line = tuple[str, str, int]  # source, group, port


@contextlib.contextmanager
def comparing(*arguments: str, lines: int) -> Iterator[subprocess.Popen[str]]:
    """A running `aiomcast gaps` that has joined its lines."""
    command = [*COMMAND, "gaps", *arguments, "-i", "lo"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        try:
            assert process.stderr is not None
            for _ in range(lines):
                line = process.stderr.readline()
                assert line.startswith("comparing "), line
            yield process
        finally:
            process.kill()


def bound(source: str) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, by_index(LO))
    sock.bind((source, 0))
    return sock


def send(packets: Iterable[tuple[Line, int]]) -> None:
    """Send numbers of lines in this order."""
    senders: dict[str, socket.socket] = {}
    with contextlib.ExitStack() as stack:
        for (source, group, port), number in packets:
            if source not in senders:
                senders[source] = stack.enter_context(bound(source))
            senders[source].sendto(number.to_bytes(4) + bytes(50), (group, port))


def until(process: subprocess.Popen[str], received: int) -> list[dict[str, object]]:
    """Return what it writes until its intervals have told of so many packets, and after it is ended."""
    assert process.stdout is not None
    told, come, is_ended = [], 0, False
    for line in process.stdout:
        told.append(json.loads(line))
        come += told[-1]["received"] if told[-1]["kind"] == "line" else 0
        if come == received and not is_ended:
            process.send_signal(signal.SIGINT)
            is_ended = True
    process.wait(SECONDS)
    return told


def of(told: list[dict[str, object]], kind: str) -> list[dict[str, object]]:
    return [one for one in told if one["kind"] == kind]


@no_signals
@pytest.mark.parametrize("seed", [1, 2])
def test_each_line_lost_what_its_sender_left_out(group: str, seed: int) -> None:
    draw = random.Random(seed)
    a, b = (A, group, PORT), (B, neighbour(group), PORT + 1)
    numbers = range(1, 1001)
    left_out = {line: {one for one in numbers[1:-1] if draw.random() < 0.1} for line in (a, b)}
    here = {a: left_out[a] - left_out[b], b: left_out[b] - left_out[a]}
    everywhere = left_out[a] & left_out[b]
    sent = [(line, one) for one in numbers for line in (a, b) if one not in left_out[line]]
    channels = [f"{source}@{one}:{port}" for source, one, port in (a, b)]
    options = ("--interval", "0.1", "--format", "json", "--hold", "0.05")
    with comparing(*channels, *U32, *options, lines=2) as process:
        send(sent)
        told = until(process, len(sent))
    assert process.returncode == 1
    first, second = of(told, "total")
    for line, total in ((a, first), (b, second)):
        assert total["lost_here"] == len(here[line])
        assert total["lost_everywhere"] == len(everywhere)
        assert total["received"] == len(numbers) - len(left_out[line])
        nothing = ("late", "duplicates", "reordered", "restarts", "astray", "unreadable", "dropped")
        assert {total[name] for name in nothing} == {0}
    assert [total["line"] for total in (first, second)] == [f"{channel} on lo" for channel in channels]
    (feed,) = of(told, "feed")
    assert (feed["delivered"], feed["lost"]) == (len(numbers) - len(everywhere), len(everywhere))
    found = of(told, "gap")
    assert {
        n for gap in found for n in range(int(str(gap["first"])), int(str(gap["last"])) + 1)
    } == everywhere
    assert feed["gaps"] == len(found)
    intervals = of(told, "line")
    for name in ("received", "won", "lost_here", "lost_everywhere"):
        assert sum(int(str(one[name])) for one in intervals) <= int(str(first[name])) + int(str(second[name]))


@no_signals
def test_one_line_with_losses_duplicates_and_reordering(group: str) -> None:
    line = (A, group, PORT)
    numbers = [10, 11, 14, 14, 13, 15, 20, 900000000, 900000001, 900000002]
    with comparing(f"{A}@{group}:{PORT}", *U32, "--interval", "0.1", "-f", "json", lines=1) as process:
        send((line, one) for one in numbers)
        told = until(process, len(numbers))
    (total,) = of(told, "total")
    assert process.returncode == 1
    wanted = {"lost": 5, "duplicates": 1, "reordered": 1, "restarts": 1, "unreadable": 0}
    assert {name: total[name] for name in wanted} == wanted
    assert [(gap["first"], gap["last"], gap["count"]) for gap in of(told, "gap")] == [
        (12, 13, 2),
        (16, 19, 4),
    ]
    (restart,) = of(told, "restart")
    assert (restart["last"], restart["first"]) == (20, 900000001)


def test_text_says_who_lost_what_and_a_count_ends_it(group: str) -> None:
    lines = (A, group, PORT), (B, group, PORT)  # one membership of two sources
    channels = [f"{source}@{group}:{PORT}" for source in (A, B)]
    with comparing(*channels, *U32, "--hold", "0", "--count", "5", lines=2) as process:
        send((line, one) for one in (1, 2, 4, 5, 6) for line in lines)
        output, errors = process.communicate(timeout=SECONDS)
    assert (process.returncode, errors) == (1, "")
    gap, *_, first, second, feed = output.splitlines()
    where = rf"{re.escape(group)}:{PORT}"
    assert re.fullmatch(rf"\d\d:\d\d:\d\d\.\d{{3}} gap 3, 1 lost, {where} from 127\.0\.0\.[23]", gap)
    assert re.match(rf"127\.0\.0\.2@{where} on lo: \d received, \d won, 0 lost here but not there, ", first)
    assert re.match(rf"127\.0\.0\.3@{where} on lo: \d received, ", second)
    assert feed == "feed: 5 packets, 1 lost on all lines in 1 gaps"


def test_nothing_lost_is_status_0(group: str) -> None:
    with comparing(f"{A}@{group}:{PORT}", *U32, "--count", "3", "-q", lines=0) as process:
        with bound(A) as sender:
            number = 0
            while process.poll() is None:
                number += 1
                sender.sendto(number.to_bytes(4), (group, PORT))
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(0.01)
        output, errors = process.communicate(timeout=SECONDS)
    assert (process.returncode, errors) == (0, "")
    assert output.splitlines()[-1] == "feed: 3 packets, none lost on the line"


def test_a_line_of_which_nothing_came_is_status_1(group: str) -> None:
    channels = [f"{A}@{group}:{PORT}", f"{B}@{neighbour(group)}:{PORT}"]
    with comparing(*channels, *U32, "--seconds", "1", lines=2) as process:
        send([((A, group, PORT), 1), ((A, group, PORT), 2)])
        _, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 1
    command = f"aiomcast doctor {neighbour(group)} {PORT} -s {B}"
    assert errors == f"aiomcast: nothing came from {channels[1]} on lo: {command} finds the cause\n"


def test_too_few_are_status_1(group: str) -> None:
    with comparing(f"{A}@{group}:{PORT}", *U32, "--seconds", "1", "-c", "3", lines=1) as process:
        send([((A, group, PORT), 1), ((A, group, PORT), 2)])
        _, errors = process.communicate(timeout=SECONDS)
    assert (process.returncode, errors) == (1, "aiomcast: 2 of 3 packets came in 1 s\n")


@pytest.mark.skipif(IS_WINDOWS, reason="Windows tells of a closed pipe at the next write")
def test_a_closed_pipe_ends_it_and_it_still_judges(group: str) -> None:
    with comparing(f"{A}@{group}:{PORT}", *U32, "--interval", "3600", lines=1) as process:
        assert process.stdout is not None
        send(((A, group, PORT), one) for one in (1, 3))
        assert " gap 2, 1 lost, " in process.stdout.readline()
        process.stdout.close()
        assert process.wait(SECONDS) == 1
        assert process.stderr is not None
        assert process.stderr.read() == ""


@no_terminals
@pytest.mark.parametrize(("rows", "columns"), [(24, 80), (20, 50)])
def test_the_live_table_is_whole_and_stays(group: str, rows: int, columns: int) -> None:
    from tests.support.terminal import Terminal

    lines = (A, group, PORT), (B, group, PORT + 1)
    channels = [f"{A}@{group}:{PORT}", f"{B}@{group}:{PORT + 1}"]
    command = [*COMMAND, "gaps", *channels, *U32, "-i", "lo", "--interval", "0.1", "--hold", "0"]
    with Terminal(command, rows=rows, columns=columns) as terminal:
        terminal.read_until("none lost on all lines")
        send((line, one) for one in (1, 2, 4, 5) for line in lines)
        terminal.read_until(" gap 3, 1 lost")
        terminal.process.send_signal(signal.SIGINT)
    assert terminal.process.returncode == 1
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.shown[terminal.shown.rindex("\x1b[?1049l") :])
    head, first, second, verdict = (line.rstrip() for line in shown.splitlines() if line.strip())
    assert all(len(line) <= columns for line in (head, first, second, verdict))
    for name in ("won", "here", "all"):
        assert name in head.split()
    room = columns // 2  # a name that is longer may be cut
    assert first.startswith(f"{A}@{group}:{PORT}"[:room])
    assert second.startswith(f"{B}@{group}:{PORT + 1}"[:room])
    assert verdict == "4 packets, 1 lost on all lines in 1 gaps"


WRONG = {
    "no channel": (U32, "no channel"),
    "no sequence": (("GROUP:5000",), "--sequence is missing"),
    "a place": (
        ("GROUP:5000", "--sequence", "rtcp"),
        "--sequence: sequence 'rtcp': write rtp, ts, rtp+ts, or u32@0",
    ),
    "hold of one": (("GROUP:5000", *U32, "--hold", "1"), "--hold with one line"),
    "window of one": (("GROUP:5000", *U32, "--window", "9"), "--window with one line"),
    "too wide a window": (
        (f"{A}@GROUP:1", f"{A}@GROUP:2", "--sequence", "rtp", "--window", "16384"),
        "window 16384",
    ),
    "no hold": ((f"{A}@GROUP:1", f"{A}@GROUP:2", *U32, "--hold", "-1"), "--hold: -1 is less than 0"),
    "the same twice": ((f"{A}@GROUP:1", f"{A}@GROUP:1", *U32), "GROUP port 1 is given twice"),
    "one in the other": ((f"{A}@GROUP:1", f"{A},{B}@GROUP:1", *U32), "take a different SOURCE@ each"),
    "interfaces": (("GROUP:1", "GROUP:2", "GROUP:3", *U32, "-i", "lo,lo"), "2 interfaces for 3 lines"),
    "no interval": (("GROUP:1", *U32, "--interval", "0"), "--interval: 0 is less than 0.1"),
    "no terminal": (("GROUP:1", *U32, "--format", "live"), "--format live: it takes a terminal"),
}


@pytest.mark.parametrize(("arguments", "part"), WRONG.values(), ids=WRONG)
def test_wrong_input_gets_one_line(group: str, arguments: tuple[str, ...], part: str) -> None:
    given = [one.replace("GROUP", group) for one in arguments]
    done = subprocess.run(
        [*COMMAND, "gaps", *given, *(() if "-i" in given else ("-i", "lo"))],
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("aiomcast: ")
    assert part.replace("GROUP", group) in line
