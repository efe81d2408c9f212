"""Packets become messages and are packets again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aiomcast import Packet
from aiomcast.relay.messages import Origin, origin_of, packet_of, tags_of_flow, tags_of_packet
from aiomcast.values.packets import Flow

FLOW = Flow("10.0.0.2", 4000, "239.1.1.1", 5000, 3)

packets = st.builds(
    Packet,
    data=st.binary(max_size=50),
    flow=st.builds(
        Flow,
        source=st.sampled_from(["10.0.0.2", "fe80::1"]),
        source_port=st.integers(0, 65535),
        group=st.sampled_from(["239.1.1.1", "ff1e::1"]),
        port=st.integers(1, 65535),
        interface_index=st.integers(1, 9),
    ),
    timestamp_ns=st.none() | st.integers(0, 2**63),
    truncated=st.booleans(),
    hop_limit=st.none() | st.integers(0, 255),
    traffic_class=st.none() | st.integers(0, 255),
    hardware_timestamp_ns=st.none(),
)


@given(packets, st.integers(1, 2**40), st.integers(0, 2**40), st.integers(0, 2**40))
def test_there_and_back(packet: Packet, counter: int, settled: int, merged: int) -> None:
    shared = tags_of_flow(packet.flow, "eth0", "a", "0f")
    tags = tags_of_packet(packet, shared, counter, f"{settled}/{merged}")
    back = packet_of(tags, packet.data)
    assert back is not None
    flow = packet.flow
    assert back == packet._replace(flow=Flow(flow.source, flow.source_port, flow.group, flow.port, 0))
    key = (flow.source, str(flow.source_port), flow.group, str(flow.port), "eth0")
    assert origin_of(tags) == Origin("a", "0f", key, counter, settled, merged)


@given(
    st.dictionaries(
        st.sampled_from(["Mcast-Source", "Mcast-Source-Port", "Mcast-Group", "Mcast-Port", "Mcast-Time",
                         "Mcast-Relay", "Mcast-Run", "Mcast-Counter", "Mcast-Settled"]),
        st.text(max_size=5),
    )
)  # fmt: skip
def test_what_is_no_relays(tags: dict[str, str]) -> None:
    packet_of(tags, b"")
    origin_of(tags)


def test_a_port_that_cannot_be() -> None:
    tags = tags_of_packet(Packet(b"", FLOW), tags_of_flow(FLOW, "eth0", "a", "0f"), 1, "0/0")
    assert packet_of(tags, b"") is not None
    assert packet_of({**tags, "Mcast-Port": "70000"}, b"") is None
