"""Reading a stream of JetStream in order, and taking it up again wherever that broke off."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Final, final

import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from .broker import Start, StartAt, Stored
from .cancelling import check_cancelled
from .errors import RelayError
from .messages import Message

__all__ = ["Following"]

_log = logging.getLogger("aiomcast.relay")

_HEARTBEAT: Final = 1.0  # seconds after which the server says that it has nothing
_SILENCE: Final = 3.5  # seconds without anything, after which the consumer is taken for lost
_RETRY: Final = 0.2  # seconds before it is tried again
_LOOKED_BACK: Final = 4096  # messages read again after a break: a killed server can have others there
_TOKENS: Final = 9  # of a reply subject without a domain: $JS.ACK.stream.consumer.n.place.count.time.left


@final
class Following:
    """One reader of a stream: what is stored under `pattern`, in order, each once."""

    def __init__(
        self, client: Client, stream: str, pattern: str, start: StartAt, check_refused: Callable[[bool], None]
    ) -> None:
        self._client = client
        self._stream = stream
        self._pattern = pattern
        self._start = start
        self._check_refused = check_refused  # whether it has begun; raises where the server has said no
        self._place = 0  # of the last that was taken
        self._latest: deque[tuple[int, str]] = deque(maxlen=_LOOKED_BACK)  # places and identities
        self._again: frozenset[tuple[int, str]] = frozenset()  # those, when it was last taken up again
        self._count = 0  # of those that this consumer has had
        self._created: object = None  # when the stream was
        self._subscription: Subscription | None = None
        self._queue: list[Stored] = []
        self._flow: list[str] = []  # where to say that there is room again
        self._is_broken = False
        self._arrived = asyncio.Event()

    async def begin(self) -> None:
        """Have a consumer of the server's behind the last that was taken. RelayError as of `next`."""
        while True:
            await self.aclose()
            if self._client.is_closed:
                raise RelayError("the connection to the server is closed", "make another JetStream")
            try:
                await self._try_to_begin()
            except (nats.js.errors.NotFoundError, nats.js.errors.BadRequestError) as error:
                if not self._created:
                    raise RelayError(f"stream {self._stream} cannot be read: {error.description}") from None
                await asyncio.sleep(_RETRY)
            except (nats.errors.Error, OSError):
                check_cancelled()
                self._check_refused(self._created is not None)
                await asyncio.sleep(_RETRY)
            else:
                return

    async def next(self) -> list[Stored]:
        """Return what has come, waiting for it. RelayError where it will never come."""
        while not self._queue:
            if self._subscription is None or self._is_broken:
                self._arrived.clear()
                await self.begin()
            for reply in self._flow:
                with suppress(nats.errors.Error):
                    await self._client.publish(reply)
            self._flow.clear()
            check_cancelled()
            try:
                async with asyncio.timeout(_SILENCE):
                    await self._arrived.wait()
            except TimeoutError:
                self._is_broken = True
            self._arrived.clear()
        taken, self._queue = self._queue, []
        return taken

    async def aclose(self) -> None:
        """End the consumer."""
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            with suppress(nats.errors.Error):
                await subscription.unsubscribe()

    async def _try_to_begin(self) -> None:
        manager = self._client.jetstream(timeout=2)
        info = await manager.stream_info(self._stream)
        if self._created is None and self._start is Start.LIVE:
            self._place = info.state.last_seq
        elif self._created is not None:
            self._again = frozenset(self._latest)
            self._place = max(0, self._place - _LOOKED_BACK)
            if info.created != self._created or info.state.last_seq < self._place:
                _log.warning("stream %s was made anew: it is read from its beginning", self._stream)
                self._place = 0
        self._count = 0
        self._is_broken = False
        inbox = self._client.new_inbox()
        self._subscription = await self._client.subscribe(
            inbox, cb=self._came, pending_msgs_limit=-1, pending_bytes_limit=-1
        )
        config = ConsumerConfig(
            deliver_subject=inbox,
            ack_policy=AckPolicy.NONE,
            max_deliver=1,
            flow_control=True,
            idle_heartbeat=_HEARTBEAT,
            filter_subject=self._pattern,
            inactive_threshold=30.0,
            num_replicas=1,
            mem_storage=True,
        )
        start = self._start
        if isinstance(start, datetime) and start.timestamp() > 0 and not self._place:  # no server is older
            config.deliver_policy = DeliverPolicy.BY_START_TIME
            config.opt_start_time = start
        else:
            config.deliver_policy = DeliverPolicy.BY_START_SEQUENCE
            config.opt_start_seq = self._place + 1
        await manager.add_consumer(self._stream, config)
        self._created = info.created

    async def _came(self, msg: Msg) -> None:
        if self._is_broken or self._subscription is None or msg.sid != self._subscription._id:
            return
        headers = msg.headers or {}
        if "Status" in headers:
            if msg.reply:
                self._flow.append(msg.reply)  # which is answered when all before it were taken
            elif (stalled := headers.get("Nats-Consumer-Stalled")) is not None:
                self._flow = [stalled]  # told with every heartbeat, for as long as nothing is taken
            last = headers.get("Nats-Last-Consumer")
            if last is not None and int(last) != self._count:
                self._is_broken = True
            self._arrived.set()
            return
        words = msg.reply.split(".")
        base = 0 if len(words) == _TOKENS else 2
        place, count, time_ns = (int(word) for word in words[5 + base : 8 + base])
        self._count += 1
        if count != self._count:
            self._is_broken = True
        elif place > self._place:
            self._place = place
            identity = headers.get("Nats-Msg-Id", "")
            self._latest.append((place, identity))
            if (place, identity) not in self._again:
                self._queue.append(Stored(time_ns, Message(msg.subject, headers, msg.data, identity)))
        self._arrived.set()
