"""Each shell completes the command, by the script that the command writes for it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("shtab")
pytest.importorskip("pty", reason="Windows has none of these shells")

from tests.support.terminal import Terminal

COMPLETED = {
    "aiomcast inter": "aiomcast interfaces",
    "aiomcast listen 232.1.1.1 5000 --form": "aiomcast listen 232.1.1.1 5000 --format",
    "aiomcast listen 232.1.1.1 5000 --format he": "aiomcast listen 232.1.1.1 5000 --format hex",
    "aiomcast send 232.1.1.1 5000 --interface l": "aiomcast send 232.1.1.1 5000 --interface lo",
    "aiomcast completion z": "aiomcast completion zsh",
}
START = {  # where its script goes, and how a shell of the kind begins
    "bash": ("aiomcast", ["bash", "--norc", "--noprofile", "-i"], "source ~/aiomcast"),
    "zsh": (
        ".zfunc/_aiomcast",
        ["zsh", "-f", "-i"],
        "fpath+=~/.zfunc; autoload -U compinit && compinit -u -D",
    ),
    "fish": (".config/fish/completions/aiomcast.fish", ["fish"], ""),
}
PROMPT = "ready> "


@pytest.fixture(params=["bash", "zsh", "fish"])
def shell(request: pytest.FixtureRequest) -> str:
    name = str(request.param)
    if shutil.which(name) is None:
        stopped = pytest.fail if os.environ.get("AIOMCAST_REQUIRE_LAB") == "1" else pytest.skip
        stopped(f"{name} is not installed")
    return name


def test_a_shell_completes_it(shell: str, tmp_path: Path) -> None:
    place, start, first = START[shell]
    script, out = tmp_path / place, tmp_path / "out"
    script.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "aiomcast", "completion", shell]
    script.write_bytes(subprocess.run(command, check=True, capture_output=True, timeout=30).stdout)
    environment = os.environ | {
        "HOME": str(tmp_path),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PS1": PROMPT,
    }
    environment.pop("XDG_CONFIG_HOME", None)
    if shell == "fish":  # it says by itself what it would complete
        for typed, completed in COMPLETED.items():
            done = subprocess.run(
                [*start, "-c", f"complete -C '{typed}'"],
                env=environment, capture_output=True, text=True, timeout=30,
            )  # fmt: skip
            assert (done.stdout.split("\t")[0].strip(), done.stderr) == (completed.split()[-1], "")
        return
    with Terminal(start, cwd=tmp_path, env=environment) as terminal:
        terminal.read_until(PROMPT)
        for line in (first, *(f"{typed}\t\x01echo >>{out} " for typed in COMPLETED)):
            terminal.type(f"{line}\r")
            terminal.read_until(PROMPT, after="\n")
        terminal.type("exit\r")
    assert [line.strip() for line in out.read_text().splitlines()] == list(COMPLETED.values())


def test_without_the_extra_it_says_what_to_install() -> None:
    code = "import sys; sys.modules['shtab'] = None\nfrom aiomcast.command.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "completion", "bash"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    expected = "aiomcast: completion takes shtab: pip install 'aiomcast[cli]'\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", expected)
