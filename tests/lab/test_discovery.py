"""The discovery examples, each on a host of its own, with an independent program at the other end."""

import os
import re
import select
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

from .network import Network, stop

EXAMPLES = Path(__file__).parents[2] / "examples"
PATIENCE = 20  # seconds
SERVICE = "_demo._tcp.local"

# What the zeroconf package does, which knows nothing of this one.
OFFERS = f"""
    import socket, sys
    from zeroconf import IPVersion, ServiceInfo, Zeroconf

    known = Zeroconf(ip_version=IPVersion.V4Only)
    address = [socket.inet_aton(sys.argv[1])]
    known.register_service(
        ServiceInfo("{SERVICE}.", "A peer.{SERVICE}.", addresses=address, port=1234, server="peer.local.")
    )
    print("offered", flush=True)
    sys.stdin.read()
    known.close()
"""
BROWSES = f"""
    import sys
    from zeroconf import IPVersion, ServiceBrowser, Zeroconf

    class Found:
        def add_service(self, known, kind, name):
            info = known.get_service_info(kind, name, 10000)
            print(name, info.port, info.parsed_addresses(), info.server, flush=True)

        update_service = remove_service = lambda *_: None

    known = Zeroconf(ip_version=IPVersion.V4Only)
    browser = ServiceBrowser(known, "{SERVICE}.", Found())
    print("browsing", flush=True)
    sys.stdin.read()
    known.close()
"""
ASKS_ALONE = f"""
    import socket, struct, sys

    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.settimeout({PATIENCE})
    name = b"".join(bytes([len(label)]) + label for label in b"{SERVICE}".upper().split(b".")) + bytes(1)
    question = name + struct.pack("!2H", 12, 1)
    sock.sendto(struct.pack("!6H", 4711, 0, 1, 0, 0, 0) + question, ("224.0.0.251", 5353))
    answer, peer = sock.recvfrom(9000)
    assert struct.unpack_from("!4H", answer) == (4711, 0x8400, 1, 4), answer
    assert answer[12:].startswith(question), answer
    print("answered by", peer[0], flush=True)
"""
DEVICE = """
    import socket, struct, sys

    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("239.255.255.250", 1900))
    joined = socket.inet_aton("239.255.255.250") + socket.inet_aton(sys.argv[1])
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, joined)
    print("there", flush=True)
    while True:
        asked, peer = sock.recvfrom(9000)
        if asked.startswith(b"M-SEARCH * HTTP/1.1\\r\\n") and b"ssdp:discover" in asked:
            lines = [
                "HTTP/1.1 200 OK", "ST: upnp:rootdevice", "USN: uuid:4711::upnp:rootdevice",
                "Location: http://" + sys.argv[1] + ":80/device.xml", "", "",
            ]
            sock.sendto(chr(13).join("\\n" * (at > 0) + line for at, line in enumerate(lines)).encode(), peer)
"""


class Program:
    """A program on a host, and what it prints."""

    def __init__(self, network: Network, host: str, *argv: str) -> None:
        self._process = network.popen(
            host,
            [sys.executable, *argv],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self._seen = ""

    def line(self, pattern: str) -> re.Match[str]:
        """Wait for output that has `pattern`, and return the match."""
        assert self._process.stdout is not None
        deadline = time.monotonic() + PATIENCE
        while not (found := re.search(pattern, self._seen, re.MULTILINE)):
            remaining = max(0.0, deadline - time.monotonic())
            assert select.select([self._process.stdout], [], [], remaining)[0], (
                f"no {pattern!r}: {self._seen}"
            )
            more = os.read(self._process.stdout.fileno(), 4096)
            assert more, f"ended without {pattern!r}: {self._seen}"
            self._seen += more.decode()
        return found

    def __enter__(self) -> "Program":
        return self

    def __exit__(self, *error: object) -> None:
        stop(self._process)


def example(network: Network, name: str, *arguments: str) -> Program:
    """Run an example at the receiver."""
    return Program(network, "rcv", "-X", "dev", str(EXAMPLES / name), *arguments, "--interface", "v0")


def peer(network: Network, script: str, host: str, *arguments: Any) -> Program:  # Any: shown as text
    """Run a script on another host."""
    return Program(network, host, "-c", textwrap.dedent(script), *map(str, arguments))


def test_the_browser_finds_what_zeroconf_offers(network: Network) -> None:
    host = network.hosts["s1"]
    with (
        peer(network, OFFERS, "s1", host.address4) as offers,
        example(network, "mdns.py", "browse", SERVICE) as one,
    ):
        one.line("^browse on v0$")
        offers.line("^offered$")
        one.line(f"^A peer: peer.local port 1234, says {re.escape(host.address4)}$")


def test_zeroconf_finds_what_the_responder_offers(network: Network) -> None:
    address = network.hosts["rcv"].address4
    with example(network, "mdns.py", "answer", SERVICE, "My service", "8080") as answers:
        answers.line("^answer on v0$")
        with peer(network, BROWSES, "s2") as browses:
            browses.line(rf"^My service\.{SERVICE}\. 8080 \['{re.escape(address)}'\] My-service\.local\.$")


def test_the_browser_finds_the_responder_on_the_same_host(network: Network) -> None:
    address = network.hosts["rcv"].address4
    with (
        example(network, "mdns.py", "answer", SERVICE, "Here", "8081") as answers,
        example(network, "mdns.py", "browse", SERVICE) as browses,
    ):
        answers.line("^answer on v0$")
        browses.line(f"^Here: Here.local port 8081, says {re.escape(address)}$")


def test_who_asks_from_another_port_is_answered_alone(network: Network) -> None:
    """RFC 6762, 6.7: with the question and its number, to where it came from."""
    address = network.hosts["rcv"].address4
    with example(network, "mdns.py", "answer", SERVICE, "My service", "8080") as answers:
        answers.line("^answer on v0$")
        with peer(network, ASKS_ALONE, "s3") as asks:
            asks.line(f"^answered by {re.escape(address)}$")


def test_the_search_finds_a_device(network: Network) -> None:
    host = network.hosts["s1"]
    with peer(network, DEVICE, "s1", host.address4) as device:
        device.line("^there$")
        network.wait_for_member("239.255.255.250", None, "s1")
        with example(network, "ssdp.py", "--seconds", "1") as search:
            search.line(
                f"^{re.escape(host.address4)} uuid:4711::upnp:rootdevice "
                f"http://{re.escape(host.address4)}:80/device.xml$"
            )


@pytest.mark.parametrize("name", ["mdns.py", "ssdp.py"])
def test_help(name: str) -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), "--help"], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, "usage" in done.stdout) == (0, True)
