"""An asyncio-native multicast receiver with the whole source-filter API of RFC 3678."""

from .diagnosis.diagnose import diagnose
from .diagnosis.facts import Facts
from .diagnosis.verdicts import Diagnosis, Verdict, VerdictKind
from .endpoint.endpoint import create_multicast_endpoint
from .endpoint.protocol import MulticastProtocol
from .endpoint.sender import Sender
from .endpoint.transport import MulticastTransport
from .errors import (
    AddressError,
    AddressTypeError,
    ArgumentError,
    ArgumentTypeError,
    CaptureError,
    FilterError,
    FilterTypeError,
    InconsistentError,
    InterfaceError,
    InterfaceGoneError,
    InterfaceTypeError,
    LimitError,
    MissingExtraError,
    MulticastError,
    NoPermissionError,
    NoRouteError,
    NoSuchInterfaceError,
    RefusedError,
    StateError,
    UnsupportedError,
)
from .interfaces import (
    ALL_INTERFACES,
    AllInterfaces,
    Interface,
    InterfaceLike,
    InterfacesLike,
    list_interfaces,
)
from .receiving.changes import Pending
from .receiving.events import Event, EventStream
from .receiving.joining import Joining
from .receiving.listener import Listener, listen
from .receiving.manager import FilterManager
from .receiving.membership import Membership
from .receiving.receiver import Receiver
from .streams.packet_stream import PacketBatches, PacketStream
from .system.sockets import MulticastSocket, open_socket
from .values.addresses import Address, Scope, is_ssm, scope
from .values.capabilities import Capabilities
from .values.events import EventKind
from .values.filters import FilterMode, SourceFilter, Sources
from .values.options import Options, Overflow
from .values.packets import Channel, Flow, Packet
from .values.statistics import SourceStatistics, Statistics, StreamStatistics
from .values.tags import Tags

__version__ = "0.1.0"

__all__ = [
    "ALL_INTERFACES",
    "Address",
    "AddressError",
    "AddressTypeError",
    "AllInterfaces",
    "ArgumentError",
    "ArgumentTypeError",
    "Capabilities",
    "CaptureError",
    "Channel",
    "Diagnosis",
    "Event",
    "EventKind",
    "EventStream",
    "Facts",
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
    "InterfacesLike",
    "Joining",
    "LimitError",
    "Listener",
    "Membership",
    "MissingExtraError",
    "MulticastError",
    "MulticastProtocol",
    "MulticastSocket",
    "MulticastTransport",
    "NoPermissionError",
    "NoRouteError",
    "NoSuchInterfaceError",
    "Options",
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
    "SourceStatistics",
    "Sources",
    "StateError",
    "Statistics",
    "StreamStatistics",
    "Tags",
    "UnsupportedError",
    "Verdict",
    "VerdictKind",
    "create_multicast_endpoint",
    "diagnose",
    "is_ssm",
    "list_interfaces",
    "listen",
    "open_socket",
    "scope",
]
