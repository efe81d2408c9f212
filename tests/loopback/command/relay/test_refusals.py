"""What `aiomcast relay` refuses: each is one line and a status."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

pytest.importorskip("rich")

from aiomcast.command.cli import main
from tests.support.brokers import NatsServer, RedisServer, needs_nats, needs_redis
from tests.support.platforms import linux_only

from ..test_cli import SECONDS

CHANNEL = "relay 127.0.0.2@232.1.1.1:5000 -i lo"
NATS, REDIS = f"{CHANNEL} --to nats://127.0.0.1:1", f"{CHANNEL} --to redis://127.0.0.1:1"
WRONG = {
    CHANNEL: "--to is missing (see aiomcast relay --help)",
    "relay --to nats://127.0.0.1:1": "no channel: give GROUP PORT",
    "relay 10.0.0.1 5000 -i lo --to nats://127.0.0.1:1": "10.0.0.1 is not a multicast group",
    "relay 239.1.1.1 5000 -i 99999 --to nats://127.0.0.1:1": "there is no interface 99999",
    f"{CHANNEL} --to kafka://h": "--to: scheme kafka: write nats://HOST:PORT or redis://HOST:PORT",
    f"{CHANNEL} --to 127.0.0.1:4222": "--to: no scheme: write nats://HOST:PORT or redis://HOST:PORT",
    f"{CHANNEL} --to nats://": "url 'nats://': write nats://HOST:PORT",
    f"{CHANNEL} --to nats://u:secret@h:x": "url 'nats://h:x': write nats://HOST:PORT",
    f"{CHANNEL} --to nats://h,redis://h": "url 'redis://h': write nats://HOST:PORT",
    f"{CHANNEL} --to redis://:secret@h:99999": "url 'redis://h:99999': write redis://HOST:PORT",
    f"{NATS} --stream a.b": "stream 'a.b': give a name without spaces, dots",
    f"{NATS} --stream=": "stream '': give a name without spaces, dots",
    f"{REDIS} --stream=": "stream '': give it a name",
    f"{NATS} --keep 24h": "--keep without --create: a stream that is there keeps what it was made to keep",
    f"{NATS} --create --keep long": "--keep: 'long' is no age, as 90m, 24h or 7d, and no number of messages",
    f"{NATS} --create --keep 0": "--keep: '0' is no age",
    f"{REDIS} --keep 24h": "--keep 24h with Redis: give a number of messages",
    f"{REDIS} --keep 0.5": "--keep 0.5 with Redis: give a number of messages",
    f"{REDIS} --create": "--create with Redis: it is for a NATS server",
    f"{REDIS} --share relays": "--share with Redis: it is for a NATS server",
    f"{REDIS} --credentials PLACE/none": "--credentials with Redis: it is for a NATS server",
    f"{NATS} --not-durable": "--not-durable with a NATS server: it is for Redis",
    f"{NATS} --credentials PLACE/none": "none': No such file or directory: give a file as nsc writes it",
    f"{NATS} --credentials PLACE/binary": "binary': it has no JWT and seed: give a file as nsc writes it",
    f"{NATS} --subject mcast": "subject 'mcast': write words with dots between them",
    f"{NATS} --subject mcast.{{where}}": "subject 'mcast.{where}': write words with dots between them",
    f"{NATS} --name=": "name '': give the relay a name of 1 to 255 characters",
    f"{NATS} --sequence u99@0": "--sequence: ",
    f"{NATS} --sequence ts": "--sequence with numbers of 4 bits: they come again too soon",
    f"{NATS} --feed f": "--feed without --sequence: it says more of --sequence",
    f"{NATS} --sequence rtp --feed=": "feed '': give a name",
    f"{NATS} --sequence rtp --slot 3": "--slot and --sequence together: give one of the two",
    f"{NATS} --slot 0": "slot 0.0: give a number of seconds from 0.001",
    f"{NATS} --window 0.5": "window 0.5: give a number from 1.0 to 86,400.0",
    f"{NATS} --pending 0": "pending 0: give a number from 1 to 1,000,000",
    f"{NATS} --largest 64K": "largest 65536: give a number from 1 to 65,507",
    f"{NATS} --copies 2": "--copies without --share: it says more of --share",
    f"{NATS} --lease 2": "--lease without --share: it says more of --share",
    f"{NATS} --share a.b": "bucket 'a.b': give letters, digits, - and _",
    f"{NATS} --share b --copies 0": "copies 0: give a whole number, 1 or more",
    f"{NATS} --share b --lease 0": "lease 0.0: give a number of seconds from 0.2",
    "relay 239.1.1.1 5000 -i 99999 --to nats://127.0.0.1:1 --share b": "there is no interface 99999",
    f"{NATS} --interval 0": "--interval: 0 is less than 0.1",
    f"{NATS} --format live": "--format: 'live' is none of ",
    f"{NATS} --speed 2": "there is no option --speed",
}


@linux_only
@pytest.mark.parametrize(("arguments", "told"), WRONG.items(), ids=WRONG)
def test_wrong_input_is_told_in_a_line(
    arguments: str, told: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    assert main(arguments.replace("PLACE", str(tmp_path)).split()) == 2
    (line,) = refused(capfd)
    assert told in line
    assert "secret" not in line


def refused(capfd: pytest.CaptureFixture[str]) -> Sequence[str]:
    """Return the lines that it said; it wrote none."""
    output, errors = capfd.readouterr()
    assert output == ""
    lines = errors.splitlines()
    assert all(line.startswith("aiomcast: ") for line in lines), lines
    return lines


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (NATS, "no NATS server answers at nats://127.0.0.1:1: "),
        (REDIS, "no Redis answers at redis://127.0.0.1:1: "),
        (f"{NATS} --share relays", "no NATS server answers at nats://127.0.0.1:1: "),
    ],
)
def test_nobody_is_there(arguments: str, told: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(arguments.split()) == 1
    (line,) = refused(capfd)
    assert told in line


@needs_nats
def test_a_nats_server_that_does_not_fit(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with NatsServer(tmp_path / "nats", configuration="max_payload: 4096") as server:
        to = f"{CHANNEL} --to {server.url}"
        for arguments, told in (
            (to, "takes messages of 4096 bytes at the most: raise max_payload"),
            (f"{to} --largest 1K", "has no stream for mcast.*.*.*: make one: nats stream add MCAST"),
            (f"{to} --largest 1K --create --keep 10", "did not make stream MCAST: "),
            (f"{to} --largest 1K --stream OTHER", "make one: nats stream add OTHER"),
        ):
            assert main(arguments.split()) == 1
            (line,) = refused(capfd)
            assert told in line


@needs_nats
def test_a_nats_server_without_jetstream(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with NatsServer(tmp_path / "nats", jetstream=False) as server:
        assert main(f"{CHANNEL} --to {server.url}".split()) == 1
        (line,) = refused(capfd)
        assert f"{server.url} has no JetStream: " in line


@needs_nats
def test_relays_that_share_by_different_leases(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with NatsServer(tmp_path / "nats") as server:
        shared = f"{CHANNEL} --to {server.url} --create --share relays --seconds 0"
        main(f"{shared} --lease 2".split())
        capfd.readouterr()
        assert main(f"{shared} --lease 3".split()) == 1
        (line,) = refused(capfd)
        assert "bucket relays last 1.0 s, not 1.5: use the same lease everywhere" in line


@needs_redis
def test_a_redis_that_keeps_in_memory_only(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with RedisServer(tmp_path / "redis", "127.0.0.1", 0, "--appendonly", "no") as server:
        to = f"{CHANNEL} --to {server.url}"
        assert main(to.split()) == 1
        (line,) = refused(capfd)
        assert "keeps what it acknowledges in memory only: " in line
        assert "--not-durable" in line
        assert main(f"{to} --not-durable --count 1 --seconds 0".split()) == 1
        assert "nothing came from " in capfd.readouterr().err


@pytest.mark.parametrize(
    ("module", "to", "line"),
    [
        ("nats", NATS, "aiomcast: nats-py is not installed: pip install 'aiomcast[nats]'\n"),
        ("redis", REDIS, "aiomcast: redis is not installed: pip install 'aiomcast[redis]'\n"),
        (
            "nkeys",
            f"{NATS} --credentials PLACE",
            "aiomcast: nkeys is not installed, by which one signs: pip install 'nats-py[nkeys]'\n",
        ),
    ],
)
def test_without_the_extra_it_says_what_to_install(module: str, to: str, line: str, tmp_path: Path) -> None:
    (tmp_path / "creds").write_text("-----BEGIN NATS USER JWT-----\nx\n-----BEGIN USER NKEY SEED-----\ny\n")
    code = (
        f"import sys; sys.modules['{module}'] = None\nfrom aiomcast.command.cli import main; sys.exit(main())"
    )
    command = [sys.executable, "-c", code, *to.replace("PLACE", str(tmp_path / "creds")).split()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", line)
