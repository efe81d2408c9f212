"""What Prometheus is told: by the client library's own server and parser."""

import asyncio
import sys
import urllib.request

import pytest
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import Sample
from prometheus_client.parser import text_string_to_metric_families

import aiomcast
from aiomcast.metrics import PrometheusCollector
from tests.loopback.conftest import Senders

A, B, C = "127.0.0.2", "127.0.0.3", "127.0.0.4"
Told = dict[tuple[str, str], float]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="sources 127.0.0.2 and so on")


def _fetch(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        return str(answer.read().decode())


def _label(labels: dict[str, str], name: str) -> str:
    return labels.get(name, "")


async def _scraped(
    receiver: aiomcast.Receiver, label: str = "group", *, memberships: bool = False, sources: int = 0
) -> Told:
    """Scrape over HTTP, from the server's own thread; values by name and one label."""
    registry = CollectorRegistry()
    registry.register(PrometheusCollector(receiver, memberships=memberships, sources=sources))
    server, thread = start_http_server(0, "127.0.0.1", registry)
    try:
        text = await asyncio.to_thread(_fetch, server.server_port)
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
    return {
        (one.name, _label(one.labels, label)): one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
    }


def _by_port(collector: PrometheusCollector) -> dict[tuple[str, str], Sample]:
    """Return the samples that have no reason, by name and port."""
    return {
        (one.name, one.labels.get("port", "")): one
        for family in collector.collect()
        for one in family.samples
        if one.labels and "reason" not in one.labels
    }


async def _received(feed: aiomcast.Membership, count: int) -> None:
    async with asyncio.timeout(20):
        for _ in range(count):
            await anext(aiter(feed))


async def test_counts_outlive_the_membership(group: str, senders: Senders) -> None:
    async with aiomcast.Receiver() as receiver:
        async with receiver.join(group, senders.port, sources=[A], interface="lo") as feed:
            await senders.send(A, group, b"one", b"three")
            await _received(feed, 2)
            told = await _scraped(receiver, memberships=True)
            assert told["aiomcast_membership_packets_received_total", group] == 2
            assert told["aiomcast_membership_received_bytes_total", group] == 8
            assert told["aiomcast_memberships", ""] == 1
        told = await _scraped(receiver, memberships=True)
        assert ("aiomcast_membership_packets_received_total", group) not in told
        assert told["aiomcast_packets_received_total", ""] == 2
        assert told["aiomcast_memberships", ""] == 0


async def test_only_sums_unless_memberships_are_asked_for(group: str, senders: Senders) -> None:
    async with aiomcast.Receiver() as receiver:
        for port in (senders.port, senders.port + 1):
            await receiver.join(group, port, sources=[A], interface="lo")
        told = await _scraped(receiver)
        assert {label for _, label in told} == {""}
        assert told["aiomcast_receive_buffer_bytes", ""] == receiver.statistics().receive_buffer
        assert told["aiomcast_memberships", ""] == 2
        assert ("aiomcast_last_packet_timestamp_seconds", "") not in told  # none has come


async def test_each_scrape_tells_what_has_changed(group: str, senders: Senders) -> None:
    async with aiomcast.Receiver() as receiver:
        collector = PrometheusCollector(receiver, memberships=True)
        silent = await receiver.join(group, senders.port + 1, sources=[A], interface="lo")
        for count in (1, 2):
            feed = await receiver.join(group, senders.port, sources=[A], interface="lo")
            await senders.send(A, group, *[b"four"] * count)
            await _received(feed, count)
            told = [_by_port(collector) for _ in range(2)]
            port, other = str(senders.port), str(senders.port + 1)
            assert told[0] == told[1]
            assert told[0]["aiomcast_membership_packets_received_total", port].value == count
            assert told[0]["aiomcast_membership_received_bytes_total", port].value == 4 * count
            assert told[0]["aiomcast_membership_packets_received_total", other].value == 0
            latest = "aiomcast_membership_last_packet_timestamp_seconds"
            assert told[0][latest, port].value == (feed.statistics().latest_ns or 0) / 1e9
            assert (latest, other) not in told[0]
            # What stands still is not made anew.
            assert all(told[0][known] is told[1][known] for known in told[0])
            await feed.leave()
            assert {port for name, port in _by_port(collector) if "membership_" in name} == {other}
        await silent.leave()
        assert not [name for name, _ in _by_port(collector) if "membership_" in name]


async def test_reasons_of_drops_are_told_apart(group: str, senders: Senders) -> None:
    async with aiomcast.Receiver() as receiver:
        feed = await receiver.join(group, senders.port, sources=[A], interface="lo")
        await senders.send(A, group, b"one", b"two")
        await _received(feed, 1)
        told = await _scraped(receiver, "reason")
        assert {reason for name, reason in told if name == "aiomcast_packets_dropped_total"} == {
            "kernel",
            "queue",
            "filter",
        }


async def test_sources_are_bounded_and_the_others_together(group: str, senders: Senders) -> None:
    async with aiomcast.Receiver(by_source=True) as receiver:
        feed = await receiver.join(group, senders.port, sources=[A, B, C], interface="lo")
        for source in (A, B, C, B):
            await senders.send(source, group, b"x")
            await _received(feed, 1)
        told = await _scraped(receiver, "source", sources=1)
        assert told["aiomcast_source_packets_total", A] == 1
        assert told["aiomcast_source_packets_total", "other"] == 3
        assert ("aiomcast_source_packets_total", B) not in told
        assert not [name for name, _ in told if "membership_" in name]


async def test_sources_need_counting_by_source() -> None:
    async with aiomcast.Receiver() as receiver:
        with pytest.raises(aiomcast.StateError, match="by_source=True"):
            PrometheusCollector(receiver, sources=1)


async def test_wrong_arguments() -> None:
    async with aiomcast.Receiver(by_source=True) as receiver:
        with pytest.raises(aiomcast.ArgumentTypeError, match="memberships 1"):
            PrometheusCollector(receiver, memberships=1)  # type: ignore[arg-type]  # what is tested
        with pytest.raises(aiomcast.ArgumentError, match="sources -1"):
            PrometheusCollector(receiver, sources=-1)


def test_outside_a_loop() -> None:
    with pytest.raises(aiomcast.StateError, match="no event loop"):
        PrometheusCollector(aiomcast.Receiver())
