"""What says which NATS server is meant, which stream of it, and who one is there: looked at before use."""

from __future__ import annotations

import importlib.util
import re
from typing import Final
from urllib.parse import urlsplit

from ..errors import ArgumentError, ArgumentTypeError, MissingExtraError
from ..values.shown import shown

__all__ = ["credentials_file", "name_of_server", "nats_servers", "stream_name", "without_password"]

_SCHEMES: Final = ("nats", "tls", "ws", "wss")
_BLOCKS: Final = (b"BEGIN NATS USER JWT", b"BEGIN USER NKEY SEED")
_MOST: Final = 1 << 20  # bytes of a file of credentials
_NOT_IN_NAMES: Final = frozenset(" \t\r\n\f.*>/\\")


def nats_servers(url: object) -> list[str]:
    """Return the servers that a URL names, one or several with commas. ArgumentError where it names none."""
    if not isinstance(url, str):
        raise ArgumentError(f"url {shown(url)}", "write nats://HOST:PORT")
    return [_nats_server(part.strip()) for part in url.split(",")]


def _nats_server(url: str) -> str:
    try:
        parts = urlsplit(url)
        fits = parts.scheme in _SCHEMES and parts.hostname and (parts.port or 1)
    except ValueError:
        fits = False
    if not fits:
        raise ArgumentError(f"url {shown(without_password(url))}", "write nats://HOST:PORT")
    if parts.scheme in ("ws", "wss") and not importlib.util.find_spec("aiohttp"):
        raise MissingExtraError("aiohttp is not installed", "pip install 'nats-py[aiohttp]'")
    return url


def name_of_server(url: str) -> str:
    """Return what to call it: nothing of who one is there."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def without_password(url: str) -> str:
    """Return what was given, without what stands before an @."""
    return re.sub(r"//.*@", "//", url, flags=re.DOTALL)


def stream_name(stream: object) -> str | None:
    """Return the name of a stream, None for None. ArgumentError where a stream cannot have it."""
    if stream is None:
        return None
    hint = "give a name without spaces, dots, *, > and slashes"
    if not isinstance(stream, str):
        raise ArgumentTypeError(f"stream {shown(stream)}", hint)
    if not stream or not stream.isprintable() or _NOT_IN_NAMES & set(stream):
        raise ArgumentError(f"stream {shown(stream)}", hint)
    return stream


def credentials_file(path: object) -> str | None:
    """Return the path of a file of credentials, None for None. ArgumentError for what is none.

    A file that has not both of its blocks is refused here: nats-py would look for them without end.
    """
    if path is None:
        return None
    hint = "give a file as nsc writes it, with a JWT and a seed"
    if not isinstance(path, str):
        raise ArgumentTypeError(f"credentials {shown(path)}", hint)
    try:
        with open(path, "rb") as file:
            held = file.read(_MOST)
    except (OSError, ValueError) as error:
        said = getattr(error, "strerror", None) or str(error)
        raise ArgumentError(f"credentials {shown(path)}: {said}", hint) from None
    if not all(block in held for block in _BLOCKS):
        raise ArgumentError(f"credentials {shown(path)}: it has no JWT and seed", hint)
    if not importlib.util.find_spec("nkeys"):
        raise MissingExtraError("nkeys is not installed, by which one signs", "pip install 'nats-py[nkeys]'")
    return path
