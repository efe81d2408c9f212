/* Put before the C library, to have system calls fail, or tell the wrong time, when a test says so. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>

static int places_errno, places_left; /* refuse EPOLL_CTL_ADD once `places_left` more were given */
static int receive_errno, receive_calls;
static int late_stamps; /* so many datagrams get the time at which they are read for their stamp */
static struct timespec hardware; /* what SCM_TIMESTAMPING tells of the interface's clock, where it comes */

void fault_places(int number, int left)
{
    places_errno = number;
    places_left = left;
}

void fault_receive(int number)
{
    receive_errno = number;
    receive_calls = 0;
}

int fault_receive_calls(void)
{
    return receive_calls;
}

void fault_stamps(int count)
{
    late_stamps = count;
}

void fault_hardware(long seconds, long nanoseconds)
{
    hardware.tv_sec = seconds;
    hardware.tv_nsec = nanoseconds;
}

int epoll_ctl(int set, int operation, int descriptor, struct epoll_event *event)
{
    static int (*real)(int, int, int, struct epoll_event *);
    if (real == NULL)
        real = dlsym(RTLD_NEXT, "epoll_ctl");
    if (operation == EPOLL_CTL_ADD && places_errno && places_left-- <= 0) {
        errno = places_errno;
        return -1;
    }
    return real(set, operation, descriptor, event);
}

static void stamp(struct msghdr *message)
{
    struct cmsghdr *entry;
    struct timespec now;
    long long told[2]; /* as these messages have it also where a long has 32 bits: nothing asks for the old ones there */
    for (entry = CMSG_FIRSTHDR(message); entry != NULL && hardware.tv_sec; entry = CMSG_NXTHDR(message, entry))
        if (entry->cmsg_level == SOL_SOCKET && (entry->cmsg_type == 37 || entry->cmsg_type == 65)) {
            told[0] = hardware.tv_sec;
            told[1] = hardware.tv_nsec;
            memcpy(CMSG_DATA(entry) + 2 * sizeof(told), told, sizeof(told));
        }
    if (late_stamps <= 0)
        return;
    late_stamps--;
    for (entry = CMSG_FIRSTHDR(message); entry != NULL; entry = CMSG_NXTHDR(message, entry))
        if (entry->cmsg_level == SOL_SOCKET && (entry->cmsg_type == 35 || entry->cmsg_type == 64)) {
            clock_gettime(CLOCK_REALTIME, &now);
            told[0] = now.tv_sec;
            told[1] = now.tv_nsec;
            memcpy(CMSG_DATA(entry), told, sizeof(told));
        }
}

ssize_t recvmsg(int descriptor, struct msghdr *message, int flags)
{
    static ssize_t (*real)(int, struct msghdr *, int);
    ssize_t got;
    if (real == NULL)
        real = dlsym(RTLD_NEXT, "recvmsg");
    if (receive_errno) {
        receive_calls++;
        errno = receive_errno;
        return -1;
    }
    got = real(descriptor, message, flags);
    if (got >= 0)
        stamp(message);
    return got;
}

int recvmmsg(int descriptor, struct mmsghdr *messages, unsigned int count, int flags, struct timespec *wait)
{
    static int (*real)(int, struct mmsghdr *, unsigned int, int, struct timespec *);
    int got, i;
    if (real == NULL)
        real = dlsym(RTLD_NEXT, "recvmmsg");
    if (receive_errno) {
        receive_calls++;
        errno = receive_errno;
        return -1;
    }
    got = real(descriptor, messages, count, flags, wait);
    for (i = 0; i < got; i++)
        stamp(&messages[i].msg_hdr);
    return got;
}
