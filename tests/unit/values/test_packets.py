"""`Packet` and the tags it points to, and the counters."""

import copy
import gc
import pickle
import subprocess
import sys
import types
from ipaddress import IPv4Address
from typing import Any

import attrs
import pytest

from aiomcast import (
    AddressError,
    Channel,
    Event,
    Flow,
    Interface,
    MulticastError,
    Packet,
    SourceFilter,
    Statistics,
    StreamStatistics,
    reading,
)
from aiomcast.values import packets

FLOW = Flow("192.0.2.1", 4321, "232.1.1.1", 5000, 2)


def test_a_packet_answers_with_the_tags_of_its_flow() -> None:
    packet = Packet(b"data", FLOW, 17)
    assert (packet.source, packet.source_port, packet.group, packet.port, packet.interface_index) == (
        "192.0.2.1", 4321, "232.1.1.1", 5000, 2,
    )  # fmt: skip
    assert packet.channel == Channel("192.0.2.1", "232.1.1.1")
    assert (packet.data, packet.timestamp_ns, packet.truncated) == (b"data", 17, False)
    assert (packet.hop_limit, packet.traffic_class, packet.hardware_timestamp_ns) == (None, None, None)
    assert Packet(b"", FLOW).timestamp_ns is None


def test_channels_are_interned() -> None:
    other = Flow("192.0.2.1", 9, "232.1.1.1", 5001, 3)
    assert other != FLOW
    assert other.channel is FLOW.channel
    assert Flow("192.0.2.2", 4321, "232.1.1.1", 5000, 2).channel != FLOW.channel


@pytest.mark.parametrize(
    ("source", "group", "expected"),
    [
        ("2001:DB8:0::1", "FF0E:0::1", ("2001:db8::1", "ff0e::1")),
        ("fe80::1%7", "[ff32::1]", ("fe80::1", "ff32::1")),
        (" 192.0.2.1", "::ffff:232.1.1.1", ("192.0.2.1", "232.1.1.1")),
        (IPv4Address("192.0.2.1"), IPv4Address("232.1.1.1"), ("192.0.2.1", "232.1.1.1")),
    ],
)
def test_a_channel_is_canonical(source: Any, group: Any, expected: tuple[str, str]) -> None:
    made = Channel(source, group)
    assert (made.source, made.group) == expected
    assert made == Flow(expected[0], 1, expected[1], 2, 3).channel
    assert hash(made) == hash(Flow(expected[0], 1, expected[1], 2, 3).channel)
    assert attrs.evolve(made) == made == pickle.loads(pickle.dumps(made))


@pytest.mark.parametrize(
    ("source", "group"),
    [
        ("x", "232.1.1.1"), ("192.0.2.1", "x"), ("232.1.1.1", "192.0.2.1"), ("192.0.2.1", "ff3e::1"),
        ("0.0.0.0", "232.1.1.1"), ("2001:db8::1", "232.1.1.1"), ("", ""),
    ],
)  # fmt: skip
def test_a_channel_of_nonsense_is_refused(source: str, group: str) -> None:
    with pytest.raises(AddressError) as caught:
        Channel(source, group)
    assert caught.value.hint


def test_the_channel_of_what_was_received_is_not_parsed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("source_address", "group_address"):
        monkeypatch.setattr(packets, name, None)
    flow = Flow("198.51.100.77", 1, "232.1.2.77", 2, 3)
    assert (flow.channel.source, flow.channel.group) == ("198.51.100.77", "232.1.2.77")


@pytest.mark.parametrize(
    "owner", [Channel, Flow, SourceFilter, Interface, Event, Statistics, StreamStatistics]
)
def test_a_value_is_final(owner: type) -> None:
    assert owner.__final__ is True  # type: ignore[attr-defined]
    for options in ({}, {"option": 1}):
        with pytest.raises(TypeError, match=f"{owner.__name__} is final") as caught:
            types.new_class("Sub", (owner,), options)
        assert isinstance(caught.value, MulticastError)


@pytest.mark.parametrize(
    ("value", "name"),
    [(Packet(b"", FLOW), "data"), (FLOW, "source"), (FLOW.channel, "group"), (Statistics(), "received")],
)
def test_values_are_immutable_and_slotted(value: object, name: str) -> None:
    with pytest.raises(AttributeError):
        setattr(value, name, None)
    with pytest.raises(AttributeError):
        value.another = 1  # type: ignore[attr-defined]  # wrong on purpose
    assert not hasattr(value, "__dict__")


def test_values_survive_a_copy() -> None:
    packet = Packet(b"data", FLOW, 17, True, 5, 184, 9)
    for other in (pickle.loads(pickle.dumps(packet)), copy.deepcopy(packet)):
        assert other == packet
        assert other.channel == packet.channel
        assert hash(other.flow) == hash(FLOW)


def test_statistics_add_up_field_by_field() -> None:
    one = Statistics(1, 2, 3, 4, 5, 6, 7, 8)
    assert one + Statistics(10, 20, 30, 40, 50, 60, 70, 80) == Statistics(11, 22, 33, 44, 55, 66, 77, 88)
    assert one + Statistics() == one
    with pytest.raises(TypeError):
        one + StreamStatistics()  # type: ignore[operator]  # wrong on purpose


def test_statistics_are_subtracted_field_by_field() -> None:
    earlier, later = Statistics(1, 2, 3, 4, 5, 6, 7, 8), Statistics(11, 22, 33, 44, 55, 66, 5, 8)
    assert later - earlier == Statistics(10, 20, 30, 40, 50, 60, -2, 0)
    assert (later - earlier) + earlier == later
    with pytest.raises(TypeError):
        later - StreamStatistics()  # type: ignore[operator]


def test_a_packet_that_ends_gives_back_all_it_held() -> None:
    """The compiled reader ends packets its own way: also those that Python made, and subclasses."""
    assert reading.implementation  # the import is what changes it

    class Sub(Packet):  # type: ignore[misc]  # final for users; the mechanism must not depend on it
        pass

    flow = Flow("192.0.2.1", 1, "232.1.1.1", 2, 3)
    data = b"x" * 100
    gc.collect()  # packets that earlier tests left in cycles
    for kind in (Packet, Sub):
        held = sys.getrefcount(kind), sys.getrefcount(flow), sys.getrefcount(data)
        packets = [kind(data, flow, number) for number in range(1000)]
        nested = None
        for _ in range(50_000):  # deep enough for some to be put off while half of their fields are gone
            nested = kind(data, flow, nested, data)  # type: ignore[arg-type]  # nothing checks it at run time
        del packets, nested
        gc.collect()
        assert (sys.getrefcount(kind), sys.getrefcount(flow), sys.getrefcount(data)) == held


NESTED = """
import sys
from aiomcast import Packet, reading

class Sub(Packet):
    pass

def nested(kind, number, inner):
    if kind == "field":
        return Packet(*[inner if field == number % 7 else 7000 + field for field in range(7)])
    if kind == "twice":
        return Packet(inner, inner)
    return (Packet, Sub, lambda *items: items)[number % (3 if kind == "tuple" else 2)](inner, None)

packet = None
for number in range(1_000_000):
    packet = nested(sys.argv[1], number, packet)
del packet
print("ended")
"""


@pytest.mark.parametrize("kind", ["field", "twice", "subclass", "tuple"])
def test_packets_nested_deep_end_within_the_stack(kind: str) -> None:
    """In each field, in two at once, and with subclasses and tuples in between."""
    ended = subprocess.run([sys.executable, "-c", NESTED, kind], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (0, "ended\n"), ended.stderr
