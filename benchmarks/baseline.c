/* What the kernel itself costs: receive loops that build nothing, and the senders that feed everyone. */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MESSAGES = 64, CONTROL = 128, EVENTS = 64 };

struct room {
    struct mmsghdr messages[MESSAGES];
    struct iovec vectors[MESSAGES];
    struct sockaddr_storage names[MESSAGES];
    char controls[MESSAGES][CONTROL];
    char *data;
    size_t size;
};

static struct room *room_for(size_t size)
{
    struct room *room = calloc(1, sizeof *room);
    room->size = size < 2048 ? 2048 : size;
    room->data = calloc(MESSAGES, room->size);
    for (int i = 0; i < MESSAGES; i++) {
        struct msghdr *header = &room->messages[i].msg_hdr;
        room->vectors[i].iov_base = room->data + i * room->size;
        header->msg_iov = &room->vectors[i];
        header->msg_iovlen = 1;
        header->msg_name = &room->names[i];
        header->msg_control = room->controls[i];
    }
    return room;
}

static void free_room(struct room *room)
{
    free(room->data);
    free(room);
}

/* One system call: data, source address and control messages of up to 64 datagrams. */
static int receive(int fd, struct room *room)
{
    for (int i = 0; i < MESSAGES; i++) {
        struct msghdr *header = &room->messages[i].msg_hdr;
        header->msg_namelen = sizeof room->names[i];
        header->msg_controllen = CONTROL;
        room->vectors[i].iov_len = room->size;
    }
    return recvmmsg(fd, room->messages, MESSAGES, MSG_DONTWAIT, NULL);
}

/* Read `wanted` datagrams of at most `size` bytes, or as many as there are; say how many. */
long drain(int fd, long wanted, size_t size)
{
    struct room *room = room_for(size);
    long seen = 0;
    while (seen < wanted) {
        int got = receive(fd, room);
        if (got <= 0)
            break;
        seen += got;
    }
    free_room(room);
    return seen;
}

/* The same over all sockets of a level-triggered epoll set. */
long drain_set(int set, long wanted, size_t size)
{
    struct room *room = room_for(size);
    struct epoll_event events[EVENTS];
    long seen = 0;
    while (seen < wanted) {
        int ready = epoll_wait(set, events, EVENTS, 0);
        if (ready <= 0)
            break;
        for (int i = 0; i < ready; i++) {
            int got = receive(events[i].data.fd, room);
            if (got > 0)
                seen += got;
        }
    }
    free_room(room);
    return seen;
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec * 1e-9;
}

/* Wait for datagrams and read them for `seconds`; say how many came. */
long receive_for(int fd, double seconds, size_t size)
{
    struct room *room = room_for(size);
    struct epoll_event event = {.events = EPOLLIN}, ready;
    int set = epoll_create1(EPOLL_CLOEXEC);
    double end = now() + seconds;
    long seen = 0;
    epoll_ctl(set, EPOLL_CTL_ADD, fd, &event);
    while (now() < end) {
        if (epoll_wait(set, &ready, 1, 10) > 0) {
            int got = receive(fd, room);
            if (got > 0)
                seen += got;
        }
    }
    close(set);
    free_room(room);
    return seen;
}

/* Send `count` payloads of `size` bytes, `per_send` of them in each message (UDP_SEGMENT is the
   caller's to set), to each of `to` in turn. Say how many payloads went. */
long fill(int fd, struct sockaddr_in *to, long destinations, long count, size_t size, long per_send)
{
    struct mmsghdr messages[MESSAGES];
    struct iovec vector = {calloc(per_send, size ? size : 1), size * per_send};
    long sent = 0, next = 0;
    memset(messages, 0, sizeof messages);
    while (sent + per_send <= count) {
        long batch = (count - sent) / per_send;
        if (batch > MESSAGES)
            batch = MESSAGES;
        for (long i = 0; i < batch; i++) {
            messages[i].msg_hdr.msg_name = &to[(next + i) % destinations];
            messages[i].msg_hdr.msg_namelen = sizeof *to;
            messages[i].msg_hdr.msg_iov = &vector;
            messages[i].msg_hdr.msg_iovlen = 1;
        }
        int went = sendmmsg(fd, messages, batch, 0);
        if (went < 0) {
            if (errno == EINTR)
                continue;
            break;
        }
        next += went;
        sent += went * per_send;
    }
    free(vector.iov_base);
    return sent;
}

/* Send at `rate` datagrams a second for `seconds`, in bursts about 50 microseconds apart; a sender
   that cannot keep up sends what it can. Say how many were sent. */
long pace(int fd, struct sockaddr_in *to, double rate, double seconds, size_t size)
{
    double start = now(), spent;
    long burst = rate * 50e-6 > 1 ? (long)(rate * 50e-6) : 1, sent = 0;
    while ((spent = now() - start) < seconds) {
        double due = spent * rate - sent;
        if (due < burst)
            continue;
        long went = fill(fd, to, 1, due > 256 ? 256 : (long)due, size, 1);
        if (went <= 0)
            break;
        sent += went;
    }
    return sent;
}

/* When the last wait that blocked came back, where waiting.c is preloaded. */
extern __attribute__((weak)) volatile int64_t wait_ended_ns;

static int64_t now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

/* Send for `seconds`, `burst` datagrams at once and `rate` a second in all, each with the time in its first
   eight bytes, written just before it goes. Say how many were sent. */
long pace_stamped(int fd, struct sockaddr_in *to, double rate, long burst, double seconds, size_t size)
{
    char *data = calloc(1, size < sizeof(int64_t) ? sizeof(int64_t) : size);
    double between = burst / rate * 1e9;
    int64_t start = now_ns(), end = start + (int64_t)(seconds * 1e9);
    long sent = 0;
    for (long turn = 0;; turn++) {
        int64_t due = start + (int64_t)(turn * between), stamp;
        if (due >= end)
            break;
        while (now_ns() < due)
            ;
        for (long i = 0; i < burst; i++) {
            stamp = now_ns();
            memcpy(data, &stamp, sizeof stamp);
            if (sendto(fd, data, size, 0, (struct sockaddr *)to, sizeof *to) > 0)
                sent++;
        }
    }
    free(data);
    return sent;
}

/* Wait for stamped datagrams and read them for `seconds`. Put into `late` how long after its stamp each was
   seen, into `path` how long after the wait's end, for `most` of them; say how many came. */
long receive_stamped(int fd, double seconds, size_t size, int64_t *late, int64_t *path, long most)
{
    struct room *room = room_for(size);
    struct epoll_event event = {.events = EPOLLIN}, ready;
    int set = epoll_create1(EPOLL_CLOEXEC);
    double end = now() + seconds;
    long seen = 0;
    epoll_ctl(set, EPOLL_CTL_ADD, fd, &event);
    while (now() < end) {
        if (epoll_wait(set, &ready, 1, 10) <= 0)
            continue;
        int got = receive(fd, room);
        for (int i = 0; i < got; i++, seen++) {
            int64_t stamp, seen_at = now_ns();
            if (seen >= most)
                continue;
            memcpy(&stamp, room->vectors[i].iov_base, sizeof stamp);
            late[seen] = seen_at - stamp;
            path[seen] = &wait_ended_ns ? seen_at - wait_ended_ns : 0;
        }
    }
    close(set);
    free_room(room);
    return seen;
}
