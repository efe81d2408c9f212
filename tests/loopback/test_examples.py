"""Each example as a user runs it: a process of its own, real packets, and Ctrl-C at the end."""

import asyncio
import contextlib
import importlib.util
import json
import os
import re
import signal
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from aiomcast.relay import SharedChannel
from aiomcast.relay.placing import owners
from tests.support.brokers import NatsServer, needs_nats
from tests.support.inside import streams_of

from .conftest import Senders

A, B = "127.0.0.2", "127.0.0.3"
EXAMPLES = Path(__file__).parents[2] / "examples"
PATIENCE = 20  # seconds, for a process to start on a busy machine

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C is sent as SIGINT")
needs_pidfd = pytest.mark.skipif(
    not hasattr(os, "pidfd_open"), reason="which processes end is asked of Linux"
)


class Example:
    """A running example, and what it has printed."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.seen: list[str] = []

    async def line(self, pattern: str) -> str:
        """Return the next line that has `pattern`; fail when the example ends or is silent."""
        assert self.process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            while text := (await self.process.stdout.readline()).decode():
                self.seen.append(text)
                if re.search(pattern, text):
                    return text.strip()
        raise AssertionError(f"ended without {pattern!r}:\n{''.join(self.seen)}")

    async def interrupt(self) -> str:
        """Press Ctrl-C: it ends by itself, with status 0 and without a traceback. Return all it printed."""
        self.process.send_signal(signal.SIGINT)
        async with asyncio.timeout(PATIENCE):
            rest, _ = await self.process.communicate()
        printed = "".join(self.seen) + rest.decode()
        assert self.process.returncode == 0, printed
        assert "Traceback" not in printed
        return printed


@contextlib.asynccontextmanager
async def running(name: str, *arguments: str) -> AsyncIterator[Example]:
    """Run examples/`name` with warnings shown; kill it if the test fails."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-X", "dev", str(EXAMPLES / name), *arguments, stdout=PIPE, stderr=STDOUT
    )
    try:
        yield Example(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def test_listen(group: str, senders: Senders) -> None:
    async with running("listen.py", group, "5000", "--source", A) as example:
        await example.line("^listening on lo$")
        await senders.send(B, group, b"stranger")
        await senders.send(A, group, b"first", b"second")
        assert re.fullmatch(rf"{A} {group} \d+ b'first'", await example.line(A))
        assert re.fullmatch(rf"{A} {group} \d+ b'second'", await example.line(A))
        await example.interrupt()
        assert not any(B in line for line in example.seen)


async def test_swap(group: str, senders: Senders) -> None:
    arguments = ("--source", A, "--source", B, "--after", "2")
    async with running("swap.py", group, "5000", *arguments) as example:
        await example.line("^listening")
        await senders.send(A, group, b"1", b"2", b"3")  # the third waits when A is swapped out
        assert await example.line(A) == f"1 {A} b'1'"
        assert await example.line(A) == f"1 {A} b'2'"

        async def keep_sending() -> None:
            while True:  # the swap is not printed, so B sends until it is let in
                await senders.send(B, group, b"b")
                await asyncio.sleep(0.01)

        sending = asyncio.create_task(keep_sending())
        assert await example.line("^") == f"2 {B} b'b'"
        sending.cancel()
        await example.interrupt()


async def test_task_group(group: str, any_group: str, senders: Senders) -> None:
    async with running("task_group.py", f"{A}@{group}", f"{B}@{any_group}") as example:
        await example.line("^listening to 2 feeds$")
        await senders.send(A, group, b"one")
        assert await example.line("^") == f"{group} {A} b'one'"
        await senders.send(B, any_group, b"two")
        await senders.send(A, any_group, b"stranger")
        await senders.send(B, any_group, b"three")
        assert await example.line("^") == f"{any_group} {B} b'two'"
        assert await example.line("^") == f"{any_group} {B} b'three'"
        await example.interrupt()


def exits(number: int) -> asyncio.Future[None]:
    """Return what is done when the process has ended, whoever waits for it."""
    loop, descriptor = asyncio.get_running_loop(), os.pidfd_open(number)
    ended: asyncio.Future[None] = loop.create_future()

    def end() -> None:
        loop.remove_reader(descriptor)
        os.close(descriptor)
        ended.set_result(None)

    loop.add_reader(descriptor, end)
    return ended


def children_of(process: Process) -> list[int]:
    """Return the processes that it has started, but what Python itself starts for them."""
    path = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    found = [int(number) for number in path.read_text().split()]
    return [one for one in found if b"spawn_main" in Path(f"/proc/{one}/cmdline").read_bytes()]


@needs_pidfd
@pytest.mark.parametrize("how", ["interrupted", "killed"])
async def test_processes(how: str, senders: Senders, group: str) -> None:
    """Each group is in one process alone, which tells what has come, and ends with the first one."""
    first, second, third = (f"{group.rpartition('.')[0]}.{number}" for number in (251, 252, 253))
    async with running("processes.py", first, second, third, "--processes", "2") as example:
        joined = {await example.line("^process .* 0$"), await example.line("^process .* 0$")}
        assert joined == {f"process 1: {first} 0 {third} 0", f"process 2: {second} 0"}
        await senders.send(A, second, b"one", b"two")
        await example.line(f"^process 2: {second} 2$")
        await senders.send(A, third, b"three")
        await senders.send(B, first, b"stranger")
        await example.line(f"^process 1: {first} 0 {third} 1$")
        children = children_of(example.process)
        assert len(children) == 2
        ended = [exits(number) for number in children]
        if how == "killed":
            example.process.kill()
        else:
            await example.interrupt()
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*ended)
            await example.process.communicate()


async def test_processes_fail_as_one(group: str) -> None:
    async with running("processes.py", group, "--interface", "nowhere") as example:
        async with asyncio.timeout(PATIENCE):
            printed, _ = await example.process.communicate()
        assert example.process.returncode == 1
        assert b"nowhere" in printed
        assert b"Traceback" not in printed


# service.py, behind a real server


class Response:
    """The response to one HTTP request, as far as it has come."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader

    async def status(self) -> int:
        """Return the status once the head has come."""
        async with asyncio.timeout(PATIENCE):
            head = await self._reader.readuntil(b"\r\n\r\n")
        return int(head.split()[1])

    async def packet(self) -> Any:  # Any: JSON
        """Return the next line of JSON."""
        async with asyncio.timeout(PATIENCE):
            while not (line := await self._reader.readline()).startswith(b"{"):
                assert line, "the response ended"  # the others are the sizes of chunks
        return json.loads(line)

    async def rest(self) -> bytes:
        """Return what comes until the end."""
        async with asyncio.timeout(PATIENCE):
            return await self._reader.read()


@contextlib.asynccontextmanager
async def requesting(port: int, method: str, path: str, body: bytes = b"") -> AsyncIterator[Response]:
    """Send one request, and close the connection at the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        lines = (
            f"{method} {path} HTTP/1.1",
            "Host: here",
            "Connection: close",
            f"Content-Length: {len(body)}",
        )
        writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        yield Response(reader)
    finally:
        writer.close()
        await writer.wait_closed()


async def _answer(port: int, method: str, path: str, body: bytes = b"") -> tuple[int, Any]:  # Any: JSON
    async with requesting(port, method, path, body) as response:
        return await response.status(), json.loads(await response.rest())


async def test_service_behind_a_server(group: str, senders: Senders) -> None:
    pytest.importorskip("uvicorn")
    arguments = (group, "5000", "--source", A, "--http-port", "0")
    async with running("service.py", *arguments) as example, contextlib.AsyncExitStack() as stack:
        line = await example.line(r"running on http://127\.0\.0\.1:\d+")
        port = int(re.findall(r"127\.0\.0\.1:(\d+)", line)[-1])
        staying = await stack.enter_async_context(requesting(port, "GET", "/packets"))
        assert await staying.status() == 200
        async with requesting(port, "GET", "/packets") as going:
            assert await going.status() == 200
            for number in ("1", "2"):  # the second is sent when the first has come out
                await senders.send(A, group, number.encode())
                for client in (staying, going):
                    packet = await client.packet()
                    assert (packet["source"], packet["group"], packet["data"]) == (A, group, number)

        assert await _answer(port, "PUT", "/sources", json.dumps([B]).encode()) == (200, [B])
        await senders.send(A, group, b"refused")
        await senders.send(B, group, b"3")
        assert (await staying.packet())["data"] == "3"
        status, answer = await _answer(port, "PUT", "/sources", b'["232.1.1.1"]')
        assert (status, "multicast" in answer["error"]) == (400, True)
        status, answer = await _answer(port, "GET", "/statistics")
        assert (status, answer["received"], answer["kernel_drops"]) == (200, 3, 0)
        async with requesting(port, "GET", "/metrics") as scrape:
            assert await scrape.status() == 200
            families = text_string_to_metric_families((await scrape.rest()).decode())
            told = {one.name: one.value for family in families for one in family.samples}
        assert told["aiomcast_packets_received_total"] == 3
        assert told["aiomcast_membership_packets_received_total"] == 3

        printed = await example.interrupt()  # with a client still there
        assert "Application shutdown complete" in printed
        assert (await staying.rest()).endswith(b"0\r\n\r\n")  # the response was ended, not cut off


# service.py, as an ASGI application in this process, on both loops


@pytest.fixture
def service() -> ModuleType:
    """Import examples/service.py."""
    for needed in ("starlette", "uvicorn"):
        pytest.importorskip(needed)
    spec = importlib.util.spec_from_file_location("aiomcast_example_service", EXAMPLES / "service.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Client:
    """An ASGI client: what `app` sends comes out of `sent`, what is put in `to_app` it receives."""

    def __init__(self, app: Any, scope: dict[str, Any]) -> None:  # Any: an ASGI application, and its messages
        self.to_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._sent: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        scope = {"asgi": {"version": "3.0", "spec_version": "2.3"}, "state": {}, **scope}
        self.task = asyncio.create_task(app(scope, self.to_app.get, self._sent.put))

    async def sent(self) -> dict[str, Any]:
        async with asyncio.timeout(PATIENCE):
            return await self._sent.get()

    async def ended(self) -> None:
        async with asyncio.timeout(PATIENCE):
            await self.task


def _get(app: Any, path: str) -> Client:  # Any: as above
    scope = {"type": "http", "method": "GET", "path": path, "headers": [], "query_string": b""}
    client = Client(app, {**scope, "http_version": "1.1", "root_path": "", "scheme": "http"})
    client.to_app.put_nowait({"type": "http.request", "body": b"", "more_body": False})
    return client


async def test_service_in_process(group: str, senders: Senders, service: ModuleType) -> None:
    app = service.application(group, senders.port, [A], "lo")
    server = Client(app, {"type": "lifespan"})
    server.to_app.put_nowait({"type": "lifespan.startup"})
    assert (await server.sent())["type"] == "lifespan.startup.complete"

    staying, going = _get(app, "/packets"), _get(app, "/packets")
    for client in (staying, going):
        assert (await client.sent())["status"] == 200
    for number in ("1", "2"):
        await senders.send(A, group, number.encode())
        for client in (staying, going):
            body = await client.sent()
            assert body["more_body"]
            assert json.loads(body["body"])["data"] == number

    going.to_app.put_nowait({"type": "http.disconnect"})
    await going.ended()
    assert len(streams_of(app.state.receiver)) == 1

    server.to_app.put_nowait({"type": "lifespan.shutdown"})
    assert (await server.sent())["type"] == "lifespan.shutdown.complete"
    await server.ended()
    assert not (await staying.sent())["more_body"]  # the receiver's end was the stream's
    await staying.ended()


@pytest.mark.parametrize("stopped_by", [signal.SIGINT, signal.SIGTERM])
async def test_recorder(senders: Senders, group: str, tmp_path: Path, stopped_by: signal.Signals) -> None:
    async with running("recorder.py", str(tmp_path / "feed.pcapng"), group) as example:
        await example.line("recording .* on lo")
        await senders.send(A, group, b"one", b"two")
        example.process.send_signal(stopped_by)
        await example.line(r"^2 packets, 0 dropped, in .*feed-00001\.pcapng$")
        async with asyncio.timeout(PATIENCE):
            assert await example.process.wait() == 0


@needs_nats
async def test_relay_and_far(senders: Senders, group: str, tmp_path: Path) -> None:
    """Two relays, and what either stores is read once."""
    with NatsServer(tmp_path) as server:
        async with (
            running("relay.py", server.url, group, "--name", "a") as one,
            running("relay.py", server.url, group, "--name", "b") as other,
        ):
            for relay in (one, other):
                await relay.line("relaying .* as [ab]")
            await senders.send(A, group, b"one", b"two")
            async with running("far.py", server.url, group, "--first") as far:
                await far.line(rf"^{A} {group} \d+ b'one'$")
                await far.line(rf"^{A} {group} \d+ b'two'$")
                await senders.send(A, group, b"three")
                await far.line(rf"^{A} {group} \d+ b'three'$")
            counted = [re.findall(r"(\d+) stored, (\d+) there already, 0 pending", await relay.interrupt())
                       for relay in (one, other)]  # fmt: skip
    assert sum(int(stored) for ((stored, _),) in counted) == 3
    assert sum(int(merged) for ((_, merged),) in counted) == 3


@needs_nats
async def test_share(group: str, tmp_path: Path) -> None:
    """Two hosts divide the groups; when one goes the other has them all."""
    begin = group.rpartition(".")[0] + "."
    keys = [SharedChannel.of(f"{begin}{number}", 5000, sources=[A]).key for number in range(1, 21)]
    share = sum(owners(key, "ab", 1) == ("b",) for key in keys)
    more = ["--group", begin, "--lease", "0.8"]
    with NatsServer(tmp_path) as server:
        async with running("share.py", server.url, "--name", "a", *more) as one:
            await one.line("^has 20 of 20 channels")
            async with running("share.py", server.url, "--name", "b", *more) as other:
                await other.line(f"^has {share} of 20 channels")
                await one.line(f"^has {20 - share} of 20 channels")
                await other.interrupt()
            await one.line("^has 20 of 20 channels")
            await one.interrupt()


SCENE = ["-f", "lavfi", "-i", "testsrc=size=160x120:rate=25", "-t", "1", "-c:v", "mpeg2video"]


@pytest.mark.parametrize("how", ["rtp", "bare"])
async def test_rtp_to_ts(group: str, tmp_path: Path, how: str) -> None:
    """What ffmpeg sends comes out as a file that ffprobe reads, to the last frame."""
    port, path = 5004, tmp_path / "out.ts"
    url, form = f"{group}:{port}?localaddr=127.0.0.1&pkt_size=1316", ["-f", "mpegts"]
    if how == "rtp":
        url, form = f"{group}:{port}?localaddr=127.0.0.1", ["-f", "rtp_mpegts"]
    url = ("rtp://" if how == "rtp" else "udp://") + url
    async with running("rtp_to_ts.py", str(path), group, str(port), *["--bare"] * (how == "bare")) as example:
        await example.line("^writing")
        ffmpeg = await asyncio.create_subprocess_exec(
            "ffmpeg", "-loglevel", "error", "-re", *SCENE, *form, url, stdout=PIPE, stderr=STDOUT
        )
        async with asyncio.timeout(PATIENCE):
            said, _ = await ffmpeg.communicate()
        assert ffmpeg.returncode == 0, said.decode()
        printed = await example.interrupt()
        counted = re.search(r"(\d+) transport packets, 0 lost", printed)
        assert counted is not None, printed
        assert int(counted[1]) > 20
    asked = ["-count_frames", "-show_entries", "stream=codec_name,nb_read_frames", "-of", "csv=p=0"]
    ffprobe = await asyncio.create_subprocess_exec(
        "ffprobe", "-loglevel", "error", *asked, str(path), stdout=PIPE, stderr=PIPE
    )
    async with asyncio.timeout(PATIENCE):
        found, errors = await ffprobe.communicate()
    assert found.decode().split()[0] == "mpeg2video,25,", errors.decode()


async def test_market_data(group: str, any_group: str, senders: Senders) -> None:
    """What one line lost comes from the other, what both lost from the service for repeats, in order."""
    other = f"232.{any_group.partition('.')[2]}"
    async with running("market_data.py", "serve", "0") as service:
        port = (await service.line(r"^serving \d+$")).split()[1]
        async with running("market_data.py", "handle", port, "--groups", group, other) as handler:
            await handler.line("^handling$")
            messages = [number.to_bytes(4, "big") + b"price of %d" % number for number in range(12)]
            for number in (1, 2, 5, 6, 7, 9):
                await senders.send(A, group, messages[number])
            for number in (1, 2, 3, 7, 8, 9):
                await senders.send(B, other, messages[number])
            for number in range(1, 10):
                how = "repeated" if number == 4 else "received"
                assert await handler.line("") == f"{number} {how}: price of {number}"
            await handler.interrupt()
        await service.interrupt()
