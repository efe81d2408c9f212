"""Running `aiomcast relay`, and looking at the streams of real servers that it stores in."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import subprocess
from collections.abc import Callable, Iterator

import nats
import pytest
from nats.js.api import StreamConfig, StreamInfo
from redis import Redis

from aiomcast import Packet
from aiomcast.relay import JetStream, RedisStreams, Start, Subscription
from tests.support.brokers import NatsServer, Server

from ..test_cli import COMMAND, PORT_TEXT, SECONDS, A

_numbers = itertools.count(1)


class Middle:
    """One stream of a server: the options of a relay that store there, and what is in it."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.stream = f"T{next(_numbers)}"
        self.subject = f"{self.stream}.{{group}}.{{port}}.{{source}}"  # of one server, none takes another's

    @property
    def is_nats(self) -> bool:
        return isinstance(self.server, NatsServer)

    @property
    def options(self) -> tuple[str, ...]:
        made = ("--create",) if self.is_nats else ()
        return ("--to", self.server.url, "--stream", self.stream, "--subject", self.subject, *made)

    def held(self) -> int:
        """Return how many messages there are."""
        if self.is_nats:
            return asyncio.run(told(self.server, self.stream)).state.messages
        with Redis.from_url(self.server.url) as client:
            return int(client.xlen(self.stream))

    def packets(self, count: int) -> list[Packet]:
        """Return the first ones."""

        async def read() -> list[Packet]:
            url = self.server.url
            found: list[Packet] = []
            broker = (
                JetStream(url, stream=self.stream) if self.is_nats else RedisStreams(url, stream=self.stream)
            )
            async with (
                asyncio.timeout(SECONDS),
                broker,
                Subscription(broker, start=Start.FIRST, subject=self.subject) as subscription,
            ):
                while len(found) < count:
                    found.append(await anext(subscription))
            return found

        return asyncio.run(read())


async def told(server: Server, stream: str, config: StreamConfig | None = None) -> StreamInfo:
    """Return what the server says of a stream, made first where there is a configuration."""
    client = await nats.connect(server.url)
    try:
        if config is not None:
            return await client.jetstream().add_stream(config)
        return await client.jetstream().stream_info(stream)
    finally:
        await client.close()


@contextlib.contextmanager
def started(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A running `aiomcast relay`."""
    command = [*COMMAND, "relay", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


@contextlib.contextmanager
def relaying(group: str, middle: Middle, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """A running `aiomcast relay` on loopback that has joined, and found the server."""
    with started(group, PORT_TEXT, "-s", A, "-i", "lo", *middle.options, *options) as process:
        assert said(process).startswith(f"listening to {group} port {PORT_TEXT} on lo, from {A}")
        yield process


JSON = ("--interval", "0.1", "--format", "json")


def said(process: subprocess.Popen[bytes]) -> str:
    """Return the next line of standard error."""
    assert process.stderr is not None
    return process.stderr.readline().decode()


def intervals(process: subprocess.Popen[bytes]) -> Iterator[tuple[dict[str, int], dict[str, int]]]:
    """Yield what each interval tells: the relay's counters, and the packets of each group."""
    assert process.stdout is not None
    groups: dict[str, int] = {}
    for line in process.stdout:
        tags = json.loads(line)
        if "relay" in tags:
            yield tags, groups
            groups = {}
        else:
            groups[tags["group"]] = tags["packets"]
    pytest.fail(f"it ended: {process.communicate()[1].decode()}")


def wait_until(process: subprocess.Popen[bytes], is_so: Callable[[dict[str, int]], bool]) -> dict[str, int]:
    """Read its lines until the relay's counters are so; return them."""
    return next(counted for counted, _ in intervals(process) if is_so(counted))


def ended(process: subprocess.Popen[bytes], status: int = 0) -> list[str]:
    """Return the lines that it yet said."""
    _, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == status, errors
    return errors.decode().splitlines()


def counts(summary: str) -> dict[str, int]:
    """Return the relay's counters by name, out of a summary."""
    inside = summary.partition("(")[2].partition(")")[0]
    return {name: int(number) for number, _, name in (one.partition(" ") for one in inside.split(", "))}
