# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: freethreading_compatible=True
"""The reading path in compiled code, for Linux: recvmmsg, epoll, and a queue that costs no coroutine.

`portable` says what each class promises; the tests hold both to one behaviour. One file, because
a read goes through all of it without a Python call in between.

Safe without the global interpreter lock: what a method reads and writes of its object it does in a
critical section of that object (nothing at all where there is the lock), and what all objects share, the
unused receive buffers, each thread has for itself. A thread that enters a section it is in already waits for
itself, some 10 us, until it has given up the outer one: so what `def` or `cpdef` declares enters, and what
`cdef` declares is called from inside, but where it says otherwise.
"""

import time
import types
import weakref
from collections import deque

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from cpython.tuple cimport PyTuple_GET_ITEM
from libc.errno cimport EAGAIN, EBADF, EINTR, ENOTSOCK, errno
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, memset

import os

from ..values.addresses import unpack
from ..errors import StateError
from ..values import bounds
from ..values.packets import Flow, Packet
from . import options
from .gate import Gate
from .queue_errors import busy, empty

cdef extern from *:
    """
    #ifndef _GNU_SOURCE
    #define _GNU_SOURCE
    #endif
    #include <netinet/in.h>
    #include <pthread.h>
    #include <sys/epoll.h>
    #include <sys/socket.h>
    #include <unistd.h>

    /* aiomcast_packet and aiomcast_packet_dealloc know tuples from within: each new Python has to be
       looked through for what changed in them. setup.py says the same. */
    #if PY_VERSION_HEX >= 0x03100000
    #error "aiomcast's compiled reader knows CPython up to 3.15"
    #endif

    #ifndef SO_TIMESTAMPNS_NEW
    #define SO_TIMESTAMPNS_NEW 64
    #endif
    #ifndef SO_RXQ_OVFL
    #define SO_RXQ_OVFL 40
    #endif
    #define AIOMCAST_TIMESTAMPNS_OLD 35
    #define AIOMCAST_TIMESTAMPING_OLD 37
    #define AIOMCAST_TIMESTAMPING_NEW 65
    #define AIOMCAST_IP_PKTINFO 8
    #define AIOMCAST_IPV6_PKTINFO 50
    #define AIOMCAST_SOL_UDP 17
    #define AIOMCAST_UDP_GRO 104

    /* A Packet is a tuple with a name: made the way tuple.__new__ makes one, without the
       argument tuple. It holds bytes, integers and a flow, none of which can refer back, so the
       cycle collector is never told of it. */
    static PyObject *aiomcast_packet(PyTypeObject *type, const char *start, Py_ssize_t length, PyObject *flow,
                                     PyObject *stamp, PyObject *cut, PyObject *hops, PyObject *traffic,
                                     PyObject *hardware)
    {
        PyObject *packet, *data = PyBytes_FromStringAndSize(start, length);
        if (data == NULL)
            return NULL;
        packet = (PyObject *)PyObject_GC_NewVar(PyTupleObject, type, 7);
        if (packet == NULL) {
            Py_DECREF(data);
            return NULL;
        }
        Py_INCREF(flow);
        Py_INCREF(stamp);
        Py_INCREF(cut);
        Py_INCREF(hops);
        Py_INCREF(traffic);
        Py_INCREF(hardware);
    #if PY_VERSION_HEX >= 0x030E0000
        ((PyTupleObject *)packet)->ob_hash = -1; /* not computed yet */
    #endif
        PyTuple_SET_ITEM(packet, 0, data);
        PyTuple_SET_ITEM(packet, 1, flow);
        PyTuple_SET_ITEM(packet, 2, stamp);
        PyTuple_SET_ITEM(packet, 3, cut);
        PyTuple_SET_ITEM(packet, 4, hops);
        PyTuple_SET_ITEM(packet, 5, traffic);
        PyTuple_SET_ITEM(packet, 6, hardware);
        return packet;
    }

    #ifdef Py_GIL_DISABLED
    /* Packets end as any other subclass's instances: whose references they held may be another thread's. */
    static void aiomcast_set_dealloc(PyTypeObject *type)
    {
    }

    #else
    static void aiomcast_packet_dealloc(PyObject *packet);

    /* The i-th item ends with the packet and may hold others in turn, as deep as somebody nested them:
       the trashcan keeps the stack short. (Python 3.14 does so by itself; its macros are empty.) The
       items behind are gone already: they must not be found when the packet comes out again. */
    __attribute__((cold, noinline)) static void aiomcast_packet_dealloc_nested(PyObject *packet, Py_ssize_t i)
    {
        PyTypeObject *type = Py_TYPE(packet);
        Py_ssize_t gone;
        for (gone = i + 1; gone < Py_SIZE(packet); gone++)
            PyTuple_SET_ITEM(packet, gone, NULL);
        Py_TRASHCAN_BEGIN(packet, aiomcast_packet_dealloc)
        for (; i >= 0; i--)
            Py_XDECREF(PyTuple_GET_ITEM(packet, i));
        type->tp_free(packet);
        Py_DECREF(type);
        Py_TRASHCAN_END
    }

    /* What subtype_dealloc comes to for a Packet, which has neither slots nor weak references nor a
       finalizer: without its search for them, and without telling the collector twice. */
    static void aiomcast_packet_dealloc(PyObject *packet)
    {
        PyTypeObject *type = Py_TYPE(packet);
        Py_ssize_t i;
        PyObject_GC_UnTrack(packet);
        for (i = Py_SIZE(packet); --i >= 0;) {
            PyObject *item = PyTuple_GET_ITEM(packet, i);
            if (item == NULL)
                continue;
            if (Py_REFCNT(item) == 1 && !PyBytes_CheckExact(item) && !PyLong_CheckExact(item))
                break;
            Py_DECREF(item);
        }
        if (i >= 0) { /* out of the loop: inside, the check would cost every packet 2 ns */
            aiomcast_packet_dealloc_nested(packet, i);
            return;
        }
        type->tp_free(packet);
        Py_DECREF(type);
    }

    static void aiomcast_set_dealloc(PyTypeObject *type)
    {
        type->tp_dealloc = aiomcast_packet_dealloc;
    }
    #endif

    /* The _Reading under way in this thread, which takes the futures of who is to go on at its end; NULL
       outside of one. */
    static __thread PyObject *aiomcast_under_way = NULL;

    /* `await` asks a type that has am_send for its value directly: no StopIteration is made. From Python
       3.12 on only a Task does, and `await` calls tp_iternext. */
    static void aiomcast_set_send(PyTypeObject *type, void *send, void *next)
    {
        type->tp_as_async->am_send = (sendfunc)send;
        type->tp_iternext = (iternextfunc)next;
    }

    /* Whether nobody but who asks has it, and nothing was noted in it. */
    static int aiomcast_serves_again(PyObject *stop)
    {
    #ifndef Py_GIL_DISABLED
        PyBaseExceptionObject *raised = (PyBaseExceptionObject *)stop;
        return Py_REFCNT(stop) == 1 && Py_REFCNT(raised->args) == 1 && raised->dict == NULL &&
               raised->traceback == NULL && raised->context == NULL && raised->cause == NULL;
    #else
        return 0; /* who else holds it is not easily told */
    #endif
    }

    /* Return StopIteration(value): `last`, which was raised before, where nobody else has it, else a new one. */
    static PyObject *aiomcast_stop(PyObject *last, PyObject *value)
    {
        PyObject *args, *before;
        if (last == Py_None || !aiomcast_serves_again(last))
            return PyObject_CallOneArg(PyExc_StopIteration, value);
        Py_INCREF(last); /* from here on somebody has it: what ends below may iterate too */
        args = ((PyBaseExceptionObject *)last)->args;
        before = PyTuple_GET_ITEM(args, 0);
        Py_INCREF(value);
        PyTuple_SET_ITEM(args, 0, value);
        Py_DECREF(before);
        before = ((PyStopIterationObject *)last)->value;
        Py_INCREF(value);
        ((PyStopIterationObject *)last)->value = value;
        Py_DECREF(before);
        return last;
    }

    /* Raise it as it is: a line of this module in its traceback would cost more than the rest of an `await`. */
    static void aiomcast_raise(PyObject *stop)
    {
    #if PY_VERSION_HEX >= 0x030C0000
        Py_INCREF(stop);
        PyErr_SetRaisedException(stop);
    #else
        PyErr_SetObject(PyExc_StopIteration, stop);
    #endif
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
    int getsockopt(int, int, int, void *, unsigned int *)
    int EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, EPOLLIN
    int SOL_SOCKET, IPPROTO_IP, IPPROTO_IPV6, IP_TTL, IP_TOS, IPV6_HOPLIMIT, IPV6_TCLASS
    int SO_TIMESTAMPNS_NEW, SO_RXQ_OVFL
    int AIOMCAST_TIMESTAMPNS_OLD, AIOMCAST_TIMESTAMPING_OLD, AIOMCAST_TIMESTAMPING_NEW
    int AIOMCAST_IP_PKTINFO, AIOMCAST_IPV6_PKTINFO, AIOMCAST_SOL_UDP, AIOMCAST_UDP_GRO
    int MSG_TRUNC, MSG_DONTWAIT, AF_INET, AF_INET6
    object aiomcast_packet(type, const char *, Py_ssize_t, object, object, object, object, object, object)
    void aiomcast_set_send(type, void *, void *)
    object aiomcast_stop(PyObject *, PyObject *)
    void aiomcast_raise(object)
    void aiomcast_set_dealloc(type)
    PyObject *aiomcast_under_way

cdef extern from *:
    int PyIter_Send(object, object, PyObject **) except -1  # 1: given, 0: returned

cdef extern from "<pthread.h>":
    ctypedef unsigned int pthread_key_t
    int pthread_key_create(pthread_key_t *, void (*)(void *) noexcept nogil) nogil
    int pthread_setspecific(pthread_key_t, const void *) nogil
    void *pthread_getspecific(pthread_key_t) nogil

cdef extern from "<poll.h>":
    struct pollfd:
        int fd
        short events
        short revents
    int poll(pollfd *, unsigned long, int)
    short POLLIN

cdef extern from "<time.h>":
    struct timespec:
        int64_t tv_sec
        long tv_nsec
    int CLOCK_REALTIME
    int clock_gettime(int, timespec *)

cdef enum:
    MESSAGES = 64          # datagrams per system call, and per socket before the next has its turn
    MAX_DATAGRAM = 65535
    CONTROL_ROOM = 256
    NAME_ROOM = 32         # sockaddr_in6 has 28
    # Not a power of two: buffers 64 KiB apart would all fight for the same lines of the caches.
    STRIDE = 65536 + 448
    EVENTS = 16            # ready sockets asked for at a time: all of them are read before the next


cdef struct Buffers:
    # What one system call fills.
    mmsghdr messages[MESSAGES]
    iovec vectors[MESSAGES]
    char names[MESSAGES * NAME_ROOM]
    char controls[MESSAGES * CONTROL_ROOM]
    char *data
    int used        # messages that the last call may have written to
    size_t size     # of each datagram's room
    Buffers *next

# Where a thread has its sets of buffers that no read is in, until it ends. Python code runs between the
# system call and the last packet made, so a read out of a signal handler may begin meanwhile: each read takes
# a set for itself and puts it back. There are as many as reads were ever under way in the thread at a time.
cdef pthread_key_t unused
if pthread_key_create(&unused, _free_all) != 0:
    raise MemoryError("the system has no more room for what belongs to a thread")

cdef type packet_type = Packet
cdef object gate_type = Gate


cdef void _free(Buffers *buffers) noexcept nogil:
    free(buffers.data)
    free(buffers)


cdef void _free_all(void *first) noexcept nogil:
    """Free the sets of a thread that ends."""
    cdef Buffers *following
    cdef Buffers *buffers = <Buffers *>first
    while buffers != NULL:
        following = buffers.next
        _free(buffers)
        buffers = following


cdef Buffers *_borrow_buffers() except NULL:
    cdef int i
    cdef Buffers *borrowed = <Buffers *>pthread_getspecific(unused)
    if borrowed != NULL:
        pthread_setspecific(unused, borrowed.next)
        return borrowed
    borrowed = <Buffers *>calloc(1, sizeof(Buffers))
    if borrowed == NULL:
        raise MemoryError("no memory for the receive buffers")
    borrowed.data = <char *>calloc(MESSAGES, STRIDE)  # pages that no datagram reaches stay untouched
    if borrowed.data == NULL:
        _free(borrowed)
        raise MemoryError("no memory for the receive buffers")
    borrowed.used = MESSAGES
    for i in range(MESSAGES):
        borrowed.vectors[i].iov_base = borrowed.data + i * <size_t>STRIDE
        borrowed.messages[i].msg_hdr.msg_iov = &borrowed.vectors[i]
        borrowed.messages[i].msg_hdr.msg_iovlen = 1
        borrowed.messages[i].msg_hdr.msg_name = borrowed.names + i * NAME_ROOM
        borrowed.messages[i].msg_hdr.msg_control = borrowed.controls + i * CONTROL_ROOM
    return borrowed


cdef void _prepare(Buffers *buffers, size_t size) noexcept:
    """Make all of it ready for the next call: what the last one has not touched is."""
    cdef msghdr *header
    cdef int i
    for i in range(buffers.used):
        header = &buffers.messages[i].msg_hdr
        header.msg_namelen = NAME_ROOM
        header.msg_controllen = CONTROL_ROOM
    buffers.used = 0
    if buffers.size != size:
        buffers.size = size
        for i in range(MESSAGES):
            buffers.vectors[i].iov_len = size


cdef void _give_back(Buffers *borrowed) noexcept:
    borrowed.next = <Buffers *>pthread_getspecific(unused)
    if pthread_setspecific(unused, borrowed) != 0:
        _free(borrowed)  # there is no memory to remember it in


cdef bint _is_readable(int descriptor) noexcept:
    cdef pollfd asked
    asked.fd = descriptor
    asked.events = POLLIN
    asked.revents = 0
    return poll(&asked, 1, 0) > 0


cdef int64_t _now() noexcept:
    cdef timespec now
    clock_gettime(CLOCK_REALTIME, &now)
    return <int64_t>now.tv_sec * 1000000000 + now.tv_nsec


cdef struct Tags:
    int64_t stamp       # nanoseconds, -1 unknown
    int64_t hardware    # nanoseconds of the interface's clock, 0 unknown
    int64_t dropped     # SO_RXQ_OVFL, -1 absent
    int hops            # -1 unknown
    int place           # index of the interface it came in on, -1 unknown
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
    cdef int64_t time[6]
    cdef int32_t short_time[2]
    cdef uint32_t count
    cdef int size
    tags.stamp = tags.dropped = tags.hops = tags.traffic = tags.place = -1
    tags.hardware = tags.segment = 0
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
            elif (
                entry.cmsg_type == AIOMCAST_TIMESTAMPNS_OLD and length == 8 == 2 * sizeof(long)
                and entry.cmsg_len == CMSG_LEN(8)  # not one that was cut short
            ):
                memcpy(short_time, data, 8)
                tags.stamp = <int64_t>short_time[0] * 1000000000 + short_time[1]
            elif entry.cmsg_type == SO_RXQ_OVFL and length == 4:
                memcpy(&count, data, 4)
                tags.dropped = count
            elif (
                entry.cmsg_type == AIOMCAST_TIMESTAMPING_OLD or entry.cmsg_type == AIOMCAST_TIMESTAMPING_NEW
            ) and length == 48:  # struct scm_timestamping: the third is the interface's
                memcpy(time, data, 48)
                tags.hardware = <int64_t>(<uint64_t>time[4] * 1000000000 + <uint64_t>time[5])
        elif length == 0:
            pass
        elif entry.cmsg_level == IPPROTO_IP:
            if entry.cmsg_type == IP_TTL:
                tags.hops = _octet(data, length)
            elif entry.cmsg_type == IP_TOS:
                tags.traffic = _octet(data, length)
            elif entry.cmsg_type == AIOMCAST_IP_PKTINFO and length >= 4:  # struct in_pktinfo
                memcpy(&tags.place, data, 4)
        elif entry.cmsg_level == IPPROTO_IPV6:
            if entry.cmsg_type == IPV6_HOPLIMIT:
                tags.hops = _octet(data, length)
            elif entry.cmsg_type == IPV6_TCLASS:
                tags.traffic = _octet(data, length)
            elif entry.cmsg_type == AIOMCAST_IPV6_PKTINFO and length >= 20:  # struct in6_pktinfo
                memcpy(&tags.place, data + 16, 4)
        elif entry.cmsg_level == AIOMCAST_SOL_UDP and entry.cmsg_type == AIOMCAST_UDP_GRO and length >= 4:
            memcpy(&size, data, 4)
            tags.segment = size if size > 0 else 1
        entry = CMSG_NXTHDR(header, entry)


def parse_control(bytes control not None):
    """Return (stamp, dropped, hops, traffic, segment, hardware) of raw control messages: for tests."""
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
        return tags.stamp, tags.dropped, tags.hops, tags.traffic, tags.segment, tags.hardware
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
    cdef object fileno  # of the socket
    cdef public object failed, lost, error, lanes, place
    cdef object taker      # of the packets
    cdef PacketPush push   # whose that is, where it is one's
    cdef object alone, alone_flow  # a payload between the read and its being taken, and who sent it
    cdef readonly object coalesces
    cdef readonly int64_t received, octets, filtered, truncated, kernel_drops
    cdef public int64_t unmade, told_drops
    cdef public int failures
    cdef public bint rests, is_retired
    cdef readonly bint dry
    cdef readonly int descriptor
    cdef bint is_read  # by the read set it has a place in
    cdef uint32_t dropped
    cdef int meminfo  # the option that tells of drops and of the buffer, below 0 where there is none
    cdef int64_t latest  # nanoseconds, -1 before the first stamp
    cdef size_t size
    cdef int64_t coalesced  # packets per datagram in the last read: what one more will bring
    cdef Py_ssize_t flow_limit
    cdef long epoch
    cdef bint timed, v6, stamped
    cdef dict known
    cdef _Known last
    cdef uint8_t last_key[18]
    cdef object __weakref__

    def __cinit__(self):
        self.descriptor = -1
        self.known = {}
        self.coalesced = 1
        self.latest = -1
        self.dry = True

    @cython.critical_section
    def __init__(self, sock, source_filter, *, ancillary=(), gro=None, size=MAX_DATAGRAM, flow_limit=bounds.FLOWS_PER_SOCKET):
        if self.sock is not None:
            raise StateError("a reader is made once", "make a new one for another socket")
        if not 0 < size <= MAX_DATAGRAM:
            raise ValueError("size is from 1 to 65535")
        _give_back(_borrow_buffers())  # now rather than in the middle of a read
        self.gate = gate_type(source_filter)
        self.taker = _nowhere
        self.failed = _unheard
        self.lost = _unnoticed
        granted = options.ask(sock, ancillary, gro)
        self.coalesces = granted.coalesces
        self.stamped = not granted.stamps
        self.dropped = options.drops_and_buffer(sock)[0] or 0
        self.meminfo = -1 if options.ABI.SO_MEMINFO is None else options.ABI.SO_MEMINFO
        self.descriptor = sock.fileno()
        self.v6 = sock.family == AF_INET6
        self.size = size
        self.flow_limit = flow_limit
        self.fileno = sock.fileno
        self.sock = sock

    @cython.critical_section
    def set_filter(self, wanted, until_ns=None):
        """See `portable.Reader.set_filter`."""
        self.gate.change(wanted, until_ns, 0 if until_ns is None else time.monotonic_ns())
        self.renew()

    @cython.critical_section
    def judge_anew(self):
        """See `portable.Reader.judge_anew`."""
        self.renew()

    cdef int renew(self) except -1:
        self.timed = self.gate.timed
        self.epoch += 1
        return 0

    @cython.critical_section
    def deliver_until(self, until_ns):
        """See `portable.Reader.deliver_until`."""
        self.gate.end(until_ns)
        self.renew()

    @cython.critical_section
    def deliver_since(self, begun_ns, since_ns, elsewhere):
        """See `portable.Reader.deliver_since`."""
        self.gate.begin(begun_ns, since_ns, elsewhere)
        self.renew()

    @cython.critical_section
    def read(self, Py_ssize_t limit):
        """See `portable.Reader.read`."""
        cdef list packets = []
        cdef int64_t received = 0
        while limit > 0:
            limit -= self.read_into(packets, limit, &received, False)
            if self.dry or self.error is not None:
                break
        return packets, received

    @property
    @cython.critical_section
    def sink(self):
        """See `portable.Reader`."""
        return self.taker

    @sink.setter
    @cython.critical_section
    def sink(self, taker):
        self.taker = taker
        owner = getattr(taker, "__self__", None)
        is_push = isinstance(owner, PacketPush) and getattr(taker, "__func__", None) is _push_packets
        self.push = owner if is_push else None

    @property
    @cython.critical_section
    def latest_ns(self):
        """See `portable.Reader.latest_ns`."""
        return self.latest if self.latest >= 0 else None

    @cython.critical_section
    def look(self):
        """See `portable.Reader.look`."""
        if self.timed and not _is_readable(self.descriptor):
            self.found_dry()

    @cython.critical_section
    def close(self):
        """See `portable.Reader.close`."""
        if self.sock is not None:
            self.sock.close()

    @cython.critical_section
    def count_drops(self):
        """See `portable.Reader.count_drops`."""
        cdef uint32_t told[9]  # linux/sock_diag.h: SK_MEMINFO_*
        cdef unsigned int size = sizeof(told)
        if (
            self.meminfo >= 0
            and self.sock.fileno() == self.descriptor
            and getsockopt(self.descriptor, SOL_SOCKET, self.meminfo, told, &size) == 0
            and size == sizeof(told)
        ):
            self.drops_are(told[8])
            buffer = told[1]
        else:
            total, buffer = options.drops_and_buffer(self.sock)
            if total is not None:
                self.drops_are(<uint32_t>total)
        self.tell()
        return buffer

    @cython.critical_section
    def tell_drops(self):
        """See `portable.Reader.tell_drops`."""
        self.tell()

    cdef int tell(self) except -1:
        cdef int64_t more = self.kernel_drops - self.told_drops
        if more:
            self.told_drops = self.kernel_drops
            self.lost(more)
        return 0

    cdef Py_ssize_t read_into(self, list packets, Py_ssize_t limit, int64_t *taken, bint is_plain) except -1:
        """Append what one system call gives; return how many messages, and add to `taken` how many datagrams.

        It counts what it has read itself: another thread, or who is called meanwhile, may read too. With
        `is_plain` one that comes alone is made no packet: its payload and flow are left in `alone`, for the
        caller to take.
        """
        cdef int got, i, count = MESSAGES if limit > MESSAGES else <int>limit
        cdef int64_t received = 0, filtered = 0, begun = 0
        cdef Py_ssize_t made = PyList_GET_SIZE(packets)
        cdef Buffers *buffers
        cdef Tags tags
        cdef _Known sender
        cdef bint is_alone = False
        self.dry = True
        if self.sock is None or <int>self.fileno() != self.descriptor:
            self.error = OSError(EBADF, os.strerror(EBADF))
            return 0  # closed under our feet: the number may be another's by now
        if not self.stamped:  # see portable: what came before the kernel stamped is told by its stamp
            if not _is_readable(self.descriptor):
                if self.timed:
                    self.found_dry()
                return 0
            begun = _now()
            count = 1
        buffers = _borrow_buffers()
        try:
            _prepare(buffers, self.size)
            got = recvmmsg(self.descriptor, buffers.messages, count, MSG_DONTWAIT, NULL)
            buffers.used = got + 1 if 0 <= got < MESSAGES else MESSAGES
            if got < 0:
                if errno != EAGAIN and errno != EINTR:
                    self.error = OSError(errno, os.strerror(errno))
                    if self.error.errno == EBADF or self.error.errno == ENOTSOCK:
                        self.sock.abandon()
                got = 0
            self.dry = got < count
            i = 0
            while i < got:
                try:
                    while i < got:
                        _parse(&buffers.messages[i].msg_hdr, &tags)
                        if not self.stamped and tags.stamp >= 0:
                            if tags.stamp > begun:
                                tags.stamp = -1
                            else:
                                self.stamped = True
                        i += 1
                        sender = self.judge(&buffers.messages[i - 1], &tags, &received, &filtered)
                        if sender is None:
                            continue
                        if is_plain and got == 1 and tags.segment == 0:
                            self.alone = PyBytes_FromStringAndSize(buffers.data, buffers.messages[0].msg_len)
                            self.alone_flow = sender.flow
                            is_alone = True
                            if tags.stamp >= 0:
                                self.latest = tags.stamp
                        else:
                            self.make_packets(packets, &buffers.messages[i - 1], &tags, sender.flow)
                except BaseException as error:
                    self.error = error
        finally:
            _give_back(buffers)
        taken[0] += received
        if got:
            self.coalesced = received // got
            self.unmade += received - filtered - (PyList_GET_SIZE(packets) - made) - is_alone
            if PyList_GET_SIZE(packets) > made:
                stamp = (<tuple>PyList_GET_ITEM(packets, PyList_GET_SIZE(packets) - 1))[2]
                if stamp is not None:
                    self.latest = stamp
        if self.timed and self.dry:
            self.found_dry()
        return got

    cdef int found_dry(self) except -1:
        self.gate.emptied(time.monotonic_ns())
        self.timed = self.gate.timed
        return 0

    cdef _Known judge(self, mmsghdr *message, Tags *tags, int64_t *received, int64_t *filtered):
        """Count a message, in `received` and `filtered` too; return who sent it, None where he is refused."""
        cdef Py_ssize_t length = message.msg_len
        cdef Py_ssize_t count = 1
        cdef bint allowed
        cdef _Known sender
        if tags.dropped >= 0:
            self.drops_are(<uint32_t>tags.dropped)
        self.octets += length
        if 0 < tags.segment < length:
            count = (length + tags.segment - 1) // tags.segment
        else:
            tags.segment = 0
        self.received += count
        received[0] += count
        sender = self.sender(<uint8_t *>message.msg_hdr.msg_name)
        allowed = sender.allowed
        if self.timed:
            allowed = self.gate.allows(sender.flow.source, None if tags.stamp < 0 else tags.stamp)
            self.timed = self.gate.timed
        if allowed and tags.place >= 0:  # asked for where the kernel keeps nothing out
            allowed = tags.place == <int>self.sock.interface.index
        if not allowed:
            self.filtered += count
            filtered[0] += count
            return None
        if message.msg_hdr.msg_flags & MSG_TRUNC:
            self.truncated += 1
        return sender

    cdef int make_packets(self, list packets, mmsghdr *message, Tags *tags, flow) except -1:
        """Make the packets of a message that was judged: one, or those that the kernel has coalesced."""
        cdef Py_ssize_t length = message.msg_len
        cdef Py_ssize_t start = 0, part
        cdef char *data = <char *>message.msg_hdr.msg_iov.iov_base
        cdef object hops = None, traffic = None, stamp = None, hardware = None
        cdef object cut = (message.msg_hdr.msg_flags & MSG_TRUNC) != 0
        if tags.stamp >= 0:
            stamp = tags.stamp
        if tags.hops >= 0:
            hops = tags.hops
        if tags.traffic >= 0:
            traffic = tags.traffic
        if tags.hardware:
            hardware = tags.hardware
        while True:
            part = length - start
            if 0 < tags.segment < part:
                part = tags.segment
            packets.append(
                aiomcast_packet(packet_type, data + start, part, flow, stamp, cut, hops, traffic, hardware)
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


def _unnoticed(more):
    """Nobody wants to know of drops by default."""


cdef class ReadSet:
    """See `portable.ReadSet`. The descriptor is an epoll set, which itself can be polled."""

    cdef int descriptor
    cdef list places  # readers by descriptor; None where there is none
    cdef dict holding
    cdef Reader alone  # the only one that is read, once it has been looked for
    cdef bint is_looked_for
    cdef long turn
    cdef readonly list failing
    cdef list stale  # descriptors that may be watched still
    cdef bint is_stopped
    cdef object __weakref__

    def __cinit__(self):
        self.places = []
        self.stale = []
        self.holding = {}
        self.failing = []
        self.descriptor = epoll_create1(EPOLL_CLOEXEC)
        if self.descriptor < 0:
            raise OSError(errno, os.strerror(errno))

    def __dealloc__(self):
        if self.descriptor >= 0:
            close(self.descriptor)
        if self.stale is not None:
            for number in self.stale:
                close(<int>number)

    @cython.critical_section
    def fileno(self):
        """See `portable.ReadSet.fileno`."""
        return self.descriptor

    def waited_for(self):
        """See `portable.ReadSet.waited_for`: there is the one for all of them, until it is closed."""
        return []

    @property
    @cython.critical_section
    def is_pending(self):
        """See `portable.ReadSet.is_pending`."""
        return any([len(lanes) and self.any_read_of(lanes) is not None for lanes in self.holding])

    cdef Reader at(self, int number):
        if 0 <= number < PyList_GET_SIZE(self.places):
            return <Reader>self.places[number]
        return None

    cdef Reader only_one(self):
        """Return the one reader that is read; None where there is none, or another, or it has lanes."""
        cdef Reader reader, found = None
        if not self.is_looked_for:
            self.is_looked_for = True
            self.alone = None
            for reader in self.places:
                if reader is not None and reader.is_read:
                    if found is not None:
                        return None
                    found = reader
            self.alone = found
        found = self.alone
        return found if found is not None and found.lanes is None and not found.rests else None

    cdef int control(self, int operation, int number, int events) except -1:
        cdef epoll_event event
        memset(&event, 0, sizeof(event))
        event.events = events
        event.data.fd = number
        if epoll_ctl(self.descriptor, operation, number, &event) < 0:
            raise OSError(errno, os.strerror(errno))
        return 0

    @cython.critical_section
    def reserve(self, Reader reader):
        """See `portable.ReadSet.reserve`."""
        self.give_place(reader)

    cdef int give_place(self, Reader reader) except -1:
        cdef int number = reader.descriptor if reader is not None else -1
        if number < 0 or reader.sock.fileno() != number:
            raise OSError(EBADF, os.strerror(EBADF))
        known = self.at(number)
        if known is reader:
            return 0
        if known is not None:
            self.take_place(known)
        while len(self.places) <= number:
            self.places.append(None)
        self.control(EPOLL_CTL_ADD, number, 0)
        self.is_looked_for = reader.is_read = False
        self.places[number] = reader
        return 0

    @cython.critical_section
    def add(self, Reader reader not None):
        """See `portable.ReadSet.add`."""
        if reader.lanes is not None and len(reader.lanes):
            self.holding[reader.lanes] = None
        if self.at(reader.descriptor) is reader and reader.is_read:
            return
        self.give_place(reader)
        self.control(EPOLL_CTL_MOD, reader.descriptor, EPOLLIN)
        reader.is_read = True
        self.is_looked_for = reader.rests = False

    @cython.critical_section
    def discard(self, Reader reader not None):
        """See `portable.ReadSet.discard`."""
        if self.at(reader.descriptor) is reader and reader.is_read:
            self.is_looked_for = reader.is_read = False
            try:
                self.control(EPOLL_CTL_MOD, reader.descriptor, 0)
            except OSError:
                pass  # somebody has closed it

    @cython.critical_section
    def forget(self, Reader reader):
        """See `portable.ReadSet.forget`."""
        if reader is not None and self.at(reader.descriptor) is reader:
            self.take_place(reader)

    cdef int take_place(self, Reader reader) except -1:
        self.is_looked_for = reader.is_read = False
        self.places[reader.descriptor] = None
        try:
            self.control(EPOLL_CTL_DEL, reader.descriptor, 0)
        except OSError:
            self.renew()
        return 0

    cdef int renew(self) except -1:
        """Make a new set where the old one tells of a descriptor that cannot be removed."""
        cdef int new = epoll_create1(EPOLL_CLOEXEC), number
        cdef Reader reader
        if new < 0:
            return 0
        self.stale.append(self.descriptor)
        self.descriptor = new
        for number in range(len(self.places)):
            reader = self.at(number)
            if reader is not None:
                try:
                    self.control(EPOLL_CTL_ADD, number, EPOLLIN if reader.is_read else 0)
                except OSError:
                    self.places[number] = None
                    self.is_looked_for = reader.is_read = False
        return 0

    @cython.critical_section
    def close(self):
        """See `portable.ReadSet.close`."""
        for reader in self.places:
            if reader is not None:
                (<Reader>reader).is_read = False
        self.alone = None
        self.places = []
        self.holding = {}
        if self.descriptor >= 0:
            close(self.descriptor)
            self.descriptor = -1
        self.close_stale()

    def stop(self):
        """See `portable.ReadSet.stop`."""
        self.is_stopped = True

    def reading(self, Py_ssize_t budget, after, bint is_held):
        """See `portable.ReadSet.reading`."""
        cdef _Reading made = _Reading.__new__(_Reading)
        made.held = self if is_held else None
        made.reference = weakref.ref(self)
        made.budget = budget
        made.after = after
        return made

    @cython.critical_section
    def renewed(self):
        """See `portable.ReadSet.renewed`."""
        self.close_stale()

    cdef int close_stale(self) except -1:
        for number in self.stale:
            close(<int>number)
        self.stale = []
        return 0

    @cython.critical_section
    cpdef read(self, Py_ssize_t budget):
        """See `portable.ReadSet.read`."""
        cdef epoll_event events[EVENTS]
        cdef int i, ready
        cdef int64_t taken
        cdef Py_ssize_t spent
        cdef bint is_more, is_troubled
        cdef Reader reader, last = None
        cdef PacketPush push
        cdef list batch = []
        cdef object sink = None, alone, flow
        self.begin()
        while budget > 0 and self.descriptor >= 0 and not self.is_stopped:
            self.turn += 1
            reader = self.only_one()
            if reader is not None and not self.holding:  # the reading says whether it is readable
                events[0].data.fd = reader.descriptor
                ready = 1
            else:
                ready = epoll_wait(self.descriptor, events, EVENTS, 0)
            is_more = ready == EVENTS
            for i in range(ready):
                reader = self.at(events[i].data.fd)
                if reader is None or reader.rests or not reader.is_read:  # removed since, or failing
                    continue
                with cython.critical_section(reader):
                    taker, lanes, push = reader.taker, reader.lanes, reader.push
                if batch and (lanes is not None or taker is not sink):
                    self.hand_on(batch, sink, last)
                    batch = []
                    if self.at(events[i].data.fd) is not reader or not reader.is_read:
                        continue
                if lanes is not None:
                    spent = self.visit(lanes, reader, budget)
                    is_more |= spent > 0
                    budget -= spent
                    continue
                last, sink = reader, taker
                if push is not None and (PyList_GET_SIZE(batch) or not push.is_straight()):
                    push = None  # it goes on behind what came before
                taken = 0
                with cython.critical_section(reader):
                    reader.read_into(
                        batch, budget // reader.coalesced + 1 if budget > 0 else 1, &taken, push is not None
                    )
                    alone, flow, reader.alone = reader.alone, reader.alone_flow, None
                    is_more |= not reader.dry
                    is_troubled = reader.error is not None or reader.kernel_drops != reader.told_drops
                    if reader.failures and reader.error is None:
                        reader.failures = 0
                budget -= taken if taken > 0 else 1
                if alone is not None:
                    self.hand_straight(push, alone, flow, reader)
                if is_troubled:
                    self.hand_on(batch, sink, reader)
                    batch = []
                    with cython.critical_section(reader):
                        if reader.error is not None:
                            self.report(reader)
                        reader.tell()
            if self.holding:
                self.hand_on(batch, sink, last)
                batch = []
                for lanes in list(self.holding):
                    if not len(lanes):  # handed over elsewhere
                        del self.holding[lanes]
                        continue
                    reader = self.any_read_of(lanes)
                    if reader is not None and budget > 0:
                        spent = self.visit(lanes, reader, budget)
                        is_more |= spent > 0
                        budget -= spent
            if not is_more:
                break
        self.hand_on(batch, sink, last)

    cdef int begin(self) except -1:
        cdef Reader reader
        if self.failing:
            for reader, _ in self.failing:
                if reader.failures == 1:
                    reader.rests = False
            self.failing = []
        return 0

    cdef Py_ssize_t visit(self, lanes, Reader reader, Py_ssize_t budget) except -1:
        """Read sockets that belong together, once a turn; return how many datagrams that took, 0 if not."""
        if lanes.turn == self.turn:
            return 0
        lanes.turn = self.turn
        packets, spent = lanes.read(budget if budget < MESSAGES else MESSAGES)
        if len(lanes):
            self.holding[lanes] = None
        else:
            self.holding.pop(lanes, None)
        readers = lanes.readers
        self.hand_on(packets, reader.sink, reader)
        for one in readers:
            reader = <Reader?>one
            with cython.critical_section(reader):
                if reader.error is not None:
                    self.report(reader)
                elif not reader.rests:
                    reader.failures = 0
                reader.tell()
        return spent if spent > 0 else 1

    cdef Reader any_read_of(self, lanes):
        cdef Reader reader
        for reader in lanes.readers:
            if reader.is_read:
                return reader
        return None

    cdef int hand_on(self, list batch, sink, Reader reader) except -1:
        """Hand it to the sink that its last reader had when it was read. In no reader's section."""
        if batch:
            try:
                sink(batch)
            except BaseException:
                with cython.critical_section(reader):
                    reader.unmade += PyList_GET_SIZE(batch)
                raise
        return 0

    cdef int hand_straight(self, PacketPush push, alone, flow, Reader reader) except -1:
        """Hand on a payload that came alone. In no reader's section."""
        try:
            push.hand_payload(alone, flow)
        except BaseException:
            with cython.critical_section(reader):
                reader.unmade += 1
            raise
        return 0

    cdef int report(self, Reader reader) except -1:
        """Tell of an error, once; what is none of the socket's is raised. In the reader's section."""
        error = reader.error
        reader.error = None
        if not isinstance(error, OSError):
            raise error
        reader.rests = True
        reader.failures += 1
        self.failing.append((reader, error))
        if reader.failures == 1:
            reader.failed(error)
        return 0


@cython.final
cdef class _Reading:
    """What `ReadSet.reading` returns. No Python runs between the event loop and the read.

    Who waits for what was read goes on at its end, here and now: as the event loop would have him go on in
    its next turn, but that the loop would look at all descriptors before.
    """

    cdef ReadSet held
    cdef object reference
    cdef Py_ssize_t budget
    cdef object after
    cdef list woken  # futures, None as long as there is none

    def __call__(self):
        cdef ReadSet reads = self.held
        cdef list woken
        cdef PyObject *before = aiomcast_under_way
        global aiomcast_under_way
        if reads is None:
            reads = self.reference()
            if reads is None:
                return
        aiomcast_under_way = <PyObject *>self
        try:
            reads.read(self.budget)
        except BaseException:
            aiomcast_under_way = before
            woken = self.take()
            for waiter in woken or ():
                if not waiter.done():
                    waiter.set_result(None)
            self.after()
            raise
        aiomcast_under_way = before
        if (reads.failing or reads.holding) and not reads.is_stopped:
            self.after()
        woken = self.take()
        if woken is not None:
            _go_on(woken)

    @cython.critical_section
    cdef list take(self):
        cdef list woken = self.woken
        self.woken = None
        return woken

    @cython.critical_section
    cdef int wake(self, waiter) except -1:
        if self.woken is None:
            self.woken = [waiter]
        else:
            self.woken.append(waiter)
        return 0


cdef int _go_on(list woken) except -1:
    """Have the tasks that wait for these futures take their next step, in this order."""
    for waiter in woken:
        if waiter.done():  # cancelled meanwhile, or woken by what one before has done
            continue
        called = getattr(waiter, "_callbacks", None)  # the future's own, of which there is no public way to know
        if called is None or len(called) != 1:
            waiter.set_result(None)
            continue
        call, context = called[0]
        waiter.remove_done_callback(call)
        waiter.set_result(None)
        try:
            context.run(call, waiter)
        except BaseException as error:  # what ends the program: out of the loop itself, not out of this read
            waiter.get_loop().call_soon(_raise, error, None, None)
    return 0


@cython.final
cdef class _Taker:
    """What `PacketQueue._taker` returns."""

    cdef object reference, lost

    def __call__(self, list batch not None):
        cdef PacketQueue queue = self.reference()
        if queue is None or queue._is_gone:
            self.lost(batch)
        else:
            queue.feed(batch)


cdef class PacketQueue:
    """See `portable.PacketQueue`. A ready item costs neither a coroutine nor a future."""

    cdef readonly Py_ssize_t capacity
    cdef public Py_ssize_t _fed
    cdef public bint _paused, _is_gone, _waits_by_future
    cdef public object _waiter
    cdef object batches
    cdef object stop  # the StopIteration that was raised last, until nothing is ready
    cdef Py_ssize_t behind, index
    cdef list current
    cdef object __weakref__

    __class_getitem__ = classmethod(types.GenericAlias)

    def __cinit__(self):
        self.batches = deque()
        self.current = []

    def __init__(self, Py_ssize_t capacity):
        self.capacity = capacity

    @cython.critical_section
    def __len__(self):
        return self.count()

    def __bool__(self):
        return True

    cdef inline Py_ssize_t count(self) noexcept:
        return self.behind + PyList_GET_SIZE(self.current) - self.index

    def _feed(self, list batch not None):
        """See `portable.PacketQueue._feed`."""
        self.feed(batch)

    def _taker(self, lost):
        """See `portable.PacketQueue._taker`."""
        cdef _Taker made = _Taker.__new__(_Taker)
        made.reference = weakref.ref(self)
        made.lost = lost
        return made

    @cython.critical_section
    cdef int feed(self, list batch) except -1:
        self.batches.append(batch)
        self.behind += PyList_GET_SIZE(batch)
        self._fed += PyList_GET_SIZE(batch)
        if self._waiter is not None:
            if self._waits_by_future and aiomcast_under_way != NULL:
                (<_Reading>aiomcast_under_way).wake(self._waiter)
            else:
                self._wake()
        if not self._paused and self.count() >= self.capacity:
            self._paused = True
            self._pause()
        return 0

    @cython.critical_section
    def __anext__(self):
        cdef _Next awaitable
        if self._waiter is not None:
            raise busy()
        if self.index >= PyList_GET_SIZE(self.current) and not self.next_batch():
            return _Wait(self, False)
        awaitable = _Next.__new__(_Next)
        awaitable.queue = self
        return awaitable

    def _next_list(self):
        """See `portable.PacketQueue._next_list`."""
        return _Wait(self, True)

    @cython.critical_section
    def _advance(self):
        """See `portable.PacketQueue._advance`."""
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

    @cython.critical_section
    def _take(self):
        """See `portable.PacketQueue._take`."""
        return self.pop()

    cdef inline bint is_ready(self) except -1:
        if self._waiter is not None:
            raise busy()
        return self.index < PyList_GET_SIZE(self.current) or self.next_batch()

    cdef inline object pop(self):
        if self.index >= PyList_GET_SIZE(self.current):
            raise empty()
        item = <object>PyList_GET_ITEM(self.current, self.index)
        self.index += 1
        if self._paused:
            self.relax()
        return item

    @cython.critical_section
    def _take_batch(self):
        """See `portable.PacketQueue._take_batch`."""
        return self.take_batch()

    cdef list take_batch(self):
        cdef list batch = self.current[self.index :] if self.index else self.current
        self.current = []
        self.index = 0
        self.relax()
        return batch

    @cython.critical_section
    def _discard(self, refused):
        """See `portable.PacketQueue._discard`."""
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

    @cython.critical_section
    def _drop_oldest(self, Py_ssize_t count):
        """See `portable.PacketQueue._drop_oldest`."""
        gone = []
        while len(gone) < count and self.next_batch():
            part = self.current[self.index : self.index + count - len(gone)]
            self.index += len(part)
            gone += part
        self.relax()
        return gone

    cdef int relax(self) except -1:
        if self._paused and self.count() <= self.capacity // 2:
            self._paused = False
            self._resume()
        return 0

    def _wake(self):
        raise AssertionError("a queue that is waited for can wake")

    def _begin_waiting(self):
        raise AssertionError("a queue that is awaited can wait")

    def _pause(self):
        """Nothing stops by default."""

    def _resume(self):
        """Nothing stopped by default."""


def take_queued(queues, dict into not None):
    """See `portable.take_queued`."""
    cdef Py_ssize_t longest = 0
    cdef PacketQueue queue
    cdef list batch
    for place, one in queues.items():
        queue = <PacketQueue?>one
        with cython.critical_section(queue):
            batch = queue.take_batch() if queue.next_batch() else None
        if batch is not None:
            into[place] = batch
            if PyList_GET_SIZE(batch) > longest:
                longest = PyList_GET_SIZE(batch)
    return longest


cdef class PacketPush:
    """See `portable.PacketPush`."""

    cdef readonly object _queue
    cdef public bint _is_open, _is_ended
    cdef public object _receive, _receive_batch
    cdef public int64_t dropped, refused
    cdef object flow, address  # of the packet before

    def __cinit__(self):
        self._queue = deque()

    def __len__(self):
        return len(self._queue)

    @cython.critical_section
    def packets(self, list batch not None):
        """See `portable.PacketPush.packets`."""
        if self._receive_batch is not None and self._is_open and not self._queue:
            self.hand_batch(batch)
        elif self._is_ended:
            self.dropped += PyList_GET_SIZE(batch)
        elif self._is_open and PyList_GET_SIZE(batch) == 1 and not self._queue:
            try:
                self.hand_one(<object>PyList_GET_ITEM(batch, 0))
            except BaseException as error:
                self._end_program(error)
        else:
            self._queue.extend(batch)
            self.hand()

    @cython.critical_section
    def _hand(self):
        """See `portable.PacketPush._hand`."""
        self.hand()

    cdef int hand(self) except -1:
        cdef list batch
        queue = self._queue
        take = queue.popleft
        try:
            while queue and self._is_open:
                if self._receive_batch is not None:
                    batch = list(queue)
                    queue.clear()
                    self.hand_batch(batch)
                else:
                    self.hand_one(take())
        except BaseException as error:
            self._end_program(error)
        return 0

    cdef int hand_one(self, packet) except -1:
        if not isinstance(packet, packet_type):
            raise TypeError("what is handed on is a Packet")
        return self.hand_data(<object>PyTuple_GET_ITEM(packet, 0), <object>PyTuple_GET_ITEM(packet, 1))

    cdef inline int hand_data(self, data, flow) except -1:
        if flow is not self.flow:
            self.address = self._address_of(flow)
            self.flow = flow
        try:
            self._receive(data, self.address)
        except Exception as error:
            self._report(error, "datagram_received() raised")
        return 0

    @cython.critical_section
    cdef bint is_straight(self) except -1:
        """Whether a datagram that is there now would be the next one handed on, alone. From outside."""
        return self._is_open and self._receive_batch is None and not self._queue

    @cython.critical_section
    cdef int hand_payload(self, data, flow) except -1:
        """Do as `packets` with one that has this payload and flow, where `is_straight`. From outside."""
        try:
            self.hand_data(data, flow)
        except BaseException as error:
            self._end_program(error)
        return 0

    cdef int hand_batch(self, list batch) except -1:
        try:
            self._receive_batch(batch)
        except Exception as error:
            self._report(error, "packets_received() raised")
        except BaseException as error:
            self._end_program(error)
        return 0

    def _address_of(self, flow):
        raise AssertionError("what hands on payloads knows their sender's address")

    def _report(self, error, what):
        raise error

    def _end_program(self, error):
        raise error


cdef object _push_packets = PacketPush.__dict__["packets"]


@cython.final
@cython.no_gc
@cython.freelist(8)
cdef class _Next:
    """What `__anext__` returns when an item is ready: takes it when awaited, not before.

    Should it be gone by then (another task took it, or a swap dropped it), waits like a coroutine.
    """

    cdef PacketQueue queue
    cdef _Wait inner

    def __await__(self):
        return self

    def __iter__(self):
        return self

    def __next__(self):
        if self.inner is None:
            with cython.critical_section(self.queue):
                if self.ready():
                    raise StopIteration(self.queue.pop())
        return self.wait().send(None)

    def send(self, value):
        """As a coroutine's."""
        return self.__next__()

    def throw(self, kind, value=None, traceback=None):
        """As a coroutine's: a cancelled wait ends properly."""
        if self.inner is None:
            _raise(kind, value, traceback)
        return self.inner.throw(kind, value, traceback)

    def close(self):
        """As a coroutine's."""
        if self.inner is not None:
            self.inner.close()

    cdef bint ready(self) except -1:
        if self.queue is None:
            raise TypeError("made by __anext__ of a queue alone")
        return self.queue.is_ready()

    cdef _Wait wait(self):
        if self.inner is None:
            self.inner = _Wait(self.queue, False)
        return self.inner


@cython.final
cdef class _Wait:
    """What `__anext__` returns when nothing is ready: the next item, or a list of all that is there.

    A coroutine in all but name, which awaits one future after another until something is there.
    """

    cdef PacketQueue queue
    cdef object waiter  # the iterator of the future it awaits
    cdef bint all

    def __cinit__(self, PacketQueue queue not None, bint all):  # there is none without a queue
        self.queue = queue
        self.all = all

    def __await__(self):
        return self

    def __iter__(self):
        return self

    def __next__(self):
        cdef int outcome = -1
        result = self.step(&outcome)
        if outcome == 0:
            raise StopIteration(result)
        return result

    def send(self, value):
        """As a coroutine's."""
        return self.__next__()

    def throw(self, kind, value=None, traceback=None):
        """As a coroutine's: a cancelled wait ends properly."""
        self.end()
        _raise(kind, value, traceback)

    def close(self):
        """As a coroutine's."""
        self.end()

    cdef object step(self, int *outcome):
        """Return what is yielded (outcome 1), or the result (outcome 0)."""
        cdef PacketQueue queue = self.queue
        cdef PyObject *given = NULL
        cdef int sent
        if self.waiter is not None:
            try:
                sent = PyIter_Send(self.waiter, None, &given)  # makes no StopIteration, as next() would
            except BaseException:
                self.end()
                raise
            result = <object>given
            Py_DECREF(result)
            if sent == 1:
                outcome[0] = 1
                return result
            self.end()
        with cython.critical_section(queue):
            if queue.is_ready():
                outcome[0] = 0
                return queue.take_batch() if self.all else queue.pop()
            queue.stop = None  # it holds what was returned last
        self.waiter = iter(queue._begin_waiting())
        outcome[0] = 1
        return next(self.waiter)

    cdef int end(self) except -1:
        if self.waiter is not None:
            self.waiter = None
            self.queue._waiter = None
        return 0


def _raise(kind, value, traceback):
    """Raise what is given to a `throw`."""
    if isinstance(kind, type) and issubclass(kind, BaseException):
        if not isinstance(value, kind):
            value = kind() if value is None else kind(value)
    elif isinstance(kind, BaseException):
        if value is not None:
            raise TypeError("instance exception may not have a separate value")
        value = kind
    else:
        raise TypeError("exceptions must be classes or instances deriving from BaseException")
    raise value if traceback is None else value.with_traceback(traceback)


# PySendResult: PYGEN_RETURN 0, PYGEN_ERROR -1, PYGEN_NEXT 1
cdef PyObject *_step(_Next awaitable, int *outcome) except NULL:
    cdef object result
    if awaitable.inner is None:
        with cython.critical_section(awaitable.queue):
            if awaitable.ready():
                outcome[0] = 0
                result = awaitable.queue.pop()
                Py_INCREF(result)
                return <PyObject *>result
    result = awaitable.wait().step(outcome)
    Py_INCREF(result)
    return <PyObject *>result

cdef PyObject *_step_of_wait(_Wait awaitable, int *outcome) except NULL:
    cdef object result = awaitable.step(outcome)
    Py_INCREF(result)
    return <PyObject *>result

ctypedef PyObject *(*_raw_step)(_Next, int *) noexcept
ctypedef PyObject *(*_raw_step_of_wait)(_Wait, int *) noexcept


cdef int _send(PyObject *awaitable, PyObject *value, PyObject **result) noexcept:
    cdef int outcome = -1
    result[0] = (<_raw_step>_step)(<_Next>awaitable, &outcome)
    return outcome if result[0] != NULL else -1


cdef int _send_to_wait(PyObject *awaitable, PyObject *value, PyObject **result) noexcept:
    cdef int outcome = -1
    result[0] = (<_raw_step_of_wait>_step_of_wait)(<_Wait>awaitable, &outcome)
    return outcome if result[0] != NULL else -1


cdef PyObject *_next(PyObject *awaitable) noexcept:
    cdef int outcome = -1
    cdef PyObject *result = (<_raw_step>_step)(<_Next>awaitable, &outcome)
    if result != NULL and outcome == 0:
        (<_raw_returned>_returned)((<_Next>awaitable).queue, result)
        return NULL
    return result


cdef PyObject *_next_of_wait(PyObject *awaitable) noexcept:
    cdef int outcome = -1
    cdef PyObject *result = (<_raw_step_of_wait>_step_of_wait)(<_Wait>awaitable, &outcome)
    if result != NULL and outcome == 0:
        (<_raw_returned>_returned)((<_Wait>awaitable).queue, result)
        return NULL
    return result


cdef PyObject *_returned(PacketQueue queue, PyObject *result) except NULL:
    """Raise the StopIteration that has this result, which is given up."""
    try:
        with cython.critical_section(queue):
            stop = aiomcast_stop(<PyObject *>queue.stop, result)
            queue.stop = stop
    finally:
        Py_DECREF(<object>result)
    aiomcast_raise(stop)
    return NULL

ctypedef PyObject *(*_raw_returned)(PacketQueue, PyObject *) noexcept


aiomcast_set_send(_Next, <void *>_send, <void *>_next)
aiomcast_set_send(_Wait, <void *>_send_to_wait, <void *>_next_of_wait)
aiomcast_set_dealloc(Packet)
