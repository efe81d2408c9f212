"""The forms in which channels are written, and what is said of anything else."""

from pathlib import Path

import pytest

from aiomcast import ArgumentError
from aiomcast.command.channels import Asked, in_file, in_words


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("232.1.1.1 5000", [Asked("232.1.1.1", 5000)]),
        ("232.1.1.1:5000", [Asked("232.1.1.1", 5000)]),
        ("192.0.2.1@232.1.1.1:5000", [Asked("232.1.1.1", 5000, ("192.0.2.1",))]),
        ("192.0.2.1,192.0.2.2@232.1.1.1 5000", [Asked("232.1.1.1", 5000, ("192.0.2.1", "192.0.2.2"))]),
        ("udp://192.0.2.1@232.1.1.1:5000", [Asked("232.1.1.1", 5000, ("192.0.2.1",))]),
        ("UDP://@239.1.1.1:5000", [Asked("239.1.1.1", 5000)]),
        ("ff3e::1 5000", [Asked("ff3e::1", 5000)]),
        ("[ff3e::1]:5000", [Asked("ff3e::1", 5000)]),
        ("[ff02::1%eth0]:5000", [Asked("ff02::1%eth0", 5000)]),
        ("2001:db8::1@[ff3e::1]:5000", [Asked("ff3e::1", 5000, ("2001:db8::1",))]),
        ("[2001:db8::1]@[ff3e::1]:5000", [Asked("ff3e::1", 5000, ("2001:db8::1",))]),
        ("239.1.1.254+3:5000", [Asked(f"239.1.{end}", 5000) for end in ("1.254", "1.255", "2.0")]),
        ("ff05::ffff+2 5000", [Asked("ff05::ffff", 5000), Asked("ff05::1:0", 5000)]),
        ("[ff02::1%eth0]+2:5000", [Asked(f"ff02::{end}%eth0", 5000) for end in "12"]),
        ("232.1.1.1 1 232.1.1.2:2 [ff3e::1]:3 ff3e::2 4",
         [Asked("232.1.1.1", 1), Asked("232.1.1.2", 2), Asked("ff3e::1", 3), Asked("ff3e::2", 4)]),
        ("", []),
    ],
)  # fmt: skip
def test_the_forms(words: str, expected: list[Asked]) -> None:
    assert list(in_words(words.split())) == expected


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ("232.1.1.1", "the PORT is missing"),
        ("232.1.1.1 5k", "'5k' is no PORT"),
        ("ff3e::1:5000", "the PORT is missing"),  # all of it is an address
        ("rtp://232.1.1.1:5000", "there is udp:// alone"),
        ("232.1.1.1:5000/a", "write GROUP PORT"),
        ("[ff3e::1:5000", "write GROUP PORT"),
        ("example+2 5000", "'example' does not appear to be"),
        ("255.255.255.255+2 5000", "not permitted"),
    ],
)
def test_what_is_none_is_said(words: str, part: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        list(in_words(words.split()))
    assert part in str(caught.value)


def test_a_file_has_one_a_line(tmp_path: Path) -> None:
    file = tmp_path / "channels"
    file.write_text("# all of them\n\n232.1.1.1 5000  # the first\n 192.0.2.1@232.1.1.2+2:5001\n")
    assert list(in_file(str(file))) == [
        Asked("232.1.1.1", 5000),
        Asked("232.1.1.2", 5001, ("192.0.2.1",)),
        Asked("232.1.1.3", 5001, ("192.0.2.1",)),
    ]


def test_a_wrong_line_is_named(tmp_path: Path) -> None:
    file = tmp_path / "channels"
    file.write_text("232.1.1.1 5000\n232.1.1.2\n")
    with pytest.raises(ArgumentError, match=r"channels, line 2: channel '232\.1\.1\.2': the PORT is missing"):
        list(in_file(str(file)))


def test_a_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="nosuch"):
        list(in_file(str(tmp_path / "nosuch")))
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ArgumentError, match="it is no text"):
        list(in_file(str(tmp_path / "binary")))
