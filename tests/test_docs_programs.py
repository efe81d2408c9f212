"""What the pages have their reader save as a file, or type at a prompt, is run as they say."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .loopback.conftest import group  # noqa: F401  a fixture

ROOT = Path(__file__).parents[1]
PATIENCE = 20  # seconds, for a process to start on a busy machine
A, B = "127.0.0.2", "127.0.0.3"

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="the programs use Linux's loopback interface"
)

FILES = {
    name: (page, code)
    for page in sorted((ROOT / "docs").rglob("*.md"))
    for name, code in re.findall(
        r"^```python\n# (\w+\.py)\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
}


@pytest.fixture
def save(tmp_path: Path, group: str) -> Callable[[str], Path]:  # noqa: F811
    """Save a file of a page, with a group that nobody else uses."""

    def save(name: str) -> Path:
        (tmp_path / name).write_text(FILES[name][1].replace("232.1.1.1", group), encoding="utf-8")
        return tmp_path / name

    return save


@pytest.fixture(autouse=True)
def feed(group: str) -> Iterator[None]:  # noqa: F811
    """Send numbers from two sources all the time, as the tutorial has its reader do."""
    done = threading.Event()

    def send() -> None:
        with contextlib.ExitStack() as stack:
            senders = []
            for source in (A, B):
                sender = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
                sender.bind((source, 0))
                senders.append(sender)
            number = 0
            while not done.wait(0.01):
                number += 1
                for sender in senders:
                    sender.sendto(b"%d" % number, (group, 5000))

    thread = threading.Thread(target=send)
    thread.start()
    yield
    done.set()
    thread.join(PATIENCE)


@contextlib.contextmanager
def running(*command: str | Path, ready: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run Python until it prints a line with `ready`; at the end press Ctrl-C: the status is 0."""
    process = subprocess.Popen(
        [sys.executable, "-u", *map(str, command)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=Path(command[0]).parent if isinstance(command[0], Path) else None,
    )
    watchdog = threading.Timer(PATIENCE, process.kill)
    watchdog.start()
    seen = ""
    try:
        assert process.stdout is not None
        while ready not in seen:
            line = process.stdout.readline()
            assert line, f"ended without {ready!r}:\n{seen}"
            seen += line
        yield process, seen
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, seen + rest
        assert "Traceback" not in rest
    finally:
        watchdog.cancel()
        process.kill()
        process.communicate()


def printed(path: Path) -> list[str]:
    ran = subprocess.run(
        [sys.executable, "-X", "dev", path], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    return ran.stdout.splitlines()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert isinstance(port, int)
    return port


def first_line(port: int, request: bytes = b"") -> bytes:
    """Return what a server answers: the line, or with a request for HTTP the first with an object."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as connection:
        connection.sendall(request)
        with connection.makefile("rb") as answer:
            for line in answer:
                if line.startswith(b"{"):
                    return line
    raise AssertionError("no answer")


def test_the_first_program_prints_five_packets_of_its_source(save: Callable[[str], Path]) -> None:
    listening, *lines = printed(save("first.py"))
    assert listening == "listening on lo"
    assert len(lines) == 5
    assert all(re.fullmatch(rf"{A} b'\d+'", line) for line in lines)


def test_the_second_program_prints_one_source_and_then_the_other(save: Callable[[str], Path]) -> None:
    lines = [line.partition(" ")[0] for line in printed(save("second.py"))]
    assert lines == [A, A, A, "swapped", B, B, B]


def test_the_program_that_watches_says_that_nothing_came(save: Callable[[str], Path]) -> None:
    page, _ = FILES["watch.py"]
    lines = printed(save("watch.py"))
    assert "\n".join(lines) in page.read_text(encoding="utf-8")


def test_the_service_answers_with_the_last_packets(save: Callable[[str], Path]) -> None:
    path, port = save("quotes.py"), free_port()
    path.write_text(path.read_text(encoding="utf-8").replace("8080", str(port)), encoding="utf-8")
    with running(path, ready="ready"):
        seen: dict[str, str] = {}
        while seen.keys() != {A, B}:  # `running` limits it
            seen = json.loads(first_line(port)) if seen else {A: ""}
        assert all(number.isdigit() for number in seen.values())


def test_the_test_of_the_service_passes(save: Callable[[str], Path]) -> None:
    save("quotes.py")
    path = save("test_quotes.py")
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", path.parent, path],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        cwd=path.parent,
    )
    assert "1 passed" in ran.stdout, ran.stdout + ran.stderr


def test_fastapi(save: Callable[[str], Path]) -> None:
    for needed in ("fastapi", "uvicorn"):
        pytest.importorskip(needed)
    path, port = save("fastapi_app.py"), free_port()
    page, _ = FILES["fastapi_app.py"]
    (command,) = re.findall(r"^uvicorn (fastapi_app.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    arguments = ("-m", "uvicorn", "--app-dir", path.parent, "--port", str(port), *command.split())
    with running(*arguments, ready="Uvicorn running"):
        for resource in (b"next", b"packets"):
            line = first_line(port, b"GET /%s HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n" % resource)
            assert json.loads(line.rstrip(b"\r\n"))["source"] == A


def test_aiohttp(save: Callable[[str], Path]) -> None:
    pytest.importorskip("aiohttp")
    path, port = save("aiohttp_app.py"), free_port()
    path.write_text(path.read_text(encoding="utf-8").replace("8080", str(port)), encoding="utf-8")
    with running(path, ready="Running on"):
        line = first_line(port, b"GET /next HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
        assert json.loads(line)["source"] == A


WEBSOCKET_CLIENT = """
import asyncio, sys, aiohttp

async def main():
    async with aiohttp.ClientSession() as session, session.ws_connect(sys.argv[1]) as websocket:
        print(await websocket.receive_bytes(), flush=True)
        async for message in websocket:
            pass
        print(websocket.close_code)

asyncio.run(main())
"""


def test_aiohttp_ends_while_a_websocket_is_open(save: Callable[[str], Path]) -> None:
    pytest.importorskip("aiohttp")
    path, port = save("aiohttp_app.py"), free_port()
    path.write_text(path.read_text(encoding="utf-8").replace("8080", str(port)), encoding="utf-8")
    command = [sys.executable, "-c", WEBSOCKET_CLIENT, f"http://127.0.0.1:{port}/ws"]
    with contextlib.ExitStack() as stack:
        with running(path, ready="Running on"):
            client = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
            stack.callback(client.kill)
            assert client.stdout is not None
            assert client.stdout.readline().startswith("b'")
        assert client.communicate(timeout=PATIENCE)[0] == "1000\n"


def test_another_thread_takes_packets_and_swaps(save: Callable[[str], Path]) -> None:
    (line,) = printed(save("in_a_thread.py"))
    assert re.fullmatch(r"b'\d+'", line)


def test_the_code_that_is_usually_copied_works(save: Callable[[str], Path], group: str) -> None:  # noqa: F811
    path = save("plain_socket.py")
    path.write_text(path.read_text(encoding="utf-8").replace("239.1.1.1", group), encoding="utf-8")
    (line,) = printed(path)
    assert re.fullmatch(r"127\.0\.0\.\d+ b'.*'", line)  # it hears what others send to the port, too


def test_events_are_logged(save: Callable[[str], Path]) -> None:
    page, _ = FILES["log_events.py"]
    ran = subprocess.run(
        [sys.executable, save("log_events.py")],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    assert f"```text\n{ran.stderr}```" in page.read_text(encoding="utf-8")


def test_every_file_of_the_pages_is_run_here() -> None:
    here = Path(__file__).read_text(encoding="utf-8")
    assert [name for name in FILES if f'save("{name}")' not in here] == []


def test_what_is_typed_at_a_prompt_is_answered_as_the_page_says(group: str) -> None:  # noqa: F811
    (block,) = re.findall(
        r"```pycon\n(.*?)```", (ROOT / "docs/faq.md").read_text(encoding="utf-8"), re.DOTALL
    )
    lines = [line.strip().replace("232.1.1.1", group) for line in block.strip().splitlines()]
    typed = "".join(f"{line.removeprefix('>>> ')}\n" for line in lines if line.startswith(">>> "))
    ran = subprocess.run(
        [sys.executable, "-m", "asyncio"],
        input=typed,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    answers = [re.sub(r"^(>>> )+", "", line) for line in ran.stdout.splitlines()]
    assert [line for line in lines if not line.startswith(">>> ")] == [line for line in answers if line]
