"""Redis Streams as the server in the middle."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any, Final, final
from urllib.parse import urlsplit

from ..errors import ArgumentError, ArgumentTypeError, MissingExtraError
from ..values.shown import shown
from .broker import Demand, Outcome, Start, StartAt, Stored
from .cancelling import check_cancelled
from .closing import closed_is_told
from .errors import RelayError, UnreachableError
from .messages import Message
from .networks import Readable
from .servers import without_password

try:
    from redis.asyncio import Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
    from redis.exceptions import AuthenticationError, NoPermissionError, RedisError, ResponseError
    from redis.exceptions import ConnectionError as AwayError
    from redis.exceptions import TimeoutError as LateError
except ImportError:
    raise MissingExtraError.of("redis", "redis") from None

__all__ = ["RedisStreams"]

_SCHEMES: Final = ("redis", "rediss")
_PATIENCE: Final = 5.0  # seconds for an answer
_RETRY: Final = 0.2  # seconds before it is tried again
_BLOCK_MS: Final = 1000
_COUNT: Final = 512  # messages read at a time
_MAY_READ: Final = "give the user the rights to XREAD and XREVRANGE, and name a stream"
_OLDEST: Final = (5, 0)  # the first release that has streams

# What is stored already is known by a key with an end; it is set only after the message is stored, so that
# one which was refused can come again. Arguments: milliseconds, most messages, then four for each message.
_STORE: Final = """
local answers = {}
for at = 3, #ARGV, 4 do
  local known = KEYS[1] .. ':' .. ARGV[at]
  if redis.call('EXISTS', known) == 1 then
    answers[#answers + 1] = 1
  else
    local stored
    if ARGV[2] == '' then
      stored = redis.pcall('XADD', KEYS[1], '*',
        'i', ARGV[at], 's', ARGV[at + 1], 't', ARGV[at + 2], 'd', ARGV[at + 3])
    else
      stored = redis.pcall('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], '*',
        'i', ARGV[at], 's', ARGV[at + 1], 't', ARGV[at + 2], 'd', ARGV[at + 3])
    end
    if type(stored) == 'table' and stored.err then
      answers[#answers + 1] = stored.err
    else
      redis.call('SET', known, '', 'PX', ARGV[1])
      answers[#answers + 1] = 0
    end
  end
end
return answers
"""


@final
class RedisStreams(Readable):
    """A Redis server, 5.0 or newer: `RedisStreams("redis://192.0.2.1:6379")`.

    `url` has the scheme redis or rediss, a user and a password where they are needed, and the number of a
    database as its path. All is stored in one stream, `stream`, of which about `keep` messages are kept
    (None: all). With `durable` the server must write its append-only file (appendonly yes): what is
    acknowledged then outlives the server; with appendfsync everysec, its default, a power cut can take
    the last second all the same. It must evict nothing (maxmemory-policy noeviction).

    It is what a `Relay` stores on and a `Subscription` reads. It is a network too: a
    `Receiver(network=RedisStreams(url))` joins what relays have stored. See `network`.

    ArgumentError for what is no such URL. MissingExtraError without `aiomcast[redis]`.
    """

    def __init__(
        self, url: str, *, stream: str = "mcast", keep: int | None = None, durable: bool = True
    ) -> None:
        self._url = _checked(url)
        if not isinstance(stream, str) or not stream:
            raise ArgumentError(f"stream {shown(stream)}", "give it a name")
        if keep is not None and (isinstance(keep, bool) or not isinstance(keep, int)):
            raise ArgumentTypeError(f"keep {shown(keep)}", "give a number of messages, or None")
        if keep is not None and keep < 1:
            raise ArgumentError(f"keep {keep}", "give a number of messages, or None")
        self._stream = stream
        self._keep = "" if keep is None else str(keep)
        self._durable = durable
        super().__init__(self.name, partial(RedisStreams, url, stream=stream))
        self._window_ms = 0
        self._client: Any = None  # redis-py types its answers as what they may be, with or without await
        self._in_order = asyncio.Lock()
        self._is_away = False
        self._back_again = asyncio.Event()
        self._refusal = ""

    def __repr__(self) -> str:
        return f"<RedisStreams {self.name}>"

    @property
    def name(self) -> str:
        """The server, without a password."""
        parts = urlsplit(self._url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    @property
    def refusal(self) -> str:
        """What the server said when it last refused to store."""
        return self._refusal

    async def check(self, demand: Demand) -> None:
        """Connect, and look whether the server fits. RelayError where it does not."""
        self._window_ms = int(demand.window * 1000)
        client = self._opened()
        try:
            with closed_is_told():
                told = await client.info()
                await client.eval(_STORE, 1, self._stream, self._window_ms, self._keep)
                kind = await client.type(self._stream)
        except AuthenticationError as error:
            raise RelayError(
                f"{self.name} does not let this user in: {error}", "write redis://USER:PASSWORD@HOST"
            ) from None
        except (AwayError, LateError, OSError) as error:
            raise RelayError(f"no Redis answers at {self.name}: {error}", "start one: redis-server") from None
        except NoPermissionError as error:
            raise RelayError(
                f"{self.name}: {error}", "give the user the rights to INFO, EVAL, TYPE, XADD, EXISTS and SET"
            ) from None
        except RedisError as error:
            raise RelayError(f"{self.name} refused a look: {error}") from None
        self._fits(told, kind.decode() if isinstance(kind, bytes) else str(kind))

    def _fits(self, told: dict[str, Any], kind: str) -> None:  # Any: what INFO holds, by its names
        version = str(told.get("redis_version", ""))
        if tuple(int(part) for part in version.split(".")[:2] if part.isdecimal()) < _OLDEST:
            raise RelayError(f"{self.name} is Redis {version}, which has no streams", "use 5.0 or newer")
        policy = told.get("maxmemory_policy", "noeviction")
        if policy != "noeviction":
            raise RelayError(
                f"{self.name} evicts what it holds when memory is short (maxmemory-policy {policy})",
                "redis-cli config set maxmemory-policy noeviction",
            )
        if self._durable and not int(told.get("aof_enabled", 0)):
            raise RelayError(
                f"{self.name} keeps what it acknowledges in memory only",
                "redis-cli config set appendonly yes, or take that with durable=False, --not-durable",
            )
        if kind not in ("none", "stream"):
            raise RelayError(f"{self._stream} of {self.name} is a {kind}, no stream", "name another stream")

    async def store(self, messages: Sequence[Message]) -> list[Outcome]:
        """Store these by one script. See `Broker.store`."""
        arguments: list[str | bytes | int] = [self._window_ms, self._keep]
        for message in messages:
            tags = json.dumps(message.tags, separators=(",", ":"))
            arguments += (message.identity, message.subject, tags, message.data)
        try:
            async with self._in_order:
                with closed_is_told():
                    answers = await self._opened().eval(_STORE, 1, self._stream, *arguments)
        except (AwayError, LateError, OSError) as error:
            check_cancelled()
            self._is_away = True
            raise UnreachableError(f"{self.name} is away: {error}") from None
        except NoPermissionError as error:
            raise RelayError(f"{self.name}: {error}", "give the user the right to XADD and SET") from None
        except ResponseError as error:
            self._refusal = str(error)
            return [Outcome.REFUSED] * len(messages)
        check_cancelled()
        return [self._outcome(answer) for answer in answers]

    async def reachable(self) -> None:
        """Return when the server answers. See `Broker.reachable`."""
        while True:
            check_cancelled()
            try:
                with closed_is_told():
                    await self._opened().ping()
            except (AwayError, LateError, OSError):
                await asyncio.sleep(_RETRY)
            except RedisError:  # it loads what it had, or lets nobody in now
                await asyncio.sleep(_RETRY)
            else:
                if self._is_away:
                    self._is_away = False
                    self._back_again.set()
                return

    async def returned(self) -> None:
        """Return when the server is back. See `Broker.returned`.

        The append-only file is written before an answer goes out, but where that fails, as on a full disk,
        the answer goes out all the same, and only what comes after it is refused.
        """
        self._back_again.clear()
        await self._back_again.wait()

    async def read(self, pattern: str, start: StartAt) -> AsyncGenerator[list[Stored], None]:
        """Yield what the stream has under `pattern`. See `Broker.read`."""
        words = pattern.split(".")
        place = await self._place(start)
        yield []
        while True:
            check_cancelled()
            try:
                with closed_is_told():
                    answer = await self._opened().xread({self._stream: place}, count=_COUNT, block=_BLOCK_MS)
            except (AwayError, LateError, OSError):
                await self.reachable()
                continue
            except RedisError as error:
                raise RelayError(
                    f"{self.name} does not let {self._stream} be read: {error}", _MAY_READ
                ) from None
            entries = answer[0][1] if answer else []
            found = [one for one in (_stored(*entry) for entry in entries) if _matches(one, words)]
            if entries:
                place = entries[-1][0]
            if found:
                yield found

    async def aclose(self) -> None:
        """End the connection."""
        client, self._client = self._client, None
        if client is not None:
            with suppress(RedisError, OSError):
                await client.aclose()

    def _opened(self) -> Any:  # see `_client`
        if self._client is None:
            self._client = Redis.from_url(
                self._url,
                socket_connect_timeout=_PATIENCE,
                socket_timeout=_PATIENCE,
                client_name="aiomcast",
                retry=Retry(NoBackoff(), 0),  # a connection that is lost is to be known of
            )
        return self._client

    def _outcome(self, answer: int | bytes | str) -> Outcome:
        if isinstance(answer, int):
            return Outcome.MERGED if answer else Outcome.STORED
        self._refusal = answer.decode(errors="replace") if isinstance(answer, bytes) else answer
        return Outcome.REFUSED

    async def _place(self, start: StartAt) -> str:
        """Return behind which entry to read, after a look whether that is allowed."""
        try:
            with closed_is_told():
                last = await self._opened().xrevrange(self._stream, count=1)
                await self._opened().xread({self._stream: "$"}, count=1)
        except AuthenticationError as error:
            raise RelayError(
                f"{self.name} does not let this user in: {error}", "write redis://USER:PASSWORD@HOST"
            ) from None
        except (AwayError, LateError, OSError) as error:
            raise RelayError(f"no Redis answers at {self.name}: {error}", "start one: redis-server") from None
        except RedisError as error:
            raise RelayError(f"{self.name} does not let {self._stream} be read: {error}", _MAY_READ) from None
        if isinstance(start, datetime):
            begun_ms = int(start.timestamp() * 1000)
            return f"{begun_ms - 1}-{2**64 - 1}" if begun_ms > 0 else "0-0"
        return str(last[0][0].decode()) if last and start is Start.LIVE else "0-0"


def _stored(place: bytes, fields: dict[bytes, bytes]) -> Stored:
    try:
        tags = json.loads(fields.get(b"t", b"{}"))
    except ValueError:
        tags = {}
    message = Message(
        fields.get(b"s", b"").decode(errors="replace"),
        tags if isinstance(tags, dict) else {},
        fields.get(b"d", b""),
        fields.get(b"i", b"").decode(errors="replace"),
    )
    return Stored(int(place.partition(b"-")[0]) * 1_000_000, message)


def _matches(stored: Stored, words: list[str]) -> bool:
    named = stored.message.subject.split(".")
    return len(named) == len(words) and all(
        word in ("*", name) for word, name in zip(words, named, strict=True)
    )


def _checked(url: str) -> str:
    hint = "write redis://HOST:PORT"
    try:
        parts = urlsplit(url)
        fits = parts.scheme in _SCHEMES and bool(parts.hostname) and (parts.port or 1) > 0
    except (ValueError, AttributeError, TypeError):
        fits = False
    if not fits:
        said = without_password(url) if isinstance(url, str) else url
        raise ArgumentError(f"url {shown(said)}", hint)
    return url
