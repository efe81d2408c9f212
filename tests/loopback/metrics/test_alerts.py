"""The alerts that docs/howto/metrics.md gives: by Prometheus' own promtool, on series of our names."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest

import aiomcast
from aiomcast.metrics import PrometheusCollector
from tests.loopback.conftest import Senders

A = "127.0.0.2"
PAGE = Path(__file__).parents[3] / "docs/howto/metrics.md"
ONE = 'group="232.1.1.1",interface="eth0",port="5000"'
TWO = 'group="232.1.1.2",interface="eth0",port="5000"'
DROPPED = "aiomcast_packets_dropped_total"
RECEIVED = "aiomcast_membership_packets_received_total"
QUEUED = "aiomcast_membership_packets_queued"
LATEST = "aiomcast_membership_last_packet_timestamp_seconds"

# By alert: series, one value every 10 seconds from 0 on, and the labels of what fires when.
Case = tuple[Mapping[str, str], str, list[str]]
CASES: dict[str, list[Case]] = {
    "MulticastDropped": [
        ({f'{DROPPED}{{reason="kernel"}}': "0x6 7x60"}, "3m", ['reason="kernel"']),  # one burst
        ({f'{DROPPED}{{reason="queue"}}': "0+1x60"}, "5m", ['reason="queue"']),
        ({f'{DROPPED}{{reason="kernel"}}': "0x6 7x60"}, "10m", []),  # it is long ago
        ({f'{DROPPED}{{reason="filter"}}': "0+9x60"}, "5m", []),  # what was to be refused
        ({f'{DROPPED}{{reason="kernel"}}': "5x60"}, "5m", []),
    ],
    "MulticastSilent": [
        # What was received last at 60 s, and what is received still.
        ({f"{LATEST}{{{ONE}}}": "0+10x6 60x60", f"{LATEST}{{{TWO}}}": "0+10x60"}, "100s", [ONE]),
        ({f"{LATEST}{{{ONE}}}": "0+10x6 60x60"}, "80s", []),  # not for so long
        ({f"{LATEST}{{{ONE}}}": "0+10x6 60x3 stale"}, "5m", []),  # it was left
    ],
    "MulticastNeverCame": [
        ({f"{RECEIVED}{{{ONE}}}": "0x60", f"{RECEIVED}{{{TWO}}}": "0 0 1x60"}, "3m", [ONE]),
        ({f"{RECEIVED}{{{ONE}}}": "0x60"}, "1m", []),
        ({f"{RECEIVED}{{{ONE}}}": "0x11 1x60"}, "5m", []),
    ],
    "MulticastStalled": [
        (
            {
                f"{QUEUED}{{{ONE}}}": "0+100x10 1000x60",
                f"{RECEIVED}{{{ONE}}}": "0+100x10 1000x60",
                f"{QUEUED}{{{TWO}}}": "7x90",  # one that is taken from
                f"{RECEIVED}{{{TWO}}}": "0+100x90",
            },
            "10m",
            [ONE],
        ),
        ({f"{QUEUED}{{{ONE}}}": "0x60", f"{RECEIVED}{{{ONE}}}": "5x60"}, "10m", []),
    ],
}


def _promtool(*arguments: str | Path, given: bytes | None = None) -> str:
    """Run it; return what it wrote."""
    tool = shutil.which("promtool")
    if tool is None:
        missing = pytest.fail if os.environ.get("AIOMCAST_REQUIRE_LAB") == "1" else pytest.skip
        missing("needs promtool, of Debian's package prometheus")
    done = subprocess.run([tool, *arguments], input=given, capture_output=True, timeout=60)
    said = (done.stdout + done.stderr).decode()
    assert done.returncode == 0, said
    return said


@pytest.fixture
def rules() -> str:
    """The rules of the page."""
    found = re.search(r"```yaml\n(groups:.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    return found[1]


@pytest.fixture
def path(rules: str, tmp_path: Path) -> Path:
    """A file with the rules."""
    path = tmp_path / "rules.yml"
    path.write_text(rules, encoding="utf-8")
    return path


def test_the_rules_are_valid(path: Path) -> None:
    assert f"{len(CASES)} rules found" in _promtool("check", "rules", path)


@pytest.mark.parametrize(
    ("alert", "number"), [(alert, number) for alert, cases in CASES.items() for number in range(len(cases))]
)
def test_an_alert_fires_when_it_should(path: Path, alert: str, number: int) -> None:
    series, at, fired = CASES[alert][number]
    test = {
        "interval": "10s",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "alert_rule_test": [
            {
                "eval_time": at,
                "alertname": alert,
                "exp_alerts": [{"exp_labels": dict(re.findall(r'(\w+)="(.*?)"', one))} for one in fired],
            }
        ],
    }
    # JSON is YAML.
    content = {"rule_files": [path.name], "evaluation_interval": "10s", "tests": [test]}
    tests = path.with_name("tests.yml")
    tests.write_text(json.dumps(content), encoding="utf-8")
    assert "SUCCESS" in _promtool("test", "rules", tests)


@pytest.mark.skipif(sys.platform == "win32", reason="sources 127.0.0.2 and so on")
async def test_the_rules_are_about_what_is_told(rules: str, group: str, senders: Senders) -> None:
    registry = CollectorRegistry()
    async with aiomcast.Receiver(by_source=True) as receiver:
        registry.register(PrometheusCollector(receiver, memberships=True, sources=2))
        feed = await receiver.join(group, senders.port, sources=[A], interface="lo")
        await senders.send(A, group, b"one")
        async with asyncio.timeout(20):
            await anext(aiter(feed))
        told = generate_latest(registry)
    assert _promtool("check", "metrics", given=told) == ""  # it finds fault with nothing
    names = set(re.findall(r"^(\w+)[{ ]", told.decode(), re.MULTILINE))
    for used in (rules, str(CASES)):
        assert set(re.findall(r"aiomcast_\w+", used)) <= names
