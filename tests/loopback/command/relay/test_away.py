"""`aiomcast relay` while its server is away, full, or will take no more: nothing is lost unsaid."""

from __future__ import annotations

import asyncio
import signal
import socket
from pathlib import Path

import pytest

pytest.importorskip("rich")

from nats.js.api import DiscardPolicy, StreamConfig
from redis import Redis

from tests.support.brokers import NatsServer, RedisServer, needs_nats, needs_redis

from ..test_cli import transmit
from .processes import JSON, Middle, counts, ended, intervals, relaying, told, wait_until


def test_what_comes_while_the_server_is_away_is_stored_when_it_is_back(group: str, own: Middle) -> None:
    with relaying(group, own, *JSON) as process:
        transmit(group, *[b"before %d" % number for number in range(20)])
        wait_until(process, lambda counted: counted["stored"] == 20)
        own.server.kill()
        transmit(group, *[b"meanwhile %d" % number for number in range(20)])
        wait_until(process, lambda counted: counted["pending"] == 20)
        own.server.start()
        wait_until(process, lambda counted: counted["pending"] == 0)
        transmit(group, b"after")
        wait_until(process, lambda counted: counted["received"] == 41 and not counted["pending"])
        process.send_signal(signal.SIGTERM)
        *lines, summary = ended(process)
    away, back = lines
    assert away.startswith("aiomcast: ")
    assert away.endswith("; packets wait")
    assert "is back; " in back
    counted = counts(summary)
    assert counted["stored"] + counted["merged"] == 41
    assert own.held() == 41


@needs_nats
def test_at_the_end_it_waits_for_what_is_pending(group: str, tmp_path: Path) -> None:
    with NatsServer(tmp_path / "server") as server, relaying(group, Middle(server), *JSON) as process:
        server.send(signal.SIGSTOP)
        transmit(group, b"one", b"two")
        wait_until(process, lambda counted: counted["pending"] == 2)
        assert is_joined(group)
        process.send_signal(signal.SIGTERM)
        while is_joined(group):  # then it takes no more
            assert process.poll() is None
        server.send(signal.SIGCONT)
        summary = ended(process)[-1]
    assert (counts(summary)["stored"], counts(summary)["pending"]) == (2, 0)


@needs_redis
def test_a_server_that_will_take_no_more_ends_it(group: str, tmp_path: Path) -> None:
    with RedisServer(tmp_path / "server") as server, relaying(group, Middle(server), *JSON) as process:
        transmit(group, b"one")
        wait_until(process, lambda counted: counted["stored"] == 1)
        with Redis.from_url(server.url) as client:
            client.execute_command("ACL", "SETUSER", "default", "-eval")
        transmit(group, b"two")
        summary, line, left = ended(process, 1)
    assert (counts(summary)["stored"], counts(summary)["pending"]) == (1, 1)
    assert line.startswith(f"aiomcast: {server.url}: ")
    assert line.endswith(": give the user the right to XADD and SET")
    assert left == "aiomcast: 1 packets are not known to be stored"


@needs_nats
def test_with_the_server_away_the_overflow_policy_decides_and_what_was_taken_is_stored(
    group: str, tmp_path: Path
) -> None:
    options = ("--pending", "10", "--overflow", "drop-newest", *JSON)
    with NatsServer(tmp_path / "server") as server:
        own = Middle(server)
        with relaying(group, own, *options) as process:
            server.kill()
            lines, dropped = intervals(process), 0
            while not dropped:
                transmit(group, *[b"%d" % number for number in range(500)])
                counted, _ = next(lines)
                assert counted["received"] <= 10 + 256, "what waits is bounded"
                dropped = counted["dropped"]
            server.start()
            wait_until(process, lambda now: not now["pending"] and now["received"] > 266)
            process.send_signal(signal.SIGTERM)
            counted = counts(ended(process)[-1])
        assert counted["pending"] == 0
        assert counted["dropped"] >= dropped
        assert own.held() == counted["stored"] + counted["merged"] > 256


def test_what_stays_unstored_is_told_and_is_status_1(group: str, own: Middle) -> None:
    with relaying(group, own, *JSON) as process:
        own.server.kill()
        transmit(group, *[b"%d" % number for number in range(5)])
        wait_until(process, lambda counted: counted["pending"] == 5)
        process.send_signal(signal.SIGTERM)
        *_, summary, line = ended(process, 1)
    assert (counts(summary)["stored"], counts(summary)["pending"]) == (0, 5)
    assert line == "aiomcast: 5 packets are not known to be stored"


@needs_nats
def test_a_stream_that_is_full_is_status_1_and_says_so(group: str, jetstream: Middle) -> None:
    config = StreamConfig(
        jetstream.stream, subjects=[f"{jetstream.stream}.>"], duplicate_window=60, max_msgs=3,
        discard=DiscardPolicy.NEW,
    )  # fmt: skip
    asyncio.run(told(jetstream.server, jetstream.stream, config))
    with relaying(group, jetstream, *JSON) as process:
        transmit(group, *[b"%d" % number for number in range(5)])
        wait_until(process, lambda counted: counted["stored"] == 3 and counted["refused"] > 1)
        process.send_signal(signal.SIGTERM)
        refused, summary, line = ended(process, 1)
    assert "refused to store: maximum messages exceeded" in refused
    assert counts(summary)["pending"] == 2
    assert line == "aiomcast: 2 packets are not known to be stored: maximum messages exceeded"
    assert jetstream.held() == 3


def test_what_is_too_long_is_told_and_is_status_1(group: str, middle: Middle) -> None:
    with relaying(group, middle, "--count", "2", "--largest", "10") as process:
        transmit(group, b"x" * 11, b"x" * 10)
        summary, line = ended(process, 1)
    assert (counts(summary)["stored"], counts(summary)["too long"]) == (1, 1)
    assert line == "aiomcast: 1 packets had more than --largest bytes, and were not sent"


def is_joined(group: str) -> bool:
    """Whether anybody on this host has joined it."""
    listed = bytes(reversed(socket.inet_aton(group))).hex().upper()
    return listed in Path("/proc/net/igmp").read_text()
