"""Find devices of the network that speak UPnP: an SSDP search (UPnP Device Architecture 2.0, 1.3).

    python examples/ssdp.py --interface eth0

The question goes to the group, and every answer comes back to the port it was sent from.
"""

import argparse
import asyncio
from contextlib import suppress

import aiomcast

GROUP, PORT = "239.255.255.250", 1900


class Search(aiomcast.MulticastProtocol):
    """Prints each device that answers, once."""

    def __init__(self) -> None:
        self.known: set[str] = set()

    def datagram_received(self, data: bytes, addr: tuple[str | object, int]) -> None:
        """Read an answer: a status line and headers, as in HTTP."""
        status, *lines = data.decode(errors="replace").split("\r\n")
        headers = {
            name.strip().upper(): value.strip() for name, _, value in (one.partition(":") for one in lines)
        }
        device = headers.get("USN", "")
        if status.startswith("HTTP/1.1 200") and device not in self.known:
            self.known.add(device)
            print(f"{addr[0]} {device} {headers.get('LOCATION', '')}", flush=True)


async def main(given: argparse.Namespace) -> None:
    """Ask, and listen for as long as devices may take to answer."""
    transport, _ = await aiomcast.create_multicast_endpoint(
        Search,
        GROUP,
        PORT,
        interface=given.interface,
        ttl=2,  # no source is joined: only answers come
    )
    print(f"searching on {transport.get_extra_info('interface').name}", flush=True)
    for _ in range(2):  # a datagram may be lost
        transport.sendto(
            f'M-SEARCH * HTTP/1.1\r\nHOST: {GROUP}:{PORT}\r\nMAN: "ssdp:discover"\r\n'
            f"MX: {given.seconds}\r\nST: {given.target}\r\n\r\n".encode()
        )
    await asyncio.sleep(given.seconds + 1)
    transport.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("target", nargs="?", default="ssdp:all", help="what to search for (ssdp:all)")
    parser.add_argument("--interface", help="name, index or address (default: the route's)")
    parser.add_argument("--seconds", type=int, default=2, help="in which devices answer (2)")
    with suppress(KeyboardInterrupt):
        asyncio.run(main(parser.parse_args()))
