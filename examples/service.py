"""A web service that holds a receiver and streams packets to its clients, as lines of JSON.

Needs starlette, uvicorn and prometheus_client. On loopback, without privileges:

    python examples/service.py &
    aiomcast send 232.1.1.1 5000 --source 127.0.0.2 --interface lo &
    curl -N http://127.0.0.1:8000/packets
    curl -X PUT http://127.0.0.1:8000/sources -d '["127.0.0.3"]'
    curl http://127.0.0.1:8000/metrics
"""

import argparse
import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial

import attrs
import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

import aiomcast
from aiomcast.metrics import PrometheusCollector


@asynccontextmanager
async def lifespan(
    app: Starlette, *, group: str, port: int, sources: list[str], interface: str | None
) -> AsyncIterator[None]:
    """Hold the receiver as long as the service runs."""
    # A client that does not keep up loses its oldest packets, and holds up nobody.
    async with aiomcast.Receiver(overflow=aiomcast.Overflow.DROP_OLDEST) as app.state.receiver:
        app.state.membership = await app.state.receiver.join(
            group, port, sources=sources, interface=interface
        )
        app.state.registry = CollectorRegistry()
        app.state.registry.register(PrometheusCollector(app.state.receiver, memberships=True))
        yield


def line(packet: aiomcast.Packet) -> str:
    """Return a packet as a line of JSON."""
    tags = {"source": packet.source, "group": packet.group, "timestamp_ns": packet.timestamp_ns}
    return json.dumps({**tags, "data": packet.data.decode(errors="replace")}) + "\n"


async def packets(request: Request) -> StreamingResponse:
    """Stream to one client from now on: each has a stream of its own."""
    batches = request.app.state.receiver.batches()

    async def lines() -> AsyncIterator[str]:
        async with batches:
            async for batch in batches:
                yield "".join(map(line, batch))

    return StreamingResponse(lines(), media_type="application/x-ndjson")


async def sources(request: Request) -> JSONResponse:
    """Say which sources are let in; PUT swaps them."""
    membership = request.app.state.membership
    if request.method == "PUT":
        try:
            await membership.swap(await request.json())
        except (ValueError, TypeError, aiomcast.MulticastError) as error:
            return JSONResponse({"error": str(error)}, status_code=400)
    return JSONResponse(sorted(membership.filter.sources))


async def statistics(request: Request) -> JSONResponse:
    """Say where every packet has gone."""
    return JSONResponse(attrs.asdict(request.app.state.receiver.statistics()))


async def metrics(request: Request) -> Response:
    """Say it to Prometheus."""
    return Response(generate_latest(request.app.state.registry), media_type=CONTENT_TYPE_LATEST)


def application(group: str, port: int, allowed: list[str], interface: str | None) -> Starlette:
    """Return the ASGI application."""
    return Starlette(
        routes=[
            Route("/packets", packets),
            Route("/sources", sources, methods=["GET", "PUT"]),
            Route("/statistics", statistics),
            Route("/metrics", metrics),
        ],
        lifespan=partial(lifespan, group=group, port=port, sources=allowed, interface=interface),
    )


class Server(uvicorn.Server):
    """uvicorn waits for open responses before it ends the lifespan, and a stream has no end."""

    def __init__(self, app: Starlette, port: int) -> None:
        super().__init__(uvicorn.Config(app, port=port, timeout_graceful_shutdown=5))
        self.app = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the receiver first: that ends every stream, and so every response."""
        await self.app.state.receiver.aclose()
        await super().shutdown(sockets)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("group", nargs="?", default="232.1.1.1")
    parser.add_argument("port", nargs="?", type=int, default=5000)
    parser.add_argument("--source", action="append", help="let this one in; repeat (default: 127.0.0.2)")
    parser.add_argument("--interface", default="lo", help="name, index or address (default: lo)")
    parser.add_argument("--http-port", type=int, default=8000, help="0: any free port")
    given = parser.parse_args()
    service = application(given.group, given.port, given.source or ["127.0.0.2"], given.interface)
    with suppress(KeyboardInterrupt):
        asyncio.run(Server(service, given.http_port).serve())
