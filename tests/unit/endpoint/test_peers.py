"""Addresses as asyncio has them: of who has sent, and of whom to send to."""

from typing import Any

import pytest

from aiomcast import AddressError, ArgumentError, ArgumentTypeError, Flow, Interface, InterfaceError
from aiomcast.endpoint.peers import destination, peer

ETH7 = Interface(7, "eth7", ("192.0.2.1", "2001:db8::1"), True)
ETH9 = Interface(9, "eth9", (), True)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("192.0.2.9", ("192.0.2.9", 4000)),
        ("2001:db8::9", ("2001:db8::9", 4000, 0, 0)),
        ("fe80::9", ("fe80::9", 4000, 0, 7)),
        ("fe8::9", ("fe8::9", 4000, 0, 0)),
        ("febf::9", ("febf::9", 4000, 0, 7)),
        ("fec0::9", ("fec0::9", 4000, 0, 0)),
    ],
)
def test_who_has_sent(source: str, expected: tuple[Any, ...]) -> None:  # Any: asyncio's own type
    assert peer(Flow(source, 4000, "ff02::1" if ":" in source else "224.0.0.1", 5000, 7)) == expected


@pytest.mark.parametrize(
    ("group", "addr", "expected"),
    [
        ("224.0.0.1", ("192.0.2.9", 5), ("192.0.2.9", 5)),
        ("224.0.0.1", ["192.0.2.9", 5], ("192.0.2.9", 5)),
        ("ff02::1", ("2001:db8::9", 5), ("2001:db8::9", 5, 0, 0)),
        ("ff02::1", ("2001:DB8:0::9", 5, 3), ("2001:db8::9", 5, 3, 0)),
        ("ff02::1", ("fe80::9", 5), ("fe80::9", 5, 0, 7)),
        ("ff02::1", ("fe80::9", 5, 0, 3), ("fe80::9", 5, 0, 3)),
        ("ff02::1", ("fe80::9%eth7", 5), ("fe80::9", 5, 0, 7)),
        ("ff02::1", ("fe80::9%7", 5, 0, 0), ("fe80::9", 5, 0, 7)),
        ("ff02::1", ("ff02::1", 5), ("ff02::1", 5, 0, 7)),
        ("ff02::1", ("fe80::9%eth9", 5), ("fe80::9", 5, 0, 9)),
        (
            "ff02::1",
            ("2001:db8::9", 5, (1 << 20) - 1, (1 << 32) - 1),
            ("2001:db8::9", 5, 0xFFFFF, 0xFFFFFFFF),
        ),
    ],
)
def test_whom_to_send_to(group: str, addr: object, expected: tuple[Any, ...]) -> None:  # Any: as above
    assert destination(addr, group, (ETH7, ETH9)) == expected


@pytest.mark.parametrize(
    ("group", "addr", "error"),
    [
        ("224.0.0.1", ("::1", 5), AddressError),
        ("224.0.0.1", ("192.0.2.9", 0), ArgumentError),
        ("224.0.0.1", ("192.0.2.9", "http"), ArgumentTypeError),
        ("224.0.0.1", ("a.name", 5), AddressError),
        ("224.0.0.1", "192.0.2.9", ArgumentTypeError),
        ("224.0.0.1", (b"192.0.2.9", 5), ArgumentTypeError),
        ("ff02::1", ("192.0.2.9", 5), AddressError),
        ("ff02::1", ("::ffff:192.0.2.9", 5), AddressError),
        ("ff02::1", ("fe80::9%eth8", 5), InterfaceError),
        ("ff02::1", ("fe80::9", 5, 0, "eth7"), ArgumentTypeError),
        ("ff02::1", ("fe80::9", 5, True, 7), ArgumentTypeError),
        ("ff02::1", ("fe80::9", 5, -1, 7), ArgumentError),
        ("ff02::1", ("fe80::9", 5, 1 << 20, 7), ArgumentError),
        ("ff02::1", ("fe80::9", 5, 0, -1), ArgumentError),
        ("ff02::1", ("fe80::9", 5, 0, 1 << 32), ArgumentError),
        ("224.0.0.1", ("192.0.2.9", 5, 0), ArgumentTypeError),
        ("ff02::1", ("fe80::9", 5, 0, 7, 0), ArgumentTypeError),
        ("ff02::1", (), ArgumentTypeError),
    ],
)
def test_what_is_no_address_to_send_to(group: str, addr: object, error: type[Exception]) -> None:
    with pytest.raises(error):
        destination(addr, group, (ETH7, ETH9))
