"""What nftables' rules have dropped, from a list as nft 1.0.6 has written it."""

from pathlib import Path

import pytest

from aiomcast.diagnosis import nft
from aiomcast.diagnosis.facts import RuleDrops

RECORDED = Path(__file__).parents[2] / "data/nft/ruleset.json"
DROP, REJECT = "ip t i handle 2", "ip t i handle 3"


def test_rules_that_drop_and_count() -> None:
    assert nft.dropping(RECORDED.read_text()) == {DROP: 0, REJECT: 3}


def test_what_they_have_dropped_in_between() -> None:
    before = {DROP: 0, REJECT: 3, "ip t i handle 9": 5}
    after = {DROP: 2, REJECT: 10, "inet new one handle 1": 7}
    assert nft.dropped(before, after) == (RuleDrops(REJECT, 7), RuleDrops(DROP, 2))
    assert nft.dropped(after, after) == ()


@pytest.mark.parametrize("told", ["", "[]", '{"nftables": 3}', "Operation not permitted"])
def test_what_is_no_list_of_rules(told: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        nft.dropping(told)


def test_what_is_not_as_expected_is_left_out() -> None:
    told = '{"nftables": [3, {"rule": 4}, {"rule": {"expr": [{"counter": "named"}, {"drop": null}]}}]}'
    assert nft.dropping(told) == {}
