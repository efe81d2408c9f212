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
        "capture": None,
        "speed": None,
        "form": None,
        "interval": None,
        "sequence": None,
        "buffer": None,
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
        "rtp": False,
        "answers": None,
        "payload": None,
        "file": None,
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
        (["--nope"], "aiomcast", "there is no option --nope"),
        (["hear"], "aiomcast", "COMMAND: 'hear' is none of "),
        (["completion", "tcsh"], "aiomcast completion", "SHELL: 'tcsh' is none of "),
        (["send"], "aiomcast send", "GROUP and PORT are missing"),
        (["send", LISTEN[1]], "aiomcast send", "PORT is missing"),
        ([*LISTEN, "--nope=3"], "aiomcast listen", "there is no option --nope"),
        ([*LISTEN, "--sour", "::1"], "aiomcast listen", "there is no option --sour; did you mean --source?"),
        (["listen", "--sorce", "::1", *LISTEN[1:]], "aiomcast listen", "there is no option --sorce; did you"),
        ([*LISTEN, "-y"], "aiomcast listen", "there is no option -y"),
        (["send", *LISTEN[1:], "more"], "aiomcast send", "'more' is one argument too many"),
        (["interfaces", "-"], "aiomcast interfaces", "'-' is one argument too many"),
        ([*LISTEN, "--count"], "aiomcast listen", "--count: a value is missing"),
        ([*LISTEN, "--count", "x"], "aiomcast listen", "--count: 'x' is no whole number"),
        ([*LISTEN, "-c", "2.5"], "aiomcast listen", "--count: '2.5' is no whole number"),
        ([*LISTEN, "-c", "-1"], "aiomcast listen", "--count: -1 is less than 1"),
        ([*LISTEN, "--seconds", "x"], "aiomcast listen", "--seconds: 'x' is no number"),
        ([*LISTEN, "--seconds", "nan"], "aiomcast listen", "--seconds: 'nan' is no number"),
        (["send", "--stdin=3"], "aiomcast send", "--stdin: takes no value, and got '3'"),
        (["send", "--stdin", "--payload", "x"], "aiomcast send", "--payload: cannot be given together with"),
        (["send", "--payload", r"a\q"], "aiomcast send", r"--payload: 'a\\q': give \xHH, "),
        (["send", "--payload", "a\\"], "aiomcast send", r"--payload: 'a\\': give \xHH, "),
        (["send", "--file", "/nosuch"], "aiomcast send", "--file: '/nosuch': No such file or directory"),
        (["send", "--size", "65536"], "aiomcast send", "--size: 65536 is more than 65535"),
        (["send", LISTEN[1], "5k"], "aiomcast send", "PORT: '5k' is no whole number"),
        (["listen", "--format", "x"], "aiomcast listen", "--format: 'x' is none of live, text"),
        (["demo", "-t", "0.2"], "aiomcast demo", "--seconds: 0.2 is less than 0.3"),
        ([*LISTEN, "--buffer", "8Q"], "aiomcast listen", "--buffer: '8Q' is no number of bytes"),
        ([*LISTEN, "--sequence", "u32"], "aiomcast listen", "--sequence: sequence 'u32': write rtp"),
        ([*LISTEN, "--sequence", "u99@0"], "aiomcast listen", "--sequence: kind 'u99': give u1 to"),
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


@pytest.mark.parametrize("columns", [50, 80, 200])
def test_paragraphs_of_the_help_fit_and_examples_stay(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", str(columns))
    told, _, examples = commands()["completion"].format_help().partition("\nExamples:\n")
    assert all(len(line) < columns for line in told.splitlines())
    assert len(told.partition("\n\n")[2].split("\n\n")) == 4  # paragraphs, and lists of arguments
    assert "  aiomcast completion zsh >~/.zfunc/_aiomcast\n" in examples
