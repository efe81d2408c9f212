# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: freethreading_compatible=True
"""Numbers at a fixed place of packets, in compiled code. `places` and `level` say what each name promises.

A place is never changed once it was made, so it needs no lock; a level has one where there is no global one.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_Check, PyBytes_GET_SIZE
from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE
from cpython.object cimport PyObject
from libc.math cimport fabs
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memset


@cython.final
cdef class Place:
    """See `places.Place`."""

    cdef Py_ssize_t offset, size, shortest
    cdef bint is_little, is_rtp
    cdef uint64_t mask

    def __init__(self, Py_ssize_t offset, int bits, bint is_little, *, bint is_rtp=False):
        if not 1 <= bits <= 64 or offset < 0:
            raise ValueError("1 to 64 bits, at 0 or behind it")
        self.offset = offset
        self.size = (bits + 7) // 8
        self.shortest = max(12, offset + self.size) if is_rtp else offset + self.size
        self.is_little = is_little
        self.is_rtp = is_rtp
        self.mask = <uint64_t>0xFFFFFFFFFFFFFFFF >> (64 - bits)

    cdef bint read(self, object data, uint64_t *number) except -1:
        """Put the number there; False where there is none."""
        cdef const uint8_t *start
        cdef uint64_t found = 0
        cdef Py_ssize_t i
        if not PyBytes_Check(data):
            data = bytes(data)
        if PyBytes_GET_SIZE(data) < self.shortest:
            return False
        start = <const uint8_t *>PyBytes_AS_STRING(data)
        if self.is_rtp and start[0] >> 6 != 2:
            return False
        start += self.offset
        if self.is_little:
            for i in range(self.size - 1, -1, -1):
                found = found << 8 | start[i]
        else:
            for i in range(self.size):
                found = found << 8 | start[i]
        number[0] = found & self.mask
        return True

    def number(self, data):
        """See `places.Place.number`."""
        cdef uint64_t number = 0
        return number if self.read(data, &number) else None

    def numbers(self, list batch not None):
        """See `places.Place.numbers`."""
        cdef uint64_t number = 0
        return [number if self.read((<tuple>packet)[0], &number) else None for packet in batch]

    def row(self, list batch not None):
        """See `places.Place.row`."""
        cdef uint64_t first = 0, number = 0
        cdef Py_ssize_t i
        if not PyList_GET_SIZE(batch) or not self.read((<tuple>batch[0])[0], &first):
            return None
        for i in range(1, PyList_GET_SIZE(batch)):
            if not self.read((<tuple>batch[i])[0], &number) or number != ((first + <uint64_t>i) & self.mask):
                return None
        if self.is_rtp and not _of_one_source(batch):
            return None
        return first


cdef bint _of_one_source(list batch) except -1:
    """Whether all have one SSRC; each has RTP's header."""
    cdef Py_ssize_t i
    source = bytes((<tuple>batch[0])[0])[8:12]
    for i in range(1, PyList_GET_SIZE(batch)):
        data = (<tuple>batch[i])[0]
        if PyBytes_Check(data):
            if memcmp(PyBytes_AS_STRING(data) + 8, PyBytes_AS_STRING(source), 4):
                return False
        elif bytes(data)[8:12] != source:
            return False
    return True


cdef struct _Line:
    int64_t next        # above what was due in the beginning
    int64_t brought
    int64_t won
    int64_t came_then
    double at


@cython.final
cdef class Level:
    """See `level.Level`."""

    cdef Place numbers
    cdef uint64_t mask, due
    cdef object sample
    cdef Py_ssize_t count
    cdef int64_t lowest, put_out, room, came
    cdef _Line *lines

    def __cinit__(self, Py_ssize_t count, Place numbers not None, mask, sample):
        if count < 1:
            raise ValueError("one line at least")
        self.lines = <_Line *>calloc(count, sizeof(_Line))
        if self.lines == NULL:
            raise MemoryError
        self.count = count
        self.numbers = numbers
        self.mask = mask
        self.sample = sample

    def __dealloc__(self):
        free(self.lines)

    @cython.critical_section
    def begin(self, due, list behind not None, int64_t back, int64_t room, int64_t came):
        """See `level.Level.begin`."""
        cdef Py_ssize_t i
        if PyList_GET_SIZE(behind) != self.count:
            raise ValueError("as many as there are lines")
        self.room = 0
        memset(self.lines, 0, self.count * sizeof(_Line))
        for i in range(self.count):
            self.lines[i].next = -<int64_t>behind[i]
        self.due = due & 0xFFFFFFFFFFFFFFFF
        self.lowest = -back
        self.put_out, self.came, self.room = 0, came, room

    @cython.critical_section
    def take(self, dict queued not None, double now, list out not None):
        """See `level.Level.take`."""
        cdef int64_t put_out = self.put_out, following
        cdef uint64_t number = 0
        cdef Py_ssize_t index
        cdef list batch
        cdef _Line *line
        if put_out >= self.room:
            return False
        for place, one in queued.items():
            index, batch = place, one
            if batch is None or not 0 <= index < self.count:
                raise IndexError(place)
            line = &self.lines[index]
            following = line.next
            if PyList_GET_SIZE(batch) != 1 or following < self.lowest or following > put_out:
                return False
            if not self.numbers.read((<tuple>batch[0])[0], &number):
                return False
            if number != ((self.due + <uint64_t>following) & self.mask):
                return False
        self.came += len(queued)
        for place, one in queued.items():
            index, batch = place, one
            line = &self.lines[index]
            following = line.next
            line.next += 1
            line.brought += 1
            line.at = now
            line.came_then = self.came
            if following == self.put_out:
                self.put_out += 1
                line.won += 1
                out.append(batch[0])
            if not (self.due + <uint64_t>following) & 7:
                self.sample(index, following, batch[0], now)
        return True

    @cython.critical_section
    def end(self):
        """See `level.Level.end`."""
        cdef Py_ssize_t i
        self.room = 0
        each = [
            (self.lines[i].brought, self.lines[i].won, self.lines[i].at, self.lines[i].came_then)
            for i in range(self.count)
        ]
        return self.put_out, self.came, each


def smoothed(list stamps not None, before, gap, jitter):
    """See `places.smoothed`."""
    cdef int64_t latest = 0, stamp
    cdef double mean = 0, deviation = 0, step
    cdef bint has_before = before is not None, has_gap = gap is not None
    cdef bint has_jitter = jitter is not None
    cdef Py_ssize_t i
    if has_before:
        latest = before
    if has_gap:
        mean = gap
    if has_jitter:
        deviation = jitter
    for i in range(PyList_GET_SIZE(stamps)):
        taken = stamps[i]
        if taken is None:
            continue
        stamp = taken
        step = <double>(stamp - latest)
        latest = stamp
        if not has_before:
            has_before = True
        elif not has_gap:
            has_gap, mean = True, step
        else:
            deviation += (fabs(step - mean) - deviation) / 16
            mean += (step - mean) / 16
            has_jitter = True
    return latest if has_before else None, mean if has_gap else None, deviation if has_jitter else None


def only_flow(list batch not None):
    """See `places.only_flow`."""
    cdef PyObject *flow
    cdef Py_ssize_t i
    if not PyList_GET_SIZE(batch):
        return None
    first = (<tuple>batch[0])[1]
    flow = <PyObject *>first
    for i in range(1, PyList_GET_SIZE(batch)):
        if <PyObject *>((<tuple>batch[i])[1]) != flow:
            return None
    return first
