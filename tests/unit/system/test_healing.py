"""What is decided when something becomes of an interface. No clock, no sockets."""

import random
from collections.abc import Collection

import attrs
import pytest

from aiomcast.system.healing import Action, Healing, Remedy
from aiomcast.values.links import (
    IFF_MULTICAST,
    IFF_RUNNING,
    IFF_UP,
    AddressAdded,
    AddressRemoved,
    Announcement,
    Link,
    LinkAddress,
    LinkChanged,
    LinkRemoved,
    Missed,
    RoutesChanged,
)

INDEX = 7
WELL = Link(
    index=INDEX,
    name="eth0",
    flags=IFF_UP | IFF_RUNNING | IFF_MULTICAST,
    mtu=1500,
    has_carrier=True,
    carrier_ups=1,
)
WITHOUT = attrs.evolve(WELL, flags=IFF_UP | IFF_MULTICAST, has_carrier=False)
DOWN = attrs.evolve(WELL, flags=IFF_MULTICAST, has_carrier=None)
BACK = attrs.evolve(WELL, carrier_ups=2)
IPV4 = LinkAddress(index=INDEX, address="192.0.2.1", prefix_length=24)
IPV6 = LinkAddress(index=INDEX, address="2001:db8::1", prefix_length=64)
BOTH = frozenset({4, 6})


def known(link: Link | None = WELL, addresses: Collection[str] = ("192.0.2.1",)) -> Healing:
    healing = Healing()
    healing.know(INDEX, link, addresses)
    return healing


def decided(healing: Healing, *announced: Announcement, joined: Collection[int] = (INDEX,)) -> list[Action]:
    """Return what is to be done, without what memberships that wait, or follow a route, do each time."""
    actions = healing.decide(announced, joined)
    return [one for one in actions if one.remedy not in (Remedy.FOLLOW, Remedy.REROUTE)]


def remedies(healing: Healing, *announced: Announcement) -> list[Remedy]:
    return [one.remedy for one in healing.decide(announced, (INDEX,))]


def test_a_carrier_that_was_lost_and_is_back_is_reported() -> None:
    healing = known()
    assert decided(healing, LinkChanged(WITHOUT)) == [Action(Remedy.LOSE, INDEX, "carrier")]
    assert decided(healing, LinkChanged(WITHOUT)) == []
    assert decided(healing, LinkChanged(BACK)) == [Action(Remedy.REPORT, INDEX, "carrier", BOTH)]
    assert decided(healing, LinkChanged(BACK)) == []


def test_a_flap_that_the_kernel_has_merged_is_seen_by_its_count() -> None:
    healing = known()
    assert decided(healing, LinkChanged(BACK)) == [Action(Remedy.REPORT, INDEX, "carrier", BOTH)]


def test_a_kernel_that_counts_no_carriers_shows_no_flap() -> None:
    healing = known(attrs.evolve(WELL, carrier_ups=None))
    assert decided(healing, LinkChanged(WELL)) == []


def test_a_flap_within_one_batch_is_told_and_reported() -> None:
    assert decided(known(), LinkChanged(WITHOUT), LinkChanged(BACK)) == [
        Action(Remedy.LOSE, INDEX, "carrier"),
        Action(Remedy.REPORT, INDEX, "carrier", BOTH),
    ]


def test_what_is_lost_again_at_the_end_of_a_batch_is_not_reported() -> None:
    assert decided(known(), LinkChanged(BACK), LinkChanged(WITHOUT)) == [
        Action(Remedy.LOSE, INDEX, "carrier")
    ]


@pytest.mark.parametrize("first", [DOWN, WITHOUT])
def test_what_was_set_down_meanwhile_says_so(first: Link) -> None:
    healing = known()
    decided(healing, LinkChanged(first))
    decided(healing, LinkChanged(DOWN))
    assert decided(healing, LinkChanged(WITHOUT)) == []
    assert decided(healing, LinkChanged(BACK)) == [
        Action(Remedy.REPORT, INDEX, "carrier", BOTH, was_down=True)
    ]
    decided(healing, LinkChanged(WITHOUT))
    assert decided(healing, LinkChanged(WELL)) == [Action(Remedy.REPORT, INDEX, "carrier", BOTH)]


def test_what_was_joined_while_it_was_down_is_reported_when_it_is_up() -> None:
    assert decided(known(DOWN), LinkChanged(WELL)) == [
        Action(Remedy.REPORT, INDEX, "down", BOTH, was_down=True)
    ]


@pytest.mark.parametrize("is_one_batch", [False, True])
def test_an_index_that_comes_again_is_a_ghost(is_one_batch: bool) -> None:
    healing, again = known(), attrs.evolve(WELL, flags=IFF_MULTICAST)
    if is_one_batch:
        actions = decided(healing, LinkRemoved(WELL), LinkChanged(again))
    else:
        actions = decided(healing, LinkRemoved(WELL)) + decided(healing, LinkChanged(again))
    assert actions == [Action(Remedy.LOSE, INDEX, "gone"), Action(Remedy.GHOST, INDEX, "made anew")]
    assert decided(healing, LinkChanged(WELL)) == [Action(Remedy.REPORT, INDEX, "down", BOTH, was_down=True)]


@pytest.mark.parametrize("by", ["mac", "alternative_names"])
def test_what_comes_again_by_another_name_is_called_by_that(by: str) -> None:
    mine = attrs.evolve(WELL, mac="02:00:00:00:00:01", alternative_names=("card",))
    other = attrs.evolve(mine, name="w0", mac="02:00:00:00:00:02", alternative_names=())
    healing = known(mine)
    decided(healing, LinkRemoved(mine))
    again = attrs.evolve(other, **{by: getattr(mine, by)})
    assert decided(healing, LinkChanged(again))[:2] == [
        Action(Remedy.RENAME, INDEX, name="w0"),
        Action(Remedy.GHOST, INDEX, "made anew"),
    ]


@pytest.mark.parametrize("is_one_batch", [False, True])
def test_an_index_that_another_interface_has_next_is_not_ours(is_one_batch: bool) -> None:
    mine = attrs.evolve(WELL, mac="02:00:00:00:00:01", alternative_names=("card",))
    other = attrs.evolve(mine, name="w0", mac="02:00:00:00:00:02", alternative_names=())
    healing = known(mine)
    announced = (LinkRemoved(mine), LinkChanged(other))
    batches = [announced] if is_one_batch else [(one,) for one in announced]
    actions = [action for batch in batches for action in decided(healing, *batch)]
    assert [one for one in actions if one.index] == [
        Action(Remedy.LOSE, INDEX, "gone"),
        Action(Remedy.TAKEN, INDEX),
    ]


def test_what_was_gone_before_it_could_be_looked_at_is_a_ghost_when_it_comes() -> None:
    assert decided(known(None), LinkChanged(WELL)) == [Action(Remedy.GHOST, INDEX, "made anew")]


def test_an_index_that_nobody_was_on_is_no_ghost() -> None:
    healing = known()
    assert decided(healing, LinkRemoved(WELL), joined=()) == []
    assert decided(healing, LinkChanged(WELL), joined=()) == []


def test_another_index_under_the_name_is_to_be_followed() -> None:
    healing, other = known(), attrs.evolve(WELL, index=9)
    assert remedies(healing, LinkRemoved(WELL)) == [Remedy.LOSE, Remedy.FOLLOW, Remedy.REROUTE]
    assert remedies(healing, LinkChanged(other)) == [Remedy.FOLLOW, Remedy.REROUTE]
    assert remedies(healing, LinkChanged(other)) == []
    assert healing.link(9) == other
    assert healing.link(INDEX) is None


def test_another_name_is_another_name() -> None:
    healing = known()
    assert decided(healing, LinkChanged(attrs.evolve(WELL, name="wan0"))) == [
        Action(Remedy.RENAME, INDEX, name="wan0")
    ]
    assert decided(healing, LinkChanged(attrs.evolve(WELL, name="wan0"))) == []


@pytest.mark.parametrize("is_told", [True, False])
def test_what_gets_another_name_and_goes_is_waited_for_by_that(is_told: bool) -> None:
    other = attrs.evolve(WELL, name="wan0")
    story: list[Announcement] = [LinkChanged(other)] if is_told else []
    assert decided(known(), *story, LinkRemoved(other)) == [
        Action(Remedy.RENAME, INDEX, name="wan0"),
        Action(Remedy.LOSE, INDEX, "gone"),
    ]


def test_an_alternative_name_may_be_waited_for() -> None:
    other = attrs.evolve(WELL, alternative_names=("enp0s31f6",))
    assert remedies(known(), LinkChanged(other)) == [Remedy.FOLLOW, Remedy.REROUTE]


@pytest.mark.parametrize(
    "announced", [LinkChanged(attrs.evolve(WELL, mtu=1000)), AddressRemoved(IPV4), AddressAdded(IPV6)]
)
def test_what_may_have_cost_the_device_its_groups_is_compared(announced: Announcement) -> None:
    assert decided(known(), announced) == [Action(Remedy.COMPARE, INDEX, "device")]


def test_a_new_ipv4_address_has_ipv4_reported_and_the_same_again_does_not() -> None:
    healing = known(addresses=())
    expected = [
        Action(Remedy.COMPARE, INDEX, "device"),
        Action(Remedy.REPORT, INDEX, "address", frozenset({4})),
    ]
    assert decided(healing, AddressAdded(IPV4)) == expected
    assert decided(healing, AddressAdded(IPV4)) == []  # its lifetime was renewed
    decided(healing, AddressRemoved(IPV4))
    assert decided(healing, AddressAdded(IPV4)) == expected


def test_without_a_carrier_an_address_is_not_reported() -> None:
    assert decided(known(WITHOUT, ()), AddressAdded(IPV4)) == [Action(Remedy.COMPARE, INDEX, "device")]


def test_routes_are_looked_up_once_a_batch() -> None:
    assert remedies(known(), RoutesChanged(4), RoutesChanged(6)) == [Remedy.REROUTE]


def test_what_nobody_is_on_is_let_alone() -> None:
    healing = known()
    other = attrs.evolve(WELL, index=9, name="eth1")
    decided(healing, LinkChanged(other))
    for announced in (
        LinkChanged(attrs.evolve(other, flags=IFF_UP)),
        AddressAdded(attrs.evolve(IPV4, index=9)),
    ):
        assert decided(healing, announced) == []


def test_what_was_missed_is_told_by_the_difference() -> None:
    healing, other = known(), attrs.evolve(WELL, index=9)
    assert healing.differences([WELL]) == []
    assert healing.differences([BACK, other]) == [LinkChanged(BACK), LinkChanged(other)]
    assert healing.differences([other]) == [LinkRemoved(WELL), LinkChanged(other)]
    assert decided(healing, Missed(), *healing.differences([BACK])) == [
        Action(Remedy.REPORT, INDEX, "carrier", BOTH)
    ]


@pytest.mark.parametrize("seed", range(20))
def test_whatever_is_announced_the_end_is_mended(seed: int) -> None:
    """A model: what a random story has done to an interface has been mended once it is well again."""
    draw = random.Random(seed)
    healing, is_owed = known(), False
    link: Link | None = WELL
    ups = 1
    for _ in range(200):
        story: list[Announcement] = []
        for _ in range(draw.randrange(1, 4)):
            match draw.choice(("carrier", "back", "gone", "made")):
                case "carrier" if link is not None and link.is_running:
                    link = attrs.evolve(link, flags=IFF_UP | IFF_MULTICAST)
                    story.append(LinkChanged(link))
                    is_owed = True
                case "back" if link is not None and not link.is_running:
                    ups += 1
                    link = attrs.evolve(WELL, carrier_ups=ups)
                    story.append(LinkChanged(link))
                case "gone" if link is not None:
                    story.append(LinkRemoved(link))
                    link, is_owed = None, True
                case "made" if link is None:
                    link = attrs.evolve(DOWN, carrier_ups=ups)
                    story.append(LinkChanged(link))
        done = [one.remedy for one in decided(healing, *story)]
        if link is not None and link.is_running:
            assert not is_owed or Remedy.REPORT in done or Remedy.GHOST in done
            is_owed = False
        else:
            assert Remedy.REPORT not in done
