"""Opening the sockets that an endpoint receives on, at first and when an interface was made anew."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import final

from ..reading import Reader
from ..reading.buffers import give_buffer
from ..system.sockets import opening
from ..values.addresses import Address
from ..values.filters import SourceFilter
from ..values.interface import Interface
from ..values.options import Options

__all__ = ["Opener"]


@final
class Opener:
    """Opens them for `group`, to be read as `options` say."""

    __slots__ = ("_group", "_options")

    def __init__(self, group: Address, options: Options) -> None:
        self._group = group
        self._options = options

    @contextmanager
    def opening(
        self,
        port: int | None,
        interface: Interface,
        wanted: SourceFilter,
        sock: socket.socket | int | None = None,
    ) -> Iterator[Reader]:
        """Give a reader of a socket that is a member of nothing yet; closed where the context raises.

        The arguments and errors are those of `open_socket`. `wanted` judges what comes.
        """
        options = self._options
        asked = options.socket_options
        with opening(self._group, port, interface, sock=sock, socket_options=asked) as member:
            give_buffer(member, options, is_adopted=sock is not None)
            yield Reader(member, wanted, ancillary=options.ancillary, gro=options.gro)
