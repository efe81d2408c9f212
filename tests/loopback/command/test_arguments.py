"""What can be written after `aiomcast`, and what is said of anything else."""

import argparse

import pytest

from aiomcast.command.arguments import parser
from aiomcast.command.options import WrongUsage

LISTEN = ["listen", "232.1.1.1", "5000"]


def test_what_is_left_out() -> None:
    assert vars(parser().parse_args(LISTEN)) == {
        "command": "listen",
        "channels": ["232.1.1.1", "5000"],
        "files": [],
        "source": None,
        "exclude": None,
        "interface": None,
        "count": None,
        "seconds": None,
        "form": None,
        "interval": None,
        "sequence": None,
        "buffer": 4 << 20,
        "overflow": "pause",
        "gro": None,
        "quiet": False,
    }
    assert vars(parser().parse_args(["send", *LISTEN[1:]])) == {
        "command": "send",
        "group": "232.1.1.1",
        "port": 5000,
        "source": None,
        "interface": None,
        "count": None,
        "rate": None,
        "size": None,
        "ttl": 1,
        "stdin": False,
    }
    assert vars(parser().parse_args(["demo"])) == {"command": "demo", "seconds": 6.0}
    assert vars(parser().parse_args(["interfaces"])) == {"command": "interfaces"}
    assert parser().parse_args([]).command is None


@pytest.mark.parametrize(
    "arguments",
    [
        "listen --source ::1 232.1.1.1 --source=192.0.2.1 5000 --count 3",
        "listen 232.1.1.1 5000 --count=3 --source ::1 --source 192.0.2.1",
        "listen --source ::1 --source 192.0.2.1 --count 3 -- 232.1.1.1 5000",
        "listen 232.1.1.1 5000 --count 1 --source ::1 --source 192.0.2.1 --count 3",
        "listen 232.1.1.1 -c 1 5000 -s ::1,192.0.2.1 -c 3",
    ],
)
def test_options_stand_anywhere(arguments: str) -> None:
    given = parser().parse_args(arguments.split())
    assert given.channels == ["232.1.1.1", "5000"]
    assert (given.source, given.count) == (["::1", "192.0.2.1"], 3)


@pytest.mark.parametrize(
    ("arguments", "prog", "text"),
    [
        (["--nope"], "aiomcast", "No such option: --nope"),
        ([*LISTEN, "--nope=3"], "aiomcast listen", "No such option: --nope"),
        ([*LISTEN, "--sour", "::1"], "aiomcast listen", "No such option: --sour"),
        ([*LISTEN, "-z"], "aiomcast listen", "No such option: -z"),
        (["send", *LISTEN[1:], "more"], "aiomcast send", "Got unexpected extra argument more"),
        (["interfaces", "-"], "aiomcast interfaces", "Got unexpected extra argument -"),
        ([*LISTEN, "--count"], "aiomcast listen", "argument -c/--count: expected one argument"),
        ([*LISTEN, "--count", "2.5"], "aiomcast listen", "argument -c/--count: '2.5' is not an integer"),
        ([*LISTEN, "--count", "-1"], "aiomcast listen", "argument -c/--count: -1 is not 1 or more"),
        ([*LISTEN, "--seconds", "x"], "aiomcast listen", "argument -t/--seconds: 'x' is not a number"),
        ([*LISTEN, "--seconds", "nan"], "aiomcast listen", "argument -t/--seconds: nan is not 0 or more"),
        (["send", "--size", "65536"], "aiomcast send", "argument --size: 65536 is not from 0 to 65535"),
        (["send", LISTEN[1], "5k"], "aiomcast send", "argument PORT: '5k' is not an integer"),
        (["listen", "--format", "x"], "aiomcast listen", "argument -f/--format: 'x' is none of live, text"),
        ([*LISTEN, "--buffer", "8Q"], "aiomcast listen", "argument --buffer: '8Q' is no number of bytes"),
        ([*LISTEN, "--sequence", "u32"], "aiomcast listen", "argument --sequence: sequence 'u32': write rtp"),
        ([*LISTEN, "--sequence", "u99@0"], "aiomcast listen", "argument --sequence: kind 'u99': give u1 to"),
        (["demo", "--seconds", "0.2"], "aiomcast demo", "argument --seconds: 0.2 is not 0.3 or more"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(arguments: list[str], prog: str, text: str) -> None:
    with pytest.raises(WrongUsage) as caught:
        parser().parse_args(arguments)
    assert caught.value.prog == prog
    assert str(caught.value).startswith(text)


def commands() -> dict[str, argparse.ArgumentParser]:
    (found,) = [one for one in parser()._actions if isinstance(one, argparse._SubParsersAction)]
    return dict(found.choices)


@pytest.mark.parametrize("name", commands())
def test_the_help_explains_everything(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    command = commands()[name]
    text = command.format_help()
    assert text.startswith(f"Usage: aiomcast {name} ")
    assert f"\n    {name}" in parser().format_help()
    for action in command._actions:
        assert action.help, action
        for option in action.option_strings:
            assert option in text


def test_the_help_says_which_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    assert "runs on uvloop where that is installed, else on asyncio's" in parser().format_help()
