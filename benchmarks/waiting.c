/* To be preloaded: notes when a wait that may block has come back with something, whoever waited. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <time.h>

/* Nanoseconds of CLOCK_MONOTONIC, which Python's time.monotonic_ns() is too. */
volatile int64_t wait_ended_ns;

/* A wait of no time is a look at what is there: the wait whose end counts was before it. */
static int ended(int ready, int patience)
{
    struct timespec time;
    if (ready > 0 && patience != 0) {
        clock_gettime(CLOCK_MONOTONIC, &time);
        wait_ended_ns = time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
    }
    return ready;
}

int epoll_wait(int set, struct epoll_event *events, int most, int patience)
{
    static int (*real)(int, struct epoll_event *, int, int);
    if (real == NULL)
        real = (int (*)(int, struct epoll_event *, int, int))dlsym(RTLD_NEXT, "epoll_wait");
    return ended(real(set, events, most, patience), patience);
}

int epoll_pwait(int set, struct epoll_event *events, int most, int patience, const sigset_t *mask)
{
    static int (*real)(int, struct epoll_event *, int, int, const sigset_t *);
    if (real == NULL)
        real = (int (*)(int, struct epoll_event *, int, int, const sigset_t *))dlsym(RTLD_NEXT, "epoll_pwait");
    return ended(real(set, events, most, patience, mask), patience);
}
