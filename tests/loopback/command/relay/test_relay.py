"""`aiomcast relay` as its users run it: processes, real servers, what is in their streams, exit statuses."""

from __future__ import annotations

import asyncio
import signal

import pytest

pytest.importorskip("rich")

from tests.support.brokers import RedisServer, needs_nats, needs_redis

from ..test_cli import PORT_TEXT, SECONDS, A, transmit
from .processes import JSON, Middle, counts, ended, intervals, relaying, said, started, told, wait_until


def test_packets_and_their_tags_are_stored(group: str, middle: Middle) -> None:
    payloads = [b"one", b"", b"\xff\0\r\n" * 300]
    with relaying(group, middle, "--count", "3", "--name", "a") as process:
        port = transmit(group, *payloads, b"and more")
        (summary,) = ended(process)
    assert summary.startswith(f"3 packets, 1203 bytes relayed to {middle.server.url} (3 stored, 0 merged, ")
    assert counts(summary) == {
        "stored": 3, "merged": 0, "pending": 0, "retried": 0, "refused": 0, "too long": 0, "dropped": 0
    }  # fmt: skip
    assert middle.held() == 3
    packets = middle.packets(3)
    assert [one.data for one in packets] == payloads
    for one in packets:
        assert (one.source, one.source_port, one.group, one.port) == (A, port, group, int(PORT_TEXT))
        assert (one.hop_limit, one.traffic_class) == (1, 0)


@pytest.mark.parametrize("identity", [(), ("--sequence", "u32@0"), ("--sequence", "u32@0", "--feed", "f")])
def test_two_relays_of_one_channel_store_each_message_once(
    group: str, middle: Middle, identity: tuple[str, ...]
) -> None:
    sent = [number.to_bytes(4, "big") + b"!" for number in range(300)]
    options = ("--count", "300", "--slot", "3600") if not identity else ("--count", "300", *identity)
    with (
        relaying(group, middle, *options, "--name", "a") as first,
        relaying(group, middle, *options, "--name", "b") as second,
    ):
        transmit(group, *sent)
        summaries = [counts(line) for one in (first, second) for line in ended(one) if "relayed" in line]
    assert sum(one["stored"] for one in summaries) == sum(one["merged"] for one in summaries) == 300
    assert middle.held() == 300
    assert sorted(one.data for one in middle.packets(300)) == sent


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_with_all_stored(group: str, middle: Middle, number: signal.Signals) -> None:
    with relaying(group, middle, *JSON) as process:
        transmit(group, b"one", b"two")
        wait_until(process, lambda counted: counted["received"] == 2)
        process.send_signal(number)
        (summary,) = ended(process)
    assert (counts(summary)["stored"], counts(summary)["pending"]) == (2, 0)
    assert middle.held() == 2


@pytest.mark.parametrize(
    ("options", "sent", "line"),
    [
        (("--seconds", "0.3"), (), "nothing came from {}: aiomcast doctor "),
        (("--seconds", "4", "--count", "3"), (b"one",), "1 of 3 packets came in 4 s"),
    ],
)
@needs_nats
def test_what_did_not_come_in_time_is_status_1(
    group: str, jetstream: Middle, options: tuple[str, ...], sent: tuple[bytes, ...], line: str
) -> None:
    with relaying(group, jetstream, *options) as process:
        transmit(group, *sent)
        summary, missed = ended(process, 1)
    assert counts(summary)["stored"] == len(sent)
    assert missed.startswith("aiomcast: " + line.format(f"{group}:{PORT_TEXT}"))


@needs_nats
def test_a_time_that_is_over_is_status_0_when_something_came(group: str, jetstream: Middle) -> None:
    with relaying(group, jetstream, "--seconds", "4", "--interval", "0.1") as process:
        transmit(group, b"one")
        output, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 0
    assert counts(errors.decode())["stored"] == 1
    last = output.decode().splitlines()[-1]
    assert last.endswith(f" to {jetstream.server.url}: 1 received, 1 stored, 0 merged, 0 pending, 0 retried, "
                         "0 refused, 0 too long, 0 dropped")  # fmt: skip


def test_a_pipe_that_is_closed_ends_it(group: str, middle: Middle) -> None:
    with relaying(group, middle, "--interval", "1000") as process:
        assert process.stdout is not None
        process.stdout.close()
        assert counts(said(process))["pending"] == 0
        assert process.wait(SECONDS) == 0


def test_sigusr1_has_the_totals_told(group: str, middle: Middle) -> None:
    with relaying(group, middle, *JSON) as process:
        transmit(group, b"one", b"three")
        wait_until(process, lambda counted: counted["stored"] == 2)
        process.send_signal(signal.SIGUSR1)
        assert said(process).startswith(f"lo {group}:{PORT_TEXT} {A} 2 packets, 8 bytes")
        assert counts(said(process))["stored"] == 2
        assert process.poll() is None


def test_quiet_says_nothing_but_what_is_wrong(group: str, middle: Middle) -> None:
    options = (group, PORT_TEXT, "-s", A, "-i", "lo", *middle.options, *JSON, "--quiet")
    with started(*options) as process:
        next(intervals(process))
        process.send_signal(signal.SIGTERM)
        assert ended(process) == []


@needs_nats
def test_a_stream_is_made_and_keeps_what_it_was_told_to(group: str, jetstream: Middle) -> None:
    with relaying(group, jetstream, "--keep", "90m", "--window", "30") as process:
        process.send_signal(signal.SIGTERM)
        ended(process)
    config = asyncio.run(told(jetstream.server, jetstream.stream)).config
    assert (config.max_age, config.duplicate_window) == (5400, 30)
    assert config.subjects == [f"{jetstream.stream}.>"]


@needs_redis
def test_redis_keeps_about_as_many_as_it_was_told_to(group: str, redis_server: RedisServer) -> None:
    middle = Middle(redis_server)
    with relaying(group, middle, "--keep", "100", "--count", "600") as process:
        transmit(group, *[b"%d" % number for number in range(600)])
        ended(process)
    assert 100 <= middle.held() < 600


@needs_nats
def test_relays_share_channels_and_take_over_from_one_that_dies(any_group: str, jetstream: Middle) -> None:
    first = any_group.rpartition(".")[0] + ".1"
    groups = {first.rpartition(".")[0] + f".{number}" for number in range(1, 25)}
    shared = (f"{first}+24:{PORT_TEXT}", "-i", "lo", *jetstream.options, *JSON, "--slot", "3600",
              "--share", jetstream.stream, "--lease", "4")  # fmt: skip
    with started(*shared, "--name", "a") as one, started(*shared, "--name", "b") as other:
        lines = intervals(one), intervals(other)
        while True:
            parts = [set(next(line)[1]) for line in lines]
            if all(parts) and parts[0] | parts[1] == groups and not parts[0] & parts[1]:
                break
        for group in groups:
            transmit(group, b"from %s" % group.encode())
        counted = [0, 0]
        while sum(counted) < len(groups):
            counted = [next(line)[0]["stored"] for line in lines]
        assert sum(counted) == len(groups)
        other.kill()
        while set(next(lines[0])[1]) != groups:
            pass
        for group in groups:
            transmit(group, b"again")
        wait_until(one, lambda tags: tags["stored"] == counted[0] + len(groups))
        one.send_signal(signal.SIGTERM)
        ended(one)
    assert jetstream.held() == 2 * len(groups)
