"""The ABI tables against numbers, layouts and bytes compiled from each platform's own headers."""

from __future__ import annotations

import ast
import contextlib
import ipaddress
import json
import pathlib
import re
import struct
import sys
from collections.abc import Callable, Sequence
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiomcast.errors import UnsupportedError
from aiomcast.rfc3678 import abi as package
from aiomcast.rfc3678.abi import FREEBSD, LINUX_32, LINUX_64, MACOS, TABLES, WINDOWS, Abi, native
from aiomcast.rfc3678.abi.constants import Constants

GOLDEN = json.loads((pathlib.Path(__file__).parents[2] / "data" / "multicast-abi.json").read_text("utf-8"))
MADE_BY = {
    LINUX_64: "linux-aarch64 linux-x86_64 linux-x86_64-musl",
    LINUX_32: "linux-armhf linux-armhf-time64 linux-i386 linux-i386-time64",
    FREEBSD: "freebsd-aarch64 freebsd-amd64",
    MACOS: "macos-arm64 macos-x86_64",
    WINDOWS: "windows-arm64 windows-x86_64",
}
PLATFORMS = {platform: table for table, platforms in MADE_BY.items() for platform in platforms.split()}
NAMES = [field.name for field in attrs.fields(Constants)]
POINTER = 0x1122334455667788

every_platform = pytest.mark.parametrize("platform", PLATFORMS)
every_table = pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
little_endian = pytest.mark.skipif(sys.byteorder != "little", reason="the vectors are little-endian")


def test_every_platform_of_the_data_has_a_table() -> None:
    assert set(PLATFORMS) == set(GOLDEN["platforms"]) == set(GOLDEN["vectors"])
    assert set(PLATFORMS.values()) == set(TABLES)
    assert [table.name for table in TABLES] == ["linux-64", "linux-32", "freebsd", "macos", "windows"]


# Constants

# The data was taken from headers older than these names (asm-generic/socket.h of Linux 5.0 and
# 5.14), or without these headers (sys/sockio.h, net/if.h, linux/net_tstamp.h).
NOT_IN_THE_DATA = {
    "SO_BINDTOIFINDEX": {"linux-64": 62, "linux-32": 62},
    "SO_NETNS_COOKIE": {"linux-64": 71, "linux-32": 71},
    "SOF_TIMESTAMPING_RX_HARDWARE": {"linux-64": 4, "linux-32": 4},
    "SOF_TIMESTAMPING_RAW_HARDWARE": {"linux-64": 64, "linux-32": 64},
    "SIOCGIFFLAGS": {"linux-64": 0x8913, "linux-32": 0x8913, "freebsd": 0xC0206911, "macos": 0xC0206911},
    "IFF_LOOPBACK": {"linux-64": 0x8, "linux-32": 0x8, "freebsd": 0x8, "macos": 0x8},
    "IFF_UP": {"linux-64": 0x1, "linux-32": 0x1, "freebsd": 0x1, "macos": 0x1},
    "IFF_MULTICAST": {"linux-64": 0x1000, "linux-32": 0x1000, "freebsd": 0x8000, "macos": 0x8000},
}

# Where the table differs from one header on purpose: the header's value, the table's.
DIFFERENT = {
    # musl does not define the kernel's name.
    ("linux-x86_64-musl", "SO_TIMESTAMP_NEW"): (None, 63),
    ("linux-x86_64-musl", "SO_TIMESTAMPNS_NEW"): (None, 64),
    ("linux-x86_64-musl", "SO_TIMESTAMPING_NEW"): (None, 65),
    # With a 64-bit time_t the C library's names mean _NEW; the table's always mean _OLD.
    **{
        (f"linux-{machine}-time64", f"{prefix}_{name}"): values
        for machine in ("armhf", "i386")
        for prefix in ("SO", "SCM")
        for name, values in {"TIMESTAMP": (63, 29), "TIMESTAMPNS": (64, 35)}.items()
    },
    **{(f"linux-{machine}-time64", "SO_TIMESTAMPING"): (65, 37) for machine in ("armhf", "i386")},
}


@every_platform
@pytest.mark.parametrize("name", NAMES)
def test_constant_is_the_headers(platform: str, name: str) -> None:
    table = PLATFORMS[platform]
    constants = GOLDEN["platforms"][platform]["constants"]
    value = getattr(table, name)
    if name in NOT_IN_THE_DATA:
        assert name not in constants
        assert value == NOT_IN_THE_DATA[name].get(table.name)
    else:
        assert (constants[name], value) == DIFFERENT.get((platform, name), (constants[name],) * 2)


# Layouts and vectors: every structure, the arguments that make it, and its fields by offset

GROUP4, GROUP6 = bytes((232, 1, 2, 3)), ipaddress.IPv6Address("ff3e::4321:1234").packed
SOURCE4, SOURCE6 = bytes((192, 0, 2, 10)), ipaddress.IPv6Address("2001:db8::10").packed
INTERFACE = bytes((192, 0, 2, 1))

PACK: dict[str, Callable[..., bytes]] = {
    "sockaddr_in": lambda t, group, port: t.sockaddr(group, port),
    "sockaddr_in6": lambda t, group, port, scope: t.sockaddr(group, port, scope),
    "ip_mreq": Abi.ip_mreq,
    "ip_mreqn": Abi.ip_mreqn,
    "ip_mreq_source": Abi.ip_mreq_source,
    "group_req": Abi.group_req,
    "group_source_req": Abi.group_source_req,
    "ipv6_mreq": Abi.ipv6_mreq,
    "ip_msfilter": Abi.ip_msfilter,
    "group_filter": Abi.group_filter,
    "__msfilterreq": lambda t, nsrcs, srcs, **state: t.msfilterreq(**state, count=nsrcs, pointer=srcs),
    "sockaddr_storage": Abi.source_storage,
}
PARSE: dict[str, Callable[[Abi, bytes], object]] = {
    "sockaddr_in": Abi.address_of,
    "sockaddr_in6": Abi.address_of,
    "ip_msfilter": Abi.parse_ip_msfilter,
    "group_filter": Abi.parse_group_filter,
    "__msfilterreq": Abi.parse_msfilterreq,
    "sockaddr_storage": lambda t, raw: t.parse_source_storage(raw, len(raw) // 128),
}
# The field of the header and the value it holds; "family" and "len" are made by the test.
FIELDS = {
    "sockaddr_in": "sin_len=len sin_family=family sin_port=port sin_addr=group sin_zero=zero",
    "sockaddr_in6": "sin6_len=len sin6_family=family sin6_port=port sin6_flowinfo=zero "
    "sin6_addr=group sin6_scope_id=scope",
    "sockaddr_storage": "ss_len=len ss_family=family",
    "ip_mreq": "imr_multiaddr=group imr_interface=interface",
    "ip_mreqn": "imr_multiaddr=group imr_address=address imr_ifindex=ifindex",
    "ip_mreq_source": "imr_multiaddr=group imr_interface=interface imr_sourceaddr=source",
    "group_req": "gr_interface=ifindex gr_group=group",
    "group_source_req": "gsr_interface=ifindex gsr_group=group gsr_source=source",
    "ipv6_mreq": "ipv6mr_multiaddr=group ipv6mr_interface=ifindex",
    "ip_msfilter": "imsf_multiaddr=group imsf_interface=interface imsf_fmode=mode "
    "imsf_numsrc=nsrcs imsf_slist=first",
    "group_filter": "gf_interface=ifindex gf_group=group gf_fmode=mode gf_numsrc=nsrcs gf_slist=first",
    "__msfilterreq": "msfr_ifindex=ifindex msfr_fmode=mode msfr_nsrcs=nsrcs __msfr_align=zero "
    "msfr_group=group msfr_srcs=srcs",
}
# Structures of the data that no table lays out: received ones, and ctypes' and socket's own.
OTHER_STRUCTS = (
    "WSABUF WSACMSGHDR WSAMSG cmsghdr in6_addr in6_pktinfo in_addr in_pktinfo iovec mmsghdr "
    "msghdr sockaddr sockaddr_dl timespec timeval"
)


def packed(text: str) -> bytes:
    by_index = re.fullmatch(r"index (\d+) as ([\d.]+) \(Windows\)", text)
    if by_index is None:
        return ipaddress.ip_address(text).packed
    address = WINDOWS.interface_as_address(int(by_index[1]))
    assert address == ipaddress.ip_address(by_index[2]).packed
    return address


def value_of(table: Abi, key: str, text: str) -> Any:  # Any: what the table's method of that name takes
    match key:
        case "group" | "interface" | "source" | "address":
            return packed(text)
        case "ifindex" | "port" | "scope" | "nsrcs":
            return int(text)
        case "mode":
            return {"INCLUDE": table.MCAST_INCLUDE, "EXCLUDE": table.MCAST_EXCLUDE}[text]
        case "sources":
            return [] if text == "(none)" else [packed(one) for one in text.split(",")]
        case "srcs":
            return {"POINTER": 0x1122334455667788, "NULL": 0}[text]
    raise AssertionError(f"no test knows {key}={text}")


def read_vector(table: Abi, what: str) -> tuple[str, dict[str, Any]]:  # Any: as above
    """Return the structure and its arguments. Whatever is not understood is a failure."""
    what = re.sub(r"^(sockaddr_storage)\[\d+\] slist (\S+) \(.*\)$", r"\1 sources=\2", what)
    value = r"index \d+ as \S+ \(Windows\)|\S+"
    assert re.fullmatch(rf"\w+( \w+=({value}))+", what), f"no test knows the vector {what!r}"
    kind = what.split()[0]
    assert kind in PACK, f"no test knows the vector {what!r}"
    found = re.findall(rf" (\w+)=({value})", what)
    return kind, {key: value_of(table, key, text) for key, text in found}


def encoded(table: Abi, value: Any, where: dict[str, Any]) -> bytes:  # Any: JSON
    if isinstance(value, int):
        return value.to_bytes(where["size"], "big" if where["order"] == "network" else "little")
    assert isinstance(value, bytes)
    return table.sockaddr_storage(value) if where["order"] == "sockaddr" else value


VECTORS = [(platform, v) for platform in PLATFORMS for v in GOLDEN["vectors"][platform]]


@little_endian
@pytest.mark.parametrize(
    ("platform", "vector"), VECTORS, ids=[f"{platform}: {v['what']}" for platform, v in VECTORS]
)
def test_vector_byte_by_byte(platform: str, vector: dict[str, Any]) -> None:  # Any: JSON
    table, raw = PLATFORMS[platform], bytes.fromhex(vector["hex"])
    kind, values = read_vector(table, vector["what"])
    assert len(raw) == vector["optlen"]
    assert PACK[kind](table, **values).hex() == raw.hex()

    sources = values.get("sources", [])
    if kind in ("ip_msfilter", "group_filter"):
        expected: object = (*list(values.values())[:3], len(sources), sources)
    else:
        expected = {"__msfilterreq": tuple(values.values()), "sockaddr_storage": sources}.get(
            kind, values.get("group")
        )
    if kind in PARSE:
        assert PARSE[kind](table, raw) == expected

    # The same bytes, taken apart by the header's sizes and offsets.
    values = {"nsrcs": len(sources), "first": sources[0] if sources else b"", "zero": 0} | values
    v6 = kind == "sockaddr_in6"
    values |= {"len": 28 if v6 else 16, "family": table.AF_INET6 if v6 else table.AF_INET}
    header = GOLDEN["platforms"][platform]["structs"][kind]
    names = dict(pair.split("=") for pair in FIELDS[kind].split())
    for field, where in header["fields"].items():
        part = raw[where["offset"] : where["offset"] + where["size"]]
        if part or sources:  # a filter of no sources ends before its list
            assert part == encoded(table, values[names[field]], where), field
    slot = {"ip_msfilter": 4, "group_filter": 128, "sockaddr_storage": 128}.get(kind, 0)
    assert len(raw) == header["size"] + slot * (len(sources) - 1 if slot else 0)


@every_platform
def test_every_structure_has_a_vector_or_is_unsupported(platform: str) -> None:
    table, structs = PLATFORMS[platform], GOLDEN["platforms"][platform]["structs"]
    seen = {read_vector(table, v["what"])[0] for v in GOLDEN["vectors"][platform]}
    seen.add("sockaddr_storage")  # its vector is the BSDs' list; below for the others
    assert set(structs) - set(OTHER_STRUCTS.split()) == seen
    for address in (GROUP4, GROUP6):
        raw = table.sockaddr(address).ljust(structs["sockaddr_storage"]["size"], b"\0")
        assert table.sockaddr_storage(address) == raw
    absent: dict[str, Callable[[], object]] = {
        "ip_mreqn": lambda: table.ip_mreqn(GROUP4, INTERFACE, 1),
        "ip_msfilter": lambda: table.ip_msfilter(GROUP4, INTERFACE, 1, []),
        "group_filter": lambda: table.group_filter(1, GROUP4, 1, []),
        "__msfilterreq": lambda: table.msfilterreq(1, GROUP4, 1, 0, 0),
    }
    assert set(PACK) - seen <= set(absent)
    for name in set(PACK) - seen:
        with pytest.raises(UnsupportedError, match=name):
            absent[name]()


@every_platform
@pytest.mark.parametrize("n", [0, 1, 2, 3, 10, 128])
def test_list_sizes_are_the_headers(platform: str, n: int) -> None:
    table, sizes = PLATFORMS[platform], GOLDEN["platforms"][platform]["sizes"]
    if table.full_state == "bsd":
        assert sizes["slist bytes"] == "128*n behind msfr_srcs"
        assert len(table.source_storage([SOURCE6] * n)) == 128 * n
    else:
        filter4 = table.ip_msfilter(GROUP4, INTERFACE, 0, [SOURCE4] * n)
        filter6 = table.group_filter(1, GROUP6, 0, [SOURCE6] * n)
        assert len(filter4) == sizes[f"IP_MSFILTER_SIZE({n})"]
        assert len(filter6) == sizes[f"GROUP_FILTER_SIZE({n})"]


@every_table
def test_full_state_form_is_the_platforms(table: Abi) -> None:
    forms = {"linux": table.MCAST_MSFILTER, "bsd": table.IPV6_MSFILTER, "windows": table.SIOCSMSFILTER}
    assert [form for form, number in forms.items() if number is not None] == [table.full_state]


# Round trips and bad input

tables = st.sampled_from(TABLES)
uint32 = st.integers(0, 2**32 - 1)
ipv4, ipv6 = st.binary(min_size=4, max_size=4), st.binary(min_size=16, max_size=16)
channels = st.one_of(*[st.tuples(address, st.lists(address, max_size=12)) for address in (ipv4, ipv6)])


@given(tables, ipv4 | ipv6, st.integers(0, 65535), uint32)
def test_sockaddr_round_trip(table: Abi, address: bytes, port: int, scope: int) -> None:
    raw = table.sockaddr(address, port, scope)
    assert table.address_of(raw) == table.address_of(raw + b"more") == address
    assert table.address_of(table.sockaddr_storage(address)) == address


@given(st.sampled_from([LINUX_64, LINUX_32, WINDOWS]), ipv4, ipv4, uint32, st.lists(ipv4), uint32)
def test_ip_msfilter_round_trip(
    table: Abi, group: bytes, interface: bytes, mode: int, sources: Sequence[bytes], more: int
) -> None:
    raw = table.ip_msfilter(group, interface, mode, sources)
    assert table.parse_ip_msfilter(raw) == (group, interface, mode, len(sources), sources)
    whole = max(len(sources), more)  # the kernel tells the whole number, whatever the room
    answer = raw[:12] + struct.pack("=I", whole) + raw[16:] + b"xyz"
    assert table.parse_ip_msfilter(answer) == (group, interface, mode, whole, sources)
    assert table.parse_ip_msfilter(raw + bytes(8))[3:] == (len(sources), sources)


@given(st.sampled_from([LINUX_64, LINUX_32, WINDOWS]), channels, uint32, uint32, uint32)
def test_group_filter_round_trip(
    table: Abi, channel: tuple[bytes, list[bytes]], ifindex: int, mode: int, more: int
) -> None:
    group, sources = channel
    raw = table.group_filter(ifindex, group, mode, sources)
    assert table.parse_group_filter(raw) == (ifindex, group, mode, len(sources), sources)
    whole = max(len(sources), more)
    layout = table.group_filter_layout
    assert layout is not None
    answer = raw[: layout.size - 4] + struct.pack("=I", whole) + raw[layout.size :] + b"xyz"
    assert table.parse_group_filter(answer) == (ifindex, group, mode, whole, sources)
    assert table.parse_group_filter(raw + bytes(256))[3:] == (len(sources), sources)


@given(st.sampled_from([FREEBSD, MACOS]), channels, uint32, uint32, uint32, st.integers(0, 2**64 - 1))
def test_msfilterreq_round_trip(
    table: Abi, channel: tuple[bytes, list[bytes]], ifindex: int, mode: int, count: int, pointer: int
) -> None:
    state = ifindex, channel[0], mode, count, pointer
    assert table.parse_msfilterreq(table.msfilterreq(*state)) == state


@given(tables, st.lists(ipv4 | ipv6, max_size=8), st.integers(0, 20))
def test_source_storage_round_trip(table: Abi, sources: list[bytes], count: int) -> None:
    assert table.parse_source_storage(table.source_storage(sources), count) == sources[:count]


@given(tables, st.binary(max_size=600), st.integers(-3, 10))
def test_parsing_anything_raises_value_error_only(table: Abi, data: bytes, count: int) -> None:
    filters = (
        ["parse_msfilterreq"] if table.full_state == "bsd" else ["parse_ip_msfilter", "parse_group_filter"]
    )
    for name in ("address_of", *filters):
        with contextlib.suppress(ValueError):
            getattr(table, name)(data)
    with contextlib.suppress(ValueError):
        table.parse_source_storage(data, count)


@every_table
def test_every_truncation_is_a_value_error(table: Abi) -> None:
    parsers: list[tuple[bytes, Callable[[bytes], object]]]
    parsers = [(table.sockaddr(address), table.address_of) for address in (GROUP4, GROUP6)]
    if table.full_state == "bsd":
        parsers.append((table.msfilterreq(1, GROUP6, 1, 0, 0), table.parse_msfilterreq))
    else:
        parsers.append((table.ip_msfilter(GROUP4, INTERFACE, 1, []), table.parse_ip_msfilter))
        parsers.append((table.group_filter(1, GROUP6, 1, []), table.parse_group_filter))
    for raw, parse in parsers:
        parse(raw)
        for size in range(len(raw)):
            with pytest.raises(ValueError, match="too short"):
                parse(raw[:size])


@every_table
def test_unknown_family_and_negative_count_are_value_errors(table: Abi) -> None:
    known = {table.AF_INET, table.AF_INET6}
    for number in set(range(256)) - known:
        head = bytes((28, number)) if table.full_state == "bsd" else struct.pack("=H", number)
        with pytest.raises(ValueError, match=f"family {number}$"):
            table.address_of(head.ljust(128, b"\0"))
    with pytest.raises(ValueError, match="-1"):
        table.parse_source_storage(b"", -1)


@every_table
def test_parser_of_a_structure_that_is_not_there_is_unsupported(table: Abi) -> None:
    bsd = table.full_state == "bsd"
    absent = ["parse_ip_msfilter", "parse_group_filter"] if bsd else ["parse_msfilterreq"]
    for name in absent:
        with pytest.raises(UnsupportedError, match=table.name):
            getattr(table, name)(bytes(600))


WRONG_LENGTHS: dict[str, list[tuple[object, ...]]] = {
    "sockaddr": [(b"12345",)],
    "sockaddr_storage": [(b"",)],
    "ip_mreq": [(GROUP6, INTERFACE), (GROUP4, SOURCE6)],
    "ip_mreqn": [(GROUP6, INTERFACE, 1), (GROUP4, b"", 1)],
    "ipv6_mreq": [(GROUP4, 1)],
    "ip_mreq_source": [(GROUP4, INTERFACE, SOURCE6), (GROUP4, SOURCE6, SOURCE4)],
    "group_req": [(1, b"abc")],
    "group_source_req": [(1, GROUP4, SOURCE6), (1, GROUP6, SOURCE4)],
    "ip_msfilter": [(GROUP4, INTERFACE, 1, [SOURCE4, SOURCE6])],
    "group_filter": [(1, GROUP6, 1, [SOURCE6, SOURCE4])],
}


@pytest.mark.parametrize("method", WRONG_LENGTHS)
def test_address_of_a_wrong_length_is_never_cut(method: str) -> None:
    for arguments in WRONG_LENGTHS[method]:
        with pytest.raises(ValueError, match=r"address|IPv6 group"):
            getattr(LINUX_64, method)(*arguments)


# Windows' interface as an address, and the choice of the table


@given(st.integers(0, 2**24 - 1))
def test_interface_index_as_address(ifindex: int) -> None:
    assert WINDOWS.interface_as_address(ifindex) == struct.pack(">I", ifindex)


@pytest.mark.parametrize("ifindex", [-1, 1 << 24, 1 << 32, 1 << 64])
def test_interface_index_beyond_24_bits(ifindex: int) -> None:
    with pytest.raises(ValueError, match="24 bits"):
        WINDOWS.interface_as_address(ifindex)


@pytest.mark.parametrize("table", [LINUX_64, LINUX_32, FREEBSD, MACOS], ids=lambda t: t.name)
def test_interface_index_as_address_is_only_windows(table: Abi) -> None:
    with pytest.raises(UnsupportedError, match=table.name):
        table.interface_as_address(3)


CHOICES = [("linux", 8, LINUX_64), ("linux", 4, LINUX_32), ("freebsd14", 8, FREEBSD)]
CHOICES += [("darwin", 8, MACOS), ("win32", 8, WINDOWS)]
NO_CHOICE = [("freebsd14", 4, None), ("win32", 4, None), ("sunos5", 8, None), ("cygwin", 8, None)]


@pytest.mark.parametrize(("platform", "pointer", "table"), [*CHOICES, *NO_CHOICE])
def test_native(monkeypatch: pytest.MonkeyPatch, platform: str, pointer: int, table: Abi | None) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(struct, "calcsize", {"P": pointer}.__getitem__)
    if table is None:
        with pytest.raises(UnsupportedError, match=f"{platform} with {8 * pointer}-bit"):
            native()
    else:
        assert native() is table


def test_the_package_is_pure() -> None:
    allowed = {"__future__", "attrs", "collections", "functools", "struct", "sys", "typing"}
    for file in pathlib.Path(package.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                assert {alias.name.split(".")[0] for alias in node.names} <= allowed, file
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                assert (node.module or "").split(".")[0] in allowed, file
            elif isinstance(node, ast.ImportFrom) and node.level > 1:
                assert (node.level, node.module) == (3, "errors"), file


def test_a_table_cannot_be_changed() -> None:
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        LINUX_64.AF_INET = 3  # type: ignore[misc]  # the number of this turn
    assert not hasattr(LINUX_64, "__dict__")
