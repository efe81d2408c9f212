"""The template of subjects."""

from __future__ import annotations

import pytest

from aiomcast import AddressError, ArgumentError
from aiomcast.relay.subjects import DEFAULT_SUBJECT, Subject
from aiomcast.values.packets import Flow

FLOW = Flow("10.0.0.2", 4000, "239.1.1.1", 5000, 3)


def test_of_a_flow() -> None:
    assert Subject(DEFAULT_SUBJECT).of(FLOW) == "mcast.239-1-1-1.5000.10-0-0-2"
    assert Subject("{source}.{source_port}").of(FLOW) == "10-0-0-2.4000"
    assert Subject(DEFAULT_SUBJECT).of(Flow("fe80::1", 1, "ff1e::1", 2, 3)) == "mcast.ff1e::1.2.fe80::1"


def test_what_matches() -> None:
    subject = Subject(DEFAULT_SUBJECT)
    assert subject.matching() == "mcast.*.*.*"
    assert subject.matching("239.1.1.1", 5000) == "mcast.239-1-1-1.5000.*"
    assert subject.matching(source="10.0.0.2") == "mcast.*.*.10-0-0-2"
    with pytest.raises(AddressError):
        subject.matching("10.0.0.1")
    with pytest.raises(ArgumentError):
        subject.matching(port=70000)


@pytest.mark.parametrize(
    "template",
    ["", "mcast", "mcast.", ".{group}", "mcast.{groups}", "a.{group}x", "a b.{group}", "*.{group}", ">",
     "{group}.>", "a..{group}", "a.{0}", "{group!r}", "{group.__class__}", "$JS.{group}"],
)  # fmt: skip
def test_what_is_no_template(template: str) -> None:
    with pytest.raises(ArgumentError, match="subject"):
        Subject(template)
