"""What Prometheus is told: by the client library's own server and parser."""

import asyncio
import sys
import urllib.request

import pytest
from prometheus_client import CollectorRegistry, start_http_server
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


async def _scraped(receiver: aiomcast.Receiver, label: str = "group", sources: int = 0) -> Told:
    """Scrape over HTTP, from the server's own thread; values by name and one label."""
    registry = CollectorRegistry()
    registry.register(PrometheusCollector(receiver, sources=sources))
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


async def _received(feed: aiomcast.Membership, count: int) -> None:
    async with asyncio.timeout(20):
        for _ in range(count):
            await anext(aiter(feed))


async def test_counts_outlive_the_membership(group: str, senders: Senders) -> None:
    async with aiomcast.Receiver() as receiver:
        async with receiver.join(group, senders.port, sources=[A], interface="lo") as feed:
            await senders.send(A, group, b"one", b"three")
            await _received(feed, 2)
            told = await _scraped(receiver)
            assert told["aiomcast_membership_packets_received_total", group] == 2
            assert told["aiomcast_membership_received_bytes_total", group] == 8
            assert told["aiomcast_memberships", ""] == 1
        told = await _scraped(receiver)
        assert ("aiomcast_membership_packets_received_total", group) not in told
        assert told["aiomcast_packets_received_total", ""] == 2
        assert told["aiomcast_memberships", ""] == 0


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


async def test_sources_need_counting_by_source() -> None:
    async with aiomcast.Receiver() as receiver:
        with pytest.raises(aiomcast.StateError, match="by_source=True"):
            PrometheusCollector(receiver, sources=1)


def test_outside_a_loop() -> None:
    with pytest.raises(aiomcast.StateError, match="no event loop"):
        PrometheusCollector(aiomcast.Receiver())
