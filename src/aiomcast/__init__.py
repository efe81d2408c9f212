"""An asyncio-native multicast receiver with the whole source-filter API of RFC 3678."""

from .endpoint.protocol import MulticastProtocol, create_multicast_endpoint
from .endpoint.sender import Sender
from .endpoint.transport import MulticastTransport
from .errors import (
    AddressError,
    AddressTypeError,
    ArgumentError,
    ArgumentTypeError,
    FilterError,
    FilterTypeError,
    InconsistentError,
    InterfaceError,
    InterfaceGoneError,
    InterfaceTypeError,
    LimitError,
    MulticastError,
    NoPermissionError,
    NoRouteError,
    RefusedError,
    StateError,
    UnsupportedError,
)
from .interfaces import Interface, InterfaceLike, list_interfaces
from .receiving.listener import Listener, listen
from .receiving.manager import FilterManager, Pending
from .receiving.membership import Membership
from .receiving.receiver import Receiver
from .streams.event_stream import EventStream
from .streams.streams import Overflow, PacketBatches, PacketStream
from .system.sockets import MulticastSocket, open_socket
from .values.addresses import Address, Scope, is_ssm, scope
from .values.events import Event, EventKind
from .values.filters import FilterMode, SourceFilter, Sources
from .values.packets import Channel, Flow, Packet
from .values.statistics import Statistics, StreamStatistics

__version__ = "0.1.0"

__all__ = [
    "Address",
    "AddressError",
    "AddressTypeError",
    "ArgumentError",
    "ArgumentTypeError",
    "Channel",
    "Event",
    "EventKind",
    "EventStream",
    "FilterError",
    "FilterManager",
    "FilterMode",
    "FilterTypeError",
    "Flow",
    "InconsistentError",
    "Interface",
    "InterfaceError",
    "InterfaceGoneError",
    "InterfaceLike",
    "InterfaceTypeError",
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
    "is_ssm",
    "list_interfaces",
    "listen",
    "open_socket",
    "scope",
]
