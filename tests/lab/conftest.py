"""The lab as fixtures, and the rule for where it cannot run."""

from __future__ import annotations

import itertools
import os
import shutil
import sys
from collections.abc import Iterator

import pytest

from .network import Host, LabError, Network, execute, unique_name
from .traffic import Traffic

TOOLS = ("ip", "bridge", "tcpdump", "tshark")
PORT = 5000
_numbers = itertools.cycle(range(1, 255))


def obstacle() -> str | None:
    """Why the lab cannot run here, or None where it can."""
    if not sys.platform.startswith("linux"):
        return "the lab needs Linux network namespaces"
    if missing := [tool for tool in TOOLS if shutil.which(tool) is None]:
        return f"the lab needs {', '.join(missing)}"
    probe = unique_name()
    try:
        execute(["ip", "netns", "add", probe])
    except LabError as error:
        return f"no network namespaces ({error}); be root, or use `unshare -Urnm` with a tmpfs /run"
    try:
        execute(["ip", "-n", probe, "link", "add", "v0", "type", "veth", "peer", "name", "v1"])
        execute(["ip", "-n", probe, "link", "add", "type", "bridge", "mcast_snooping", "1"])
    except LabError as error:
        return f"no veth or snooping bridge ({error})"
    finally:
        execute(["ip", "netns", "del", probe])
    return None


@pytest.fixture(scope="session", autouse=True)
def lab() -> None:
    """Skip with the reason where the lab cannot run; fail if AIOMCAST_REQUIRE_LAB is 1."""
    reason = obstacle()
    if reason is None:
        return
    if os.environ.get("AIOMCAST_REQUIRE_LAB") == "1":
        pytest.fail(f"AIOMCAST_REQUIRE_LAB=1, but {reason}", pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def network(lab: None) -> Iterator[Network]:
    """One network for the tests of a module: they share its hosts, so use a group each."""
    with Network() as built:
        yield built


@pytest.fixture
def in_receiver(network: Network) -> Iterator[Host]:
    """The test's thread is in the receiver's namespace, and so is an event loop it runs."""
    with network.inside("rcv"):
        yield network.hosts["rcv"]


@pytest.fixture(params=["232.2.1.{}", "ff3e::8002:{:x}"], ids=["ipv4", "ipv6"])
def ssm(request: pytest.FixtureRequest, network: Network, in_receiver: Host) -> Iterator[Traffic]:
    """A group in the source-specific ranges that no other test uses."""
    with Traffic(network, request.param.format(next(_numbers)), PORT) as traffic:
        yield traffic


@pytest.fixture(params=["239.2.1.{}", "ff1e::2:{:x}"], ids=["ipv4", "ipv6"])
def asm(request: pytest.FixtureRequest, network: Network, in_receiver: Host) -> Iterator[Traffic]:
    """A group outside the source-specific ranges, where any source and EXCLUDE are meant."""
    with Traffic(network, request.param.format(next(_numbers)), PORT) as traffic:
        yield traffic
