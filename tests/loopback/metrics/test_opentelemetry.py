"""What OpenTelemetry is told: by the SDK's reader in memory."""

import asyncio
import sys

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import Gauge, InMemoryMetricReader, Sum

import aiomcast
from aiomcast.metrics import instrument
from tests.loopback.conftest import Senders

A = "127.0.0.2"

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="sources 127.0.0.2 and so on")


def _collected(reader: InMemoryMetricReader) -> dict[str, Sum | Gauge]:
    data = reader.get_metrics_data()
    assert data is not None
    found: dict[str, Sum | Gauge] = {}
    for metric in data.resource_metrics[0].scope_metrics[0].metrics:
        assert isinstance(metric.data, Sum | Gauge)
        found[metric.name] = metric.data
    return found


async def test_counters_and_gauges(group: str, senders: Senders) -> None:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    async with aiomcast.Receiver() as receiver:
        instrument(receiver, provider.get_meter("test"), memberships=True)
        async with receiver.join(group, senders.port, sources=[A], interface="lo") as feed:
            for count in (1, 2):  # anew at each collection, from whatever thread
                await senders.send(A, group, b"four")
                async with asyncio.timeout(20):
                    await anext(aiter(feed))
                told = await asyncio.to_thread(_collected, reader)
                received = told["aiomcast.membership.packets.received"]
                assert isinstance(received, Sum)
                assert received.is_monotonic
                assert [point.value for point in received.data_points] == [count]
                assert received.data_points[0].attributes == {
                    "network.multicast.group": group,
                    "network.local.port": senders.port,
                    "network.interface.name": "lo",
                }
                assert isinstance(told["aiomcast.packets.queued"], Gauge)
                (latest,) = told["aiomcast.membership.last_packet.time"].data_points
                assert latest.value == (feed.statistics().latest_ns or 0) / 1e9
        told = _collected(reader)
        assert [point.value for point in told["aiomcast.packets.received"].data_points] == [2]
    provider.shutdown()


async def test_only_sums_unless_memberships_are_asked_for(group: str, senders: Senders) -> None:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    async with aiomcast.Receiver() as receiver:
        instrument(receiver, provider.get_meter("test"))
        for port in (senders.port, senders.port + 1):
            await receiver.join(group, port, sources=[A], interface="lo")
        told = _collected(reader)
        assert not [name for name in told if name.startswith("aiomcast.membership")]
        (granted,) = told["aiomcast.receive_buffer"].data_points
        assert granted.value == receiver.statistics().receive_buffer > 0
        assert "aiomcast.last_packet.time" not in told  # none has come
    provider.shutdown()
