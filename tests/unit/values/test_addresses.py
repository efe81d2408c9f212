"""Any accepted form in, canonical text out."""

from ipaddress import IPv4Address, IPv4Interface, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiomcast import AddressError, ArgumentError, Scope, is_ssm, scope
from aiomcast.values import addresses

v4 = st.ip_addresses(v=4)
v6 = st.ip_addresses(v=6)


@pytest.mark.parametrize(
    ("given_form", "text", "zone"),
    [
        ("192.0.2.1", "192.0.2.1", None),
        (" 192.0.2.1\n", "192.0.2.1", None),
        (IPv4Address("192.0.2.1"), "192.0.2.1", None),
        ("2001:DB8:0:0::01", "2001:db8::1", None),
        ("[2001:db8::1]", "2001:db8::1", None),
        (IPv6Address("2001:db8::1"), "2001:db8::1", None),
        ("fe80::1%eth0", "fe80::1", "eth0"),
        ("[fe80::1%7]", "fe80::1", "7"),
        (IPv6Address("fe80::1%7"), "fe80::1", "7"),
        ("::ffff:192.0.2.1", "192.0.2.1", None),
        (IPv6Address("::ffff:c000:201"), "192.0.2.1", None),
    ],
)
def test_every_accepted_form_has_one_canonical_text(
    given_form: addresses.Address, text: str, zone: str | None
) -> None:
    assert addresses.canonical(given_form) == text
    assert addresses.split_zone(given_form) == (text, zone)
    assert addresses.unpack(addresses.pack(given_form)) == text
    assert addresses.family(given_form) == (6 if ":" in text else 4)


@pytest.mark.parametrize(
    "wrong",
    ["", "x", "example.org", "192.0.2", "192.0.2.256", "192.0.2.1/24", "1", "::1::", "fe80::1%",
     "192.0.2.1:5000", 1, 3232235777, True, None, b"\x7f\0\0\1", 1.5, [], IPv4Interface("192.0.2.1/24")],
)  # fmt: skip
def test_what_is_no_address_is_an_address_error_with_a_hint(wrong: object) -> None:
    with pytest.raises(AddressError, match="is not an address") as caught:
        addresses.canonical(wrong)  # type: ignore[arg-type]  # wrong on purpose
    assert caught.value.hint


@given(v4 | v6)
def test_text_and_bytes_round_trip(address: IPv4Address | IPv6Address) -> None:
    text = addresses.canonical(address)
    assert addresses.canonical(text) == text
    assert addresses.canonical(text.upper()) == text
    assert addresses.unpack(addresses.pack(address)) == text
    mapped = getattr(address, "ipv4_mapped", None)
    assert text == str(mapped or address)


@given(st.text())
def test_any_text_is_an_address_or_an_address_error(text: str) -> None:
    try:
        canonical = addresses.canonical(text)
    except AddressError:
        return
    assert addresses.canonical(canonical) == canonical


@given(st.binary(max_size=40))
def test_bytes_of_another_length_are_an_address_error(packed: bytes) -> None:
    if len(packed) in (4, 16):
        assert addresses.pack(addresses.unpack(packed)) in (packed, packed[-4:])
        return
    with pytest.raises(AddressError):
        addresses.unpack(packed)


@given(v4 | v6)
def test_a_group_is_what_the_system_calls_multicast(address: IPv4Address | IPv6Address) -> None:
    mapped = getattr(address, "ipv4_mapped", None)
    if (mapped or address).is_multicast:
        assert addresses.group_address(address) == addresses.canonical(address)
    else:
        with pytest.raises(AddressError, match="is not a multicast group") as caught:
            addresses.group_address(address)
        assert caught.value.hint


@pytest.mark.parametrize(
    ("source", "group", "complaint"),
    [
        ("224.0.0.1", None, "multicast"),
        ("239.255.255.255", None, "multicast"),
        ("ff02::1", None, "multicast"),
        ("0.0.0.0", None, "unspecified"),
        ("::", None, "unspecified"),
        ("255.255.255.255", None, "broadcast"),
        ("::ffff:255.255.255.255", None, "broadcast"),
        ("192.0.2.1", "ff3e::1", "IPv4"),
        ("2001:db8::1", "232.1.1.1", "IPv6"),
    ],
)
def test_addresses_no_source_can_have(source: str, group: str | None, complaint: str) -> None:
    with pytest.raises(AddressError, match=complaint) as caught:
        addresses.source_address(source, group)
    assert caught.value.hint


def test_a_source_of_the_groups_family_passes() -> None:
    assert addresses.source_address("::FFFF:192.0.2.1", "232.1.1.1") == "192.0.2.1"
    assert addresses.source_address("FE80::1%lo", "ff32::1") == "fe80::1"


@pytest.mark.parametrize("port", [0, -1, 65536, True, "5000", 5000.0, None])
def test_a_port_is_a_whole_number_from_1_to_65535(port: object) -> None:
    with pytest.raises(ArgumentError, match="port") as caught:
        addresses.check_port(port)  # type: ignore[arg-type]  # wrong on purpose
    assert caught.value.hint
    assert [addresses.check_port(good) for good in (1, 65535)] == [1, 65535]


@pytest.mark.parametrize(
    ("group", "expected"),
    [
        ("231.255.255.255", False), ("232.0.0.0", True), ("232.255.255.255", True), ("233.0.0.0", False),
        ("ff30::", True), ("ff3e::1", True), ("ff3f:0:ffff::1", True), ("ff3e:1::1", False),
        ("ff2e::1", False), ("ff4e::1", False), ("fe3e::1", False), ("::ffff:232.1.1.1", True),
    ],
)  # fmt: skip
def test_the_source_specific_ranges_are_those_of_rfc_4607(group: str, expected: bool) -> None:
    assert is_ssm(group) is expected


@pytest.mark.parametrize(
    ("group", "expected"),
    [
        ("224.0.0.251", Scope.LINK_LOCAL), ("224.0.1.1", Scope.GLOBAL), ("232.1.1.1", Scope.GLOBAL),
        ("239.255.0.1", Scope.SITE_LOCAL), ("239.192.0.1", Scope.ORGANIZATION_LOCAL),
        ("239.195.255.255", Scope.ORGANIZATION_LOCAL), ("239.196.0.1", Scope.GLOBAL),
        ("ff01::1", Scope.INTERFACE_LOCAL), ("ff02::1", Scope.LINK_LOCAL), ("ff33::1", Scope.REALM_LOCAL),
        ("ff04::1", Scope.ADMIN_LOCAL), ("ff05::1", Scope.SITE_LOCAL), ("ff06::1", Scope.ORGANIZATION_LOCAL),
        ("ff08::1", Scope.ORGANIZATION_LOCAL), ("ff0e::1", Scope.GLOBAL), ("ff0f::1", Scope.GLOBAL),
    ],
)  # fmt: skip
def test_scope(group: str, expected: Scope) -> None:
    assert scope(group) is expected


def test_only_a_group_has_a_scope() -> None:
    with pytest.raises(AddressError):
        scope("192.0.2.1")
