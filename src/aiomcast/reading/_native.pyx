# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""The reading path in compiled code, for Linux: recvmmsg, epoll, and a queue that costs no coroutine.

`portable` says what each class promises; the tests hold both to one behaviour. One file, because
a read goes through all of it without a Python call in between.
"""

import types
from collections import deque

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, memset

import os

from ..addresses import unpack
from ..errors import StateError
from ..packets import Flow, Packet
from . import options
from .gate import Gate

cdef extern from *:
    """
    #ifndef _GNU_SOURCE
    #define _GNU_SOURCE
    #endif
    #include <netinet/in.h>
    #include <sys/epoll.h>
    #include <sys/socket.h>
    #include <unistd.h>

    #ifndef SO_TIMESTAMPNS_NEW
    #define SO_TIMESTAMPNS_NEW 64
    #endif
    #ifndef SO_RXQ_OVFL
    #define SO_RXQ_OVFL 40
    #endif
    #define AIOMCAST_TIMESTAMPNS_OLD 35
    #define AIOMCAST_SOL_UDP 17
    #define AIOMCAST_UDP_GRO 104

    /* A Packet is a tuple with a name: made the way tuple.__new__ makes one, without the
       argument tuple. It holds bytes, integers and a flow, none of which can refer back, so the
       cycle collector is never told of it. */
    static PyObject *aiomcast_packet(PyTypeObject *type, const char *start, Py_ssize_t length, PyObject *flow,
                                     PyObject *stamp, PyObject *cut, PyObject *hops, PyObject *traffic)
    {
        PyObject *packet, *data = PyBytes_FromStringAndSize(start, length);
        if (data == NULL)
            return NULL;
        packet = (PyObject *)PyObject_GC_NewVar(PyTupleObject, type, 6);
        if (packet == NULL) {
            Py_DECREF(data);
            return NULL;
        }
        Py_INCREF(flow);
        Py_INCREF(stamp);
        Py_INCREF(cut);
        Py_INCREF(hops);
        Py_INCREF(traffic);
        PyTuple_SET_ITEM(packet, 0, data);
        PyTuple_SET_ITEM(packet, 1, flow);
        PyTuple_SET_ITEM(packet, 2, stamp);
        PyTuple_SET_ITEM(packet, 3, cut);
        PyTuple_SET_ITEM(packet, 4, hops);
        PyTuple_SET_ITEM(packet, 5, traffic);
        return packet;
    }

    /* What subtype_dealloc comes to for a Packet, which has neither slots nor weak references nor a
       finalizer: without its search for them, and without telling the collector twice. */
    static void aiomcast_packet_dealloc(PyObject *packet)
    {
        PyTypeObject *type = Py_TYPE(packet);
        Py_ssize_t i;
        PyObject_GC_UnTrack(packet);
        for (i = Py_SIZE(packet); --i >= 0;)
            Py_XDECREF(PyTuple_GET_ITEM(packet, i));
        type->tp_free(packet);
        Py_DECREF(type);
    }

    static void aiomcast_set_dealloc(PyTypeObject *type)
    {
        type->tp_dealloc = aiomcast_packet_dealloc;
    }

    /* `await` asks a type that has am_send for its value directly: no StopIteration is made. */
    static void aiomcast_set_send(PyTypeObject *type, void *send)
    {
        type->tp_as_async->am_send = (sendfunc)send;
    }
    """
    struct iovec:
        void *iov_base
        size_t iov_len
    struct msghdr:
        void *msg_name
        uint32_t msg_namelen
        iovec *msg_iov
        size_t msg_iovlen
        void *msg_control
        size_t msg_controllen
        int msg_flags
    struct mmsghdr:
        msghdr msg_hdr
        unsigned int msg_len
    struct cmsghdr:
        size_t cmsg_len
        int cmsg_level
        int cmsg_type
    struct sockaddr_in:
        uint16_t sin_port
        uint8_t sin_addr
    struct sockaddr_in6:
        uint16_t sin6_port
        uint8_t sin6_addr
    ctypedef union epoll_data_t:
        int fd
    struct epoll_event:
        uint32_t events
        epoll_data_t data
    cmsghdr *CMSG_FIRSTHDR(msghdr *) nogil
    cmsghdr *CMSG_NXTHDR(msghdr *, cmsghdr *) nogil
    uint8_t *CMSG_DATA(cmsghdr *) nogil
    size_t CMSG_LEN(size_t) nogil
    int recvmmsg(int, mmsghdr *, unsigned int, int, void *) nogil
    int epoll_create1(int)
    int epoll_ctl(int, int, int, epoll_event *)
    int epoll_wait(int, epoll_event *, int, int)
    int close(int)
    int EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLLIN
    int SOL_SOCKET, IPPROTO_IP, IPPROTO_IPV6, IP_TTL, IP_TOS, IPV6_HOPLIMIT, IPV6_TCLASS
    int SO_TIMESTAMPNS_NEW, SO_RXQ_OVFL
    int AIOMCAST_TIMESTAMPNS_OLD, AIOMCAST_SOL_UDP, AIOMCAST_UDP_GRO
    int MSG_TRUNC, MSG_DONTWAIT, AF_INET, AF_INET6
    object aiomcast_packet(type, const char *, Py_ssize_t, object, object, object, object, object)
    void aiomcast_set_send(type, void *)
    void aiomcast_set_dealloc(type)

cdef enum:
    MESSAGES = 64          # datagrams per system call, and per socket before the next has its turn
    MAX_DATAGRAM = 65535
    CONTROL_ROOM = 256
    NAME_ROOM = 32         # sockaddr_in6 has 28
    # Not a power of two: buffers 64 KiB apart would all fight for the same lines of the caches.
    STRIDE = 65536 + 448
    EVENTS = 16            # ready sockets asked for at a time: all of them are read before the next
    FLOW_LIMIT = 1024      # senders remembered per socket; beyond it the memory starts anew

# The receive buffers, one set for the process: a read holds the interpreter lock from the
# system call to the last packet made, so no two reads are ever in them together.
cdef mmsghdr *messages = NULL
cdef iovec *vectors = NULL
cdef char *buffers = NULL
cdef char *names = NULL
cdef char *controls = NULL

cdef type packet_type = Packet
cdef object gate_type = Gate


cdef int _allocate() except -1:
    global messages, vectors, buffers, names, controls
    cdef int i
    if messages != NULL:
        return 0
    vectors = <iovec *>calloc(MESSAGES, sizeof(iovec))
    buffers = <char *>calloc(MESSAGES, STRIDE)  # pages that no datagram reaches stay untouched
    names = <char *>calloc(MESSAGES, NAME_ROOM)
    controls = <char *>calloc(MESSAGES, CONTROL_ROOM)
    messages = <mmsghdr *>calloc(MESSAGES, sizeof(mmsghdr))
    if vectors == NULL or buffers == NULL or names == NULL or controls == NULL or messages == NULL:
        raise MemoryError("no memory for the receive buffers")
    for i in range(MESSAGES):
        vectors[i].iov_base = buffers + i * <size_t>STRIDE
        messages[i].msg_hdr.msg_iov = &vectors[i]
        messages[i].msg_hdr.msg_iovlen = 1
        messages[i].msg_hdr.msg_name = names + i * NAME_ROOM
        messages[i].msg_hdr.msg_control = controls + i * CONTROL_ROOM
    return 0


cdef struct Tags:
    int64_t stamp       # nanoseconds, -1 unknown
    int64_t dropped     # SO_RXQ_OVFL, -1 absent
    int hops            # -1 unknown
    int traffic         # -1 unknown
    Py_ssize_t segment  # UDP_GRO's datagram size, 0 where nothing was coalesced


cdef inline int _octet(uint8_t *data, size_t length) noexcept nogil:
    cdef int value
    if length >= sizeof(int):
        memcpy(&value, data, sizeof(int))
        return value & 0xFF
    return data[0]


cdef void _parse(msghdr *header, Tags *tags) noexcept nogil:
    """Read the control messages, trusting no length in them."""
    cdef cmsghdr *entry
    cdef uint8_t *data
    cdef uint8_t *end = <uint8_t *>header.msg_control + header.msg_controllen
    cdef size_t length
    cdef int64_t time[2]
    cdef uint32_t count
    cdef int size
    tags.stamp = tags.dropped = tags.hops = tags.traffic = -1
    tags.segment = 0
    entry = CMSG_FIRSTHDR(header)
    while entry != NULL:
        data = CMSG_DATA(entry)
        if entry.cmsg_len < CMSG_LEN(0) or data > end:
            return
        length = entry.cmsg_len - CMSG_LEN(0)
        if length > <size_t>(end - data):
            length = end - data
        if entry.cmsg_level == SOL_SOCKET:
            if (
                entry.cmsg_type == SO_TIMESTAMPNS_NEW or entry.cmsg_type == AIOMCAST_TIMESTAMPNS_OLD
            ) and length == 16:
                memcpy(time, data, 16)
                tags.stamp = <int64_t>(<uint64_t>time[0] * 1000000000 + <uint64_t>time[1])
            elif entry.cmsg_type == SO_RXQ_OVFL and length == 4:
                memcpy(&count, data, 4)
                tags.dropped = count
        elif length == 0:
            pass
        elif entry.cmsg_level == IPPROTO_IP:
            if entry.cmsg_type == IP_TTL:
                tags.hops = _octet(data, length)
            elif entry.cmsg_type == IP_TOS:
                tags.traffic = _octet(data, length)
        elif entry.cmsg_level == IPPROTO_IPV6:
            if entry.cmsg_type == IPV6_HOPLIMIT:
                tags.hops = _octet(data, length)
            elif entry.cmsg_type == IPV6_TCLASS:
                tags.traffic = _octet(data, length)
        elif entry.cmsg_level == AIOMCAST_SOL_UDP and entry.cmsg_type == AIOMCAST_UDP_GRO and length >= 4:
            memcpy(&size, data, 4)
            tags.segment = size if size > 0 else 1
        entry = CMSG_NXTHDR(header, entry)


def parse_control(bytes control not None):
    """Return (stamp, dropped, hops, traffic, segment) of raw control messages: for tests."""
    cdef msghdr header
    cdef Tags tags
    cdef char *aligned = <char *>calloc(1, len(control) + 16)
    if aligned == NULL:
        raise MemoryError
    try:
        memset(&header, 0, sizeof(header))
        memcpy(aligned, PyBytes_AS_STRING(control), len(control))
        header.msg_control = aligned
        header.msg_controllen = len(control)
        _parse(&header, &tags)
        return tags.stamp, tags.dropped, tags.hops, tags.traffic, tags.segment
    finally:
        free(aligned)


@cython.final
@cython.no_gc
cdef class _Known:
    """A sender's flow, and what the filter of `epoch` says of it."""

    cdef object flow
    cdef bint allowed
    cdef long epoch


cdef class Reader:
    """See `portable.Reader`."""

    cdef readonly object sock, gate
    cdef public object sink, failed, error
    cdef readonly object coalesces
    cdef readonly int64_t received, octets, filtered, truncated, kernel_drops
    cdef int descriptor
    cdef uint32_t dropped
    cdef size_t size
    cdef int64_t coalesced  # packets per datagram in the last read: what one more will bring
    cdef Py_ssize_t flow_limit
    cdef long epoch
    cdef bint timed, v6
    cdef dict known
    cdef _Known last
    cdef uint8_t last_key[18]
    cdef object __weakref__

    def __init__(self, sock, source_filter, *, ancillary=(), gro=None, size=MAX_DATAGRAM, flow_limit=FLOW_LIMIT):
        _allocate()
        self.sock = sock
        self.gate = gate_type(source_filter)
        self.sink = _nowhere
        self.failed = _unheard
        self.error = None
        self.coalesces = options.ask(sock, ancillary, gro)
        self.descriptor = sock.fileno()
        self.v6 = sock.family == AF_INET6
        if not 0 < size <= MAX_DATAGRAM:
            raise ValueError("size is from 1 to 65535")
        self.size = size
        self.flow_limit = flow_limit
        self.coalesced = 1
        self.known = {}

    def set_filter(self, wanted, until_ns=None):
        """See `portable.Reader.set_filter`."""
        self.gate.change(wanted, until_ns)
        self.timed = self.gate.timed
        self.epoch += 1

    def deliver_between(self, since_ns, until_ns):
        """See `portable.Reader.deliver_between`."""
        if since_ns is not None:
            self.gate.since_ns = since_ns
        if until_ns is not None:
            self.gate.until_ns = until_ns
        self.timed = self.gate.timed

    def read(self, Py_ssize_t limit):
        """See `portable.Reader.read`."""
        cdef list packets = []
        cdef Py_ssize_t got
        while limit > 0:
            got = self.read_into(packets, limit)
            if got < MESSAGES:
                break
            limit -= got
        return packets

    def close(self):
        """See `portable.Reader.close`."""
        self.sock.close()

    def count_drops(self):
        """See `portable.Reader.count_drops`."""
        total = options.dropped(self.sock)
        if total is not None:
            self.drops_are(<uint32_t>total)

    cdef Py_ssize_t read_into(self, list packets, Py_ssize_t limit) except -1:
        """Append what one system call gives; return how many datagrams that was."""
        cdef int got, i, count = MESSAGES if limit > MESSAGES else <int>limit
        cdef int64_t before
        cdef msghdr *header
        cdef Tags tags
        if self.sock.fileno() != self.descriptor:
            return 0  # closed under our feet: the number may be another's by now
        for i in range(count):
            header = &messages[i].msg_hdr
            header.msg_namelen = NAME_ROOM
            header.msg_controllen = CONTROL_ROOM
            vectors[i].iov_len = self.size
        got = recvmmsg(self.descriptor, messages, count, MSG_DONTWAIT, NULL)
        if got < 0:
            if errno != EAGAIN and errno != EINTR:
                self.error = OSError(errno, os.strerror(errno))
            return 0
        before = self.received
        for i in range(got):
            _parse(&messages[i].msg_hdr, &tags)
            self.take(packets, i, &tags)
        if got:
            self.coalesced = (self.received - before) // got
        return got

    cdef int take(self, list packets, int i, Tags *tags) except -1:
        """Make the packets of the i-th message, or count them as filtered."""
        cdef _Known sender = self.sender(<uint8_t *>messages[i].msg_hdr.msg_name)
        cdef Py_ssize_t length = messages[i].msg_len
        cdef Py_ssize_t segment = tags.segment
        cdef Py_ssize_t start = 0, part
        cdef char *data = <char *>vectors[i].iov_base
        cdef object hops = None, traffic = None, cut = False, stamp = None
        cdef bint allowed = sender.allowed
        if tags.dropped >= 0:
            self.drops_are(<uint32_t>tags.dropped)
        self.octets += length
        if self.timed:
            allowed = self.gate.allows(sender.flow.source, None if tags.stamp < 0 else tags.stamp)
            self.timed = self.gate.timed
        if segment == 0 or segment > length:
            segment = length
        part = 1 if segment == 0 else (length + segment - 1) // segment
        self.received += part
        if not allowed:
            self.filtered += part
            return 0
        if tags.stamp >= 0:
            stamp = tags.stamp
        if tags.hops >= 0:
            hops = tags.hops
        if tags.traffic >= 0:
            traffic = tags.traffic
        if messages[i].msg_hdr.msg_flags & MSG_TRUNC:
            cut = True
            self.truncated += 1
        while True:
            part = segment if length - start > segment else length - start
            packets.append(
                aiomcast_packet(packet_type, data + start, part, sender.flow, stamp, cut, hops, traffic)
            )
            start += part
            if start >= length:
                return 0

    cdef _Known sender(self, uint8_t *name):
        cdef uint8_t key[18]
        cdef size_t length
        cdef bytes wanted
        cdef _Known sender
        if self.v6:
            length = 18
            memcpy(key, name + 8, 16)
            memcpy(key + 16, name + 2, 2)
        else:
            length = 6
            memcpy(key, name + 4, 4)
            memcpy(key + 4, name + 2, 2)
        sender = self.last
        if sender is not None and sender.epoch == self.epoch and memcmp(key, self.last_key, length) == 0:
            return sender
        wanted = PyBytes_FromStringAndSize(<char *>key, length)
        sender = self.known.get(wanted)
        if sender is None:
            if len(self.known) >= self.flow_limit:
                self.known.clear()
            sender = _Known.__new__(_Known)
            sender.flow = self.make_flow(wanted)
            sender.epoch = self.epoch - 1
            self.known[wanted] = sender
        if sender.epoch != self.epoch:
            current = self.gate.current
            sender.allowed = (sender.flow.source in current.sources) is current.is_include
            sender.epoch = self.epoch
        self.last = sender
        memcpy(self.last_key, key, length)
        return sender

    cdef object make_flow(self, bytes key):
        sock = self.sock
        return Flow(unpack(key[: len(key) - 2]), int.from_bytes(key[len(key) - 2 :], "big"), sock.group, sock.port, sock.interface.index)

    cdef void drops_are(self, uint32_t total) noexcept:
        cdef uint32_t more = total - self.dropped
        if more < 0x80000000u:  # an older figure that comes late is no step back
            self.dropped = total
            self.kernel_drops += more


def _nowhere(packets):
    raise AssertionError("a reader was read without a sink")


def _unheard(error):
    raise error


cdef class ReadSet:
    """See `portable.ReadSet`. The descriptor is an epoll set, which itself can be polled."""

    cdef int descriptor
    cdef list readers  # by descriptor; None where there is none

    def __cinit__(self):
        self.descriptor = -1

    def __init__(self):
        self.readers = []
        self.descriptor = epoll_create1(EPOLL_CLOEXEC)
        if self.descriptor < 0:
            raise OSError(errno, os.strerror(errno))

    def __dealloc__(self):
        if self.descriptor >= 0:
            close(self.descriptor)

    def fileno(self):
        """See `portable.ReadSet.fileno`."""
        return self.descriptor

    def add(self, Reader reader not None):
        """See `portable.ReadSet.add`."""
        cdef epoll_event event
        cdef int number = reader.descriptor
        while len(self.readers) <= number:
            self.readers.append(None)
        if self.readers[number] is reader:
            return
        memset(&event, 0, sizeof(event))
        event.events = EPOLLIN
        event.data.fd = number
        if epoll_ctl(self.descriptor, EPOLL_CTL_ADD, number, &event) < 0:
            raise OSError(errno, os.strerror(errno))
        self.readers[number] = reader

    def discard(self, Reader reader not None):
        """See `portable.ReadSet.discard`."""
        cdef epoll_event event
        cdef int number = reader.descriptor
        if number < len(self.readers) and self.readers[number] is reader:
            self.readers[number] = None
            epoll_ctl(self.descriptor, EPOLL_CTL_DEL, number, &event)

    def close(self):
        """See `portable.ReadSet.close`."""
        self.readers = []
        if self.descriptor >= 0:
            close(self.descriptor)
            self.descriptor = -1

    def read(self, Py_ssize_t budget):
        """See `portable.ReadSet.read`."""
        cdef epoll_event events[EVENTS]
        cdef int i, ready
        cdef int64_t before
        cdef Reader reader
        cdef list batch = []
        cdef object sink = None
        while budget > 0:
            ready = epoll_wait(self.descriptor, events, EVENTS, 0)
            if ready <= 0:
                break
            for i in range(ready):
                if events[i].data.fd >= len(self.readers):
                    continue
                reader = <Reader>self.readers[events[i].data.fd]
                if reader is None:  # taken out since
                    continue
                if reader.sink is not sink:
                    if batch:
                        sink(batch)
                        batch = []
                        if events[i].data.fd >= len(self.readers) or self.readers[events[i].data.fd] is not reader:
                            sink = None
                            continue
                    sink = reader.sink
                before = reader.received
                reader.read_into(batch, budget // reader.coalesced + 1 if budget > 0 else 1)
                budget -= reader.received - before if reader.received > before else 1
                if reader.error is not None:
                    error = reader.error
                    reader.error = None
                    reader.failed(error)
        if batch:
            sink(batch)


cdef class PacketQueue:
    """See `portable.PacketQueue`. A ready item costs neither a coroutine nor a future."""

    cdef public Py_ssize_t capacity, fed
    cdef public bint paused
    cdef public object waiter
    cdef object batches
    cdef Py_ssize_t behind, index
    cdef list current
    cdef object __weakref__

    __class_getitem__ = classmethod(types.GenericAlias)

    def __init__(self, Py_ssize_t capacity):
        self.capacity = capacity
        self.batches = deque()
        self.current = []

    def __len__(self):
        return self.count()

    def __bool__(self):
        return True

    cdef inline Py_ssize_t count(self) noexcept:
        return self.behind + PyList_GET_SIZE(self.current) - self.index

    def feed(self, list batch not None):
        """See `portable.PacketQueue.feed`."""
        self.batches.append(batch)
        self.behind += PyList_GET_SIZE(batch)
        self.fed += PyList_GET_SIZE(batch)
        if self.waiter is not None:
            self._wake()
        if not self.paused and self.count() >= self.capacity:
            self.paused = True
            self._pause()

    def __anext__(self):
        cdef _Next awaitable
        if self.waiter is not None:
            raise _busy()
        if self.index >= PyList_GET_SIZE(self.current) and not self.next_batch():
            return self._wait()
        awaitable = _Next.__new__(_Next)
        awaitable.queue = self
        return awaitable

    def advance(self):
        """See `portable.PacketQueue.advance`."""
        return self.next_batch()

    cdef bint next_batch(self) except -1:
        if self.index >= PyList_GET_SIZE(self.current):
            self.index = 0
            if self.batches:
                self.current = self.batches.popleft()
                self.behind -= PyList_GET_SIZE(self.current)
            elif PyList_GET_SIZE(self.current):
                self.current = []
            self.relax()
        return self.index < PyList_GET_SIZE(self.current)

    def take(self):
        """See `portable.PacketQueue.take`."""
        return self.pop()

    cdef inline object pop(self):
        item = <object>PyList_GET_ITEM(self.current, self.index)
        self.index += 1
        if self.paused:
            self.relax()
        return item

    def take_batch(self):
        """See `portable.PacketQueue.take_batch`."""
        batch = self.current[self.index :] if self.index else self.current
        self.current = []
        self.index = 0
        self.relax()
        return batch

    def discard(self, refused):
        """See `portable.PacketQueue.discard`."""
        batches = [self.current[self.index :], *self.batches]
        gone = [item for batch in batches for item in batch if refused(item)]
        if gone:
            kept = [[item for item in batch if not refused(item)] for batch in batches]
            self.current = kept[0]
            self.index = 0
            self.batches = deque([batch for batch in kept[1:] if batch])
            self.behind = sum([len(batch) for batch in self.batches])
            self.relax()
        return gone

    def drop_oldest(self, Py_ssize_t count):
        """See `portable.PacketQueue.drop_oldest`."""
        gone = []
        while len(gone) < count and self.next_batch():
            part = self.current[self.index : self.index + count - len(gone)]
            self.index += len(part)
            gone += part
        self.relax()
        return gone

    cdef int relax(self) except -1:
        if self.paused and self.count() <= self.capacity // 2:
            self.paused = False
            self._resume()
        return 0

    def _wake(self):
        raise AssertionError("a queue that is waited for can wake")

    def _wait(self):
        raise AssertionError("a queue that is awaited can wait")

    def _pause(self):
        """Nothing stops by default."""

    def _resume(self):
        """Nothing stopped by default."""


cdef object _busy():
    return StateError("another task is waiting on this stream", "give each task its own: packets()")


@cython.final
@cython.no_gc
@cython.freelist(8)
cdef class _Next:
    """What `__anext__` returns when an item is ready: takes it when awaited, not before.

    Should it be gone by then (another task took it, or a swap dropped it), waits like a coroutine.
    """

    cdef PacketQueue queue
    cdef object inner

    def __await__(self):
        return self

    def __iter__(self):
        return self

    def __next__(self):
        if self.inner is None and self.ready():
            raise StopIteration(self.queue.pop())
        return self.wait().send(None)

    def send(self, value):
        """As a coroutine's."""
        return self.__next__()

    def throw(self, *error):
        """As a coroutine's: a cancelled wait ends properly."""
        if self.inner is not None:
            return self.inner.throw(*error)
        raise error[0]

    def close(self):
        """As a coroutine's."""
        if self.inner is not None:
            self.inner.close()

    cdef bint ready(self) except -1:
        cdef PacketQueue queue = self.queue
        if queue.waiter is not None:
            raise _busy()
        return queue.index < PyList_GET_SIZE(queue.current) or queue.next_batch()

    cdef object wait(self):
        if self.inner is None:
            self.inner = self.queue._wait()
        return self.inner


# PySendResult: PYGEN_RETURN 0, PYGEN_ERROR -1, PYGEN_NEXT 1
cdef PyObject *_step(_Next awaitable, int *outcome) except NULL:
    cdef object result
    if awaitable.inner is None and awaitable.ready():
        outcome[0] = 0
        result = awaitable.queue.pop()
    else:
        try:
            result = awaitable.wait().send(None)
            outcome[0] = 1
        except StopIteration as stop:
            result = stop.value
            outcome[0] = 0
    Py_INCREF(result)
    return <PyObject *>result

ctypedef PyObject *(*_raw_step)(_Next, int *) noexcept


cdef int _send(PyObject *awaitable, PyObject *value, PyObject **result) noexcept:
    cdef int outcome = -1
    result[0] = (<_raw_step>_step)(<_Next>awaitable, &outcome)
    return outcome if result[0] != NULL else -1


aiomcast_set_send(_Next, <void *>_send)
aiomcast_set_dealloc(Packet)
