"""An asyncio-native multicast receiver with the whole source-filter API of RFC 3678."""

from .addresses import Address, Scope, is_ssm, scope
from .errors import (
    AddressError,
    ArgumentError,
    FilterError,
    InconsistentError,
    InterfaceError,
    InterfaceGoneError,
    LimitError,
    MulticastError,
    NoPermissionError,
    NoRouteError,
    RefusedError,
    StateError,
    UnsupportedError,
)
from .event_stream import EventStream
from .events import Event, EventKind
from .filters import FilterMode, SourceFilter, Sources
from .interfaces import Interface, InterfaceLike, interfaces
from .listener import Listener, listen
from .manager import FilterManager, Pending
from .membership import Membership
from .packets import Channel, Flow, Packet
from .protocol import MulticastProtocol, create_multicast_endpoint
from .receiver import Receiver
from .rfc3678.sockets import MulticastSocket, open_socket
from .sender import Sender
from .statistics import Statistics, StreamStatistics
from .streams import Overflow, PacketBatches, PacketStream
from .transport import MulticastTransport

__version__ = "0.1.0"

__all__ = [
    "Address",
    "AddressError",
    "ArgumentError",
    "Channel",
    "Event",
    "EventKind",
    "EventStream",
    "FilterError",
    "FilterManager",
    "FilterMode",
    "Flow",
    "InconsistentError",
    "Interface",
    "InterfaceError",
    "InterfaceGoneError",
    "InterfaceLike",
    "LimitError",
    "Listener",
    "Membership",
    "MulticastError",
    "MulticastProtocol",
    "MulticastSocket",
    "MulticastTransport",
    "NoPermissionError",
    "NoRouteError",
    "Overflow",
    "Packet",
    "PacketBatches",
    "PacketStream",
    "Pending",
    "Receiver",
    "RefusedError",
    "Scope",
    "Sender",
    "SourceFilter",
    "Sources",
    "StateError",
    "Statistics",
    "StreamStatistics",
    "UnsupportedError",
    "create_multicast_endpoint",
    "interfaces",
    "is_ssm",
    "listen",
    "open_socket",
    "scope",
]
