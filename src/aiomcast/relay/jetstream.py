"""NATS JetStream as the server in the middle."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from functools import partial
from typing import Final, final

from ..errors import MissingExtraError

try:
    import nats
    import nats.errors
    import nats.js.errors
    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from nats.js.api import StorageType, StreamConfig, StreamInfo
except ImportError:
    raise MissingExtraError.of("nats-py", "nats") from None

from .batch import Batch
from .broker import Demand, Outcome, StartAt, Stored
from .cancelling import check_cancelled
from .closing import closed_is_told
from .errors import RelayError, UnreachableError
from .fitting import HEADERS, check_fit, widest
from .following import Following
from .messages import Message
from .networks import Readable
from .servers import credentials_file, name_of_server, nats_servers, stream_name

__all__ = ["JetStream"]

_log = logging.getLogger("aiomcast.relay")

_PATIENCE: Final = 5.0  # seconds for an answer
_TRIALS: Final = 5
_RETRY: Final = 0.05  # seconds between looks whether it is back
_PING: Final = 3  # seconds between looks whether the server is there
_STATUS_NO_RESPONDERS: Final = "503"
_LET_IN: Final = "write nats://USER:PASSWORD@HOST, or give credentials"
_MAY_ASK: Final = "give the user the right to use $JS.API.>"


class _Client(Client):
    """One that goes on connecting where a server closes what it has accepted, on every event loop."""

    async def _process_connect_init(self) -> None:
        with closed_is_told():
            await super()._process_connect_init()


@final
class JetStream(Readable):
    """A NATS server with JetStream: `JetStream("nats://192.0.2.1:4222")`.

    `url` has the scheme nats, tls, ws or wss; several servers of one cluster stand with commas between
    them. `stream` is the one to use; None means the one that takes the subjects. With `create` it is
    made where there is none: stored in files, kept for `keep` seconds (None: until it is full).
    `credentials` is a file as `nsc` writes it; a user and a password can stand in the URL.

    It is what a `Relay` stores on and a `Subscription` reads. It is a network too: a
    `Receiver(network=JetStream(url))` joins what relays have stored. See `network`.

    ArgumentError for what is no such URL, stream or file. MissingExtraError without `aiomcast[nats]`, and
    without what nats-py takes for credentials and ws.
    """

    def __init__(
        self,
        url: str,
        *,
        stream: str | None = None,
        create: bool = False,
        keep: float | None = None,
        credentials: str | None = None,
    ) -> None:
        self._servers = nats_servers(url)
        super().__init__(self.name, partial(JetStream, url, stream=stream, credentials=credentials))
        self._stream = stream_name(stream)
        self._create = create
        self._keep = keep
        self._credentials = credentials_file(credentials)
        self._client: Client | None = None
        self._back_again = asyncio.Event()
        self._in_order = asyncio.Lock()
        self._connecting = asyncio.Lock()  # a relay and its leases may ask for it at the same time
        self._looking = asyncio.Lock()
        self._acks: dict[str, tuple[Batch, int]] = {}
        self._inbox = ""
        self._number = 0
        self._denied = ""
        self._kept_out = ""
        self._error = ""
        self._refusal = ""

    def __repr__(self) -> str:
        return f"<JetStream {self.name}>"

    @property
    def name(self) -> str:
        """The servers, without a password."""
        return ",".join(name_of_server(server) for server in self._servers)

    @property
    def refusal(self) -> str:
        """What the server said when it last refused to store."""
        return self._refusal

    # The seam to relays

    async def check(self, demand: Demand) -> None:
        """Connect, and look whether the stream is there and fits. RelayError where not."""
        client = await self._connected()
        most = client.max_payload - HEADERS
        if demand.largest > most:
            raise RelayError(
                f"{self.name} takes messages of {client.max_payload} bytes at the most",
                f"raise max_payload in its configuration, or relay packets of {most} bytes at the most",
            )
        await self._look_for_jetstream(client)
        info = await self._found(client, demand)
        self._stream = info.config.name
        check_fit(info.config, demand, self.name)
        await self._may_publish(client, demand)

    async def store(self, messages: Sequence[Message]) -> list[Outcome]:
        """Publish these; return what JetStream's acknowledgements say. See `Broker.store`."""
        client = self._client
        if client is None or not client.is_connected:
            raise UnreachableError(f"{self.name} is away")
        batch = Batch(len(messages))
        tokens = [str(self._number + index) for index in range(len(messages))]
        self._number += len(messages)
        try:
            async with self._in_order:
                for index, (token, message) in enumerate(zip(tokens, messages, strict=True)):
                    self._acks[token] = batch, index
                    headers = {**message.tags, "Nats-Msg-Id": message.identity}
                    await client.publish(message.subject, message.data, f"{self._inbox}.{token}", headers)
            check_cancelled()
            async with asyncio.timeout(_PATIENCE):
                return await batch.whole
        except TimeoutError:
            if self._denied:
                raise RelayError(self._denied, "give the user the right to publish") from None
            with suppress(nats.errors.Error):
                await client.force_reconnect()
            raise UnreachableError(f"{self.name} has not answered for {_PATIENCE:g} s") from None
        except nats.errors.MaxPayloadError as error:
            raise RelayError(f"{self.name} refused a message: {_said(error)}", "raise max_payload") from None
        except nats.errors.Error as error:
            raise UnreachableError(f"{self.name} is away: {_said(error)}") from None
        finally:
            for token in tokens:
                self._acks.pop(token, None)

    async def reachable(self) -> None:
        """Return when there is a connection. See `Broker.reachable`."""
        while True:
            if self._client is None or self._client.is_closed:
                raise RelayError(f"the connection to {self.name} is closed", "make another JetStream")
            if self._client.is_connected:
                return
            await asyncio.sleep(_RETRY)  # its callbacks do not tell of every loss

    async def returned(self) -> None:
        """Return when there is a connection again. See `Broker.returned`."""
        self._back_again.clear()
        await self._back_again.wait()

    async def read(self, pattern: str, start: StartAt) -> AsyncGenerator[list[Stored], None]:
        """Yield what the stream has under `pattern`. See `Broker.read`."""
        async with self._looking:  # one at a time: there is one connection, and what it denies
            client = await self._connected()
            await self._look_for_jetstream(client)
            stream = self._stream or (await self._found(client, Demand(pattern, 0.0, 0))).config.name
        following = Following(client, str(stream), pattern, start, self._check_refused)
        try:
            await following.begin()
            yield []
            while True:
                yield await following.next()
        finally:
            await following.aclose()

    async def aclose(self) -> None:
        """End the connection."""
        client, self._client = self._client, None
        if client is not None and not client.is_closed:
            with suppress(nats.errors.Error):
                await client.close()

    async def connect(self) -> Client:
        """Return the connection to the server, made if there is none yet. RelayError where there is none."""
        return await self._connected()

    def _check_refused(self, has_begun: bool) -> None:
        """Raise a RelayError where the server has said that this user may not go on, or begin."""
        if self._kept_out:
            raise RelayError(self._kept_out, _LET_IN)
        if self._denied and not has_begun:
            raise RelayError(self._denied, _MAY_ASK)

    # Connecting

    async def _connected(self) -> Client:
        async with self._connecting:
            if self._client is None:
                self._client = await self._connected_anew()
            return self._client

    async def _connected_anew(self) -> Client:
        trial = await self._tried()
        await trial.close()
        client = await self._opened(allow_reconnect=True)
        try:
            self._inbox = client.new_inbox()
            await client.subscribe(
                f"{self._inbox}.*", cb=self._acknowledged, pending_msgs_limit=-1, pending_bytes_limit=-1
            )
        except BaseException:
            await client.close()
            raise
        return client

    async def _tried(self) -> Client:
        """Return a connection. A server that refuses one may close it before that can be read: then again."""
        for _ in range(_TRIALS):
            with suppress(ConnectionResetError):
                return await self._opened(allow_reconnect=False)
        raise RelayError(f"{self.name} closes every connection", "see its log; does it want a user, or TLS?")

    async def _opened(self, *, allow_reconnect: bool) -> Client:
        client = _Client()
        self._error = ""
        try:
            async with asyncio.timeout(_PATIENCE):
                await client.connect(
                    self._servers,
                    error_cb=self._erred,
                    disconnected_cb=self._lost if allow_reconnect else None,
                    reconnected_cb=self._back if allow_reconnect else None,
                    allow_reconnect=allow_reconnect,
                    max_reconnect_attempts=-1 if allow_reconnect else 1,
                    reconnect_time_wait=0.1,  # type: ignore[arg-type]  # seconds: it is handed to sleep
                    connect_timeout=2,
                    ping_interval=_PING,
                    max_outstanding_pings=2,
                    pending_size=0,
                    user_credentials=self._credentials,
                    name="aiomcast",
                )
        except (nats.errors.Error, OSError) as error:  # a timeout is one, too
            with suppress(nats.errors.Error):
                await client.close()
            if isinstance(error, ConnectionResetError) and self._error in ("", _said(error)):
                raise
            text = self._error or _said(error)
            if "authorization" in text.lower():
                raise RelayError(f"{self.name} does not let this user in: {text}", _LET_IN) from None
            raise RelayError(
                f"no NATS server answers at {self.name}: {text}", "start one with nats-server -js"
            ) from None
        except asyncio.CancelledError:
            await client.close()
            raise
        return client

    async def _erred(self, error: Exception) -> None:
        text = _said(error)
        if "permissions violation" in text.lower():
            self._denied = f"{self.name}: {text}"
        if "authorization violation" in text.lower():
            self._kept_out = f"{self.name} does not let this user in: {text}"
        if "authorization" not in self._error.lower():  # what comes after that says less
            self._error = text
        _log.debug("%s: %s", self.name, text)

    async def _lost(self) -> None:
        for batch, _ in tuple(self._acks.values()):
            batch.fail(UnreachableError(f"the connection to {self.name} was lost"))

    async def _back(self) -> None:
        self._kept_out = ""
        self._back_again.set()

    async def _acknowledged(self, msg: Msg) -> None:
        waiting = self._acks.pop(msg.subject.rpartition(".")[2], None)
        if waiting is None:
            return
        batch, index = waiting
        if msg.headers and msg.headers.get("Status") == _STATUS_NO_RESPONDERS:
            self._refusal = "no stream takes it"
            batch.settle(index, Outcome.REFUSED)
            return
        answer = json.loads(msg.data)
        if "error" in answer:
            self._refusal = str(answer["error"].get("description", answer["error"]))
            batch.settle(index, Outcome.REFUSED)
        else:
            batch.settle(index, Outcome.MERGED if answer.get("duplicate") else Outcome.STORED)

    # Looking before the first packet

    async def _look_for_jetstream(self, client: Client) -> None:
        self._denied = ""
        try:
            await client.jetstream(timeout=_PATIENCE).account_info()
        except nats.js.errors.Error as error:
            raise RelayError(
                f"{self.name} has no JetStream: {_said(error)}", "start it with nats-server -js"
            ) from None
        except nats.errors.Error as error:
            if self._denied:
                raise RelayError(self._denied, _MAY_ASK) from None
            if isinstance(error, nats.errors.TimeoutError):
                raise RelayError(f"{self.name} has not answered for {_PATIENCE:g} s") from None
            raise RelayError(
                f"{self.name} has no JetStream: {_said(error)}", "start it with nats-server -js"
            ) from None

    async def _found(self, client: Client, demand: Demand) -> StreamInfo:
        manager = client.jetstream(timeout=_PATIENCE)

        async def look() -> StreamInfo:
            name = self._stream or await manager.find_stream_name_by_subject(demand.pattern)
            return await manager.stream_info(name)

        try:
            return await look()
        except nats.js.errors.NotFoundError:
            wanted = self._stream or "MCAST"
            if not self._create:
                raise RelayError(
                    f"{self.name} has no stream for {demand.pattern}",
                    f"make one: nats stream add {wanted} --subjects '{widest(demand.pattern)}', "
                    "or have it made (create=True, --create)",
                ) from None
        except nats.errors.Error as error:
            raise RelayError(
                f"{self.name} did not tell its streams: {self._denied or _said(error)}",
                _MAY_ASK,
            ) from None
        config = StreamConfig(
            name=wanted,
            subjects=[widest(demand.pattern)],
            storage=StorageType.FILE,
            max_age=self._keep,
            duplicate_window=demand.window,
        )
        try:
            return await manager.add_stream(config)
        except nats.errors.Error as error:
            with suppress(nats.errors.Error):  # another relay may have made it just now
                return await look()
            raise RelayError(f"{self.name} did not make stream {wanted}: {_said(error)}") from None

    async def _may_publish(self, client: Client, demand: Demand) -> None:
        """See whether this user may, by a message that the stream refuses."""
        self._denied = ""
        left = int(_PATIENCE / _RETRY)
        while True:
            try:
                await client.request(
                    demand.pattern.replace("*", "0"),
                    b"",
                    timeout=2,
                    headers={"Nats-Expected-Stream": "no stream of this name"},
                )
            except nats.errors.NoRespondersError:
                if left := left - 1:  # a stream that somebody is just making takes nothing yet
                    await asyncio.sleep(_RETRY)
                    continue
                raise RelayError(
                    f"{self.name}: no stream takes {demand.pattern}", "see its log, or name a stream"
                ) from None
            except nats.errors.Error as error:
                raise RelayError(
                    self._denied or f"{self.name} does not answer what is published: {_said(error)}",
                    f"give the user the right to publish to {demand.pattern} and to subscribe to _INBOX.>",
                ) from None
            return


def _said(error: Exception) -> str:
    return (str(error) or type(error).__name__).removeprefix("nats: ").strip()
