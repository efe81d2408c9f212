"""Leases in a key-value bucket of JetStream."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final, final

import nats.errors
import nats.js.errors
from nats.js import JetStreamContext
from nats.js.api import KeyValueConfig
from nats.js.kv import KeyValue

from ..errors import ArgumentError
from ..values.shown import shown
from .errors import RelayError
from .jetstream import JetStream

__all__ = ["JetStreamLeases"]

_PREFIX: Final = "member."
_SHORTEST: Final = 0.1  # seconds: the server takes no shorter term


@final
class JetStreamLeases:
    """Leases in the key-value bucket `bucket` of a NATS server, made where there is none.

    `lease` is that of the `Sharing`: an entry lasts half of it, by the server's clock.
    """

    def __init__(self, server: JetStream, bucket: str = "aiomcast", *, lease: float = 3.0) -> None:
        if not isinstance(bucket, str) or not bucket.replace("-", "").replace("_", "").isalnum():
            raise ArgumentError(f"bucket {shown(bucket)}", "give letters, digits, - and _")
        self._server = server
        self._bucket = bucket
        self._term = max(_SHORTEST, lease / 2)
        self._stream, self._subjects = f"KV_{bucket}", f"$KV.{bucket}."  # as every client has them
        self._entries: KeyValue | None = None
        self._manager: JetStreamContext

    async def renew(self, name: str, holding: bytes) -> None:
        """Write the entry of this member anew."""
        entries = await self._opened()
        try:
            await entries.put(_PREFIX + name.encode().hex(), holding)
        except nats.errors.Error as error:
            raise self._failed(error) from None

    async def members(self) -> Mapping[str, bytes]:
        """Return whose entries there are, and what is in them."""
        await self._opened()
        subjects = f"{self._subjects}{_PREFIX}"
        try:
            info = await self._manager.stream_info(self._stream, subjects_filter=f"{subjects}>")
            found = tuple(info.state.subjects or {})
            entries = await asyncio.gather(*map(self._entry, found))
        except nats.errors.Error as error:
            raise self._failed(error) from None
        return {
            bytes.fromhex(subject.removeprefix(subjects)).decode(): entry
            for subject, entry in zip(found, entries, strict=True)
            if entry is not None
        }

    async def _entry(self, subject: str) -> bytes | None:
        try:
            return (await self._manager.get_last_msg(self._stream, subject)).data or b""
        except nats.js.errors.NotFoundError:  # its time has come just now
            return None

    async def give_up(self, name: str) -> None:
        """Take the entry of this member away."""
        await self._opened()
        subject = f"{self._subjects}{_PREFIX}{name.encode().hex()}"
        try:
            await self._manager.purge_stream(self._stream, subject=subject)
        except nats.errors.Error as error:
            raise self._failed(error) from None

    async def _opened(self) -> KeyValue:
        if self._entries is None:
            self._manager = (await self._server.connect()).jetstream(timeout=2)
            try:
                try:
                    self._entries = await self._manager.key_value(self._bucket)
                except nats.js.errors.NotFoundError:
                    self._entries = await self._manager.create_key_value(
                        KeyValueConfig(self._bucket, ttl=self._term)
                    )
                term = (await self._entries.status()).ttl
            except nats.errors.Error as error:
                raise self._failed(error) from None
            if term is None or abs(term - self._term) > 0.001:
                self._entries = None
                raise RelayError(
                    f"entries of bucket {self._bucket} last {term} s, not {self._term:g}",
                    "use the same lease everywhere, or another bucket",
                )
        return self._entries

    def _failed(self, error: Exception) -> RelayError:
        return RelayError(f"bucket {self._bucket} cannot be used now: {error}")
