/* The Linux half of the shim: preloaded into Wine, it makes the multicast calls that Wine lacks.
 *
 * `shim.py`, the half that runs on Python for Windows, packs a call into a `request` and hands it to
 * setsockopt as the value of IP_ADD_SOURCE_MEMBERSHIP, which Wine passes on to the C library unread.
 * Here the structures of Windows become those of Linux, and the answer goes back in the same bytes.
 * Nothing is decided for the tests: what Linux refuses is refused.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

typedef struct {
    char magic[8];
    int what, level, option, length, error, room, unused[2];
    unsigned char value[];
} request;

#define MAGIC "aiomcst"
enum { SET_OPTION = 1, FILTER_CALL = 2, NOTHING_LEAKS = 3 };

/* ws2ipdef.h */
enum {
    WIN_IP_MULTICAST_IF = 9, WIN_IP_ADD_MEMBERSHIP = 12, WIN_IP_DROP_MEMBERSHIP = 13,
    WIN_IP_ADD_SOURCE_MEMBERSHIP = 15, WIN_MCAST_JOIN_GROUP = 41, WIN_MCAST_LEAVE_GROUP = 42,
};
enum { WIN_AF_INET6 = 23, GROUP_REQ = 136, GROUP_SOURCE_REQ = 264, GROUP_FILTER = 144, STORAGE = 128 };
#define WIN_SIO_SET_MULTICAST_FILTER 0x8004747Du
#define WIN_SIO_GET_MULTICAST_FILTER 0x8004747Cu
#define WIN_SIOCSMSFILTER 0x8004747Eu
#define WIN_SIOCGMSFILTER 0x8004747Fu

/* linux/in.h and in6.h; the C library's headers have not all of them. */
enum { LIN_IP_MSFILTER = 41, LIN_MCAST_MSFILTER = 48, LIN_IP_MULTICAST_ALL = 49, LIN_IPV6_MULTICAST_ALL = 29 };

typedef int (*setsockopt_call)(int, int, int, const void *, socklen_t);
typedef int (*getifaddrs_call)(struct ifaddrs **);

static setsockopt_call next_setsockopt;

static int refuse(int number)
{
    errno = number;
    return -1;
}

static void to_linux(void *sockaddr)
{
    unsigned short *family = sockaddr;
    if (*family == WIN_AF_INET6)
        *family = AF_INET6;
}

static void to_windows(void *sockaddr)
{
    unsigned short *family = sockaddr;
    if (*family == AF_INET6)
        *family = WIN_AF_INET6;
}

/* An address in 0.0.0.0/8 other than 0.0.0.0 is the index of an interface. */
static unsigned index_in(const unsigned char *address)
{
    return address[0] ? 0 : address[1] << 16 | address[2] << 8 | address[3];
}

static void place(const unsigned char *address, struct ip_mreqn *into)
{
    unsigned index = index_in(address);
    if (index)
        into->imr_ifindex = index;
    else
        memcpy(&into->imr_address, address, 4);
}

static void store(struct sockaddr_storage *into, const unsigned char *address)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    memcpy(&in.sin_addr, address, 4);
    memcpy(into, &in, sizeof in);
}

/* struct ip_mreq_source of Windows: the group, the source, the interface. */
static int source_call(int fd, int which, const unsigned char *value)
{
    static const int by_address[] = {39, 40, 38, 37}; /* IP_ADD_SOURCE_MEMBERSHIP, DROP, BLOCK, UNBLOCK */
    static const int by_index[] = {46, 47, 43, 44};   /* the same of MCAST_ */
    unsigned index = index_in(value + 8);
    if (index) {
        struct group_source_req req = {.gsr_interface = index};
        store(&req.gsr_group, value);
        store(&req.gsr_source, value + 4);
        return next_setsockopt(fd, IPPROTO_IP, by_index[which], &req, sizeof req);
    }
    unsigned char req[12]; /* of Linux: the group, the interface, the source */
    memcpy(req, value, 4);
    memcpy(req + 4, value + 8, 4);
    memcpy(req + 8, value + 4, 4);
    return next_setsockopt(fd, IPPROTO_IP, by_address[which], req, sizeof req);
}

static int set_option(int fd, request *asked)
{
    /* 41 to 46: join, leave, block, unblock, join a source, leave a source */
    static const int mcast[] = {42, 45, 43, 44, 46, 47};
    unsigned char *value = asked->value;
    int option = asked->option;
    if (option >= WIN_MCAST_JOIN_GROUP) {
        int size = option <= WIN_MCAST_LEAVE_GROUP ? GROUP_REQ : GROUP_SOURCE_REQ;
        if (asked->length < size)
            return refuse(EFAULT);
        to_linux(value + 8);
        if (size == GROUP_SOURCE_REQ)
            to_linux(value + 8 + STORAGE);
        return next_setsockopt(fd, asked->level, mcast[option - WIN_MCAST_JOIN_GROUP], value, size);
    }
    struct ip_mreqn req = {0};
    if (option == WIN_IP_MULTICAST_IF) {
        place(value, &req);
        return next_setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &req, sizeof req);
    }
    if (option == WIN_IP_ADD_MEMBERSHIP || option == WIN_IP_DROP_MEMBERSHIP) {
        if (asked->length < 8)
            return refuse(EFAULT);
        memcpy(&req.imr_multiaddr, value, 4);
        place(value + 4, &req);
        option = option == WIN_IP_ADD_MEMBERSHIP ? IP_ADD_MEMBERSHIP : IP_DROP_MEMBERSHIP;
        return next_setsockopt(fd, IPPROTO_IP, option, &req, sizeof req);
    }
    if (asked->length < 12)
        return refuse(EFAULT);
    return source_call(fd, option - WIN_IP_ADD_SOURCE_MEMBERSHIP, value);
}

/* A group_filter (the mode at 136, the count at 140) or an ip_msfilter (8 and 12); modes are the other
 * way round. */
static int filter_call(int fd, request *asked)
{
    unsigned code = asked->option;
    int by_index = code == WIN_SIOCSMSFILTER || code == WIN_SIOCGMSFILTER;
    int sets = code == WIN_SIOCSMSFILTER || code == WIN_SIO_SET_MULTICAST_FILTER;
    unsigned char *value = asked->value;
    unsigned *words = (unsigned *)(value + (by_index ? GROUP_FILTER - 8 : 8));
    unsigned head = by_index ? GROUP_FILTER : 16, each = by_index ? STORAGE : 4;
    int level = IPPROTO_IP, option = by_index ? LIN_MCAST_MSFILTER : LIN_IP_MSFILTER;
    unsigned fits;
    if (asked->length < (int)head)
        return refuse(EFAULT);
    fits = (asked->length - head) / each;
    if (by_index) {
        level = *(unsigned short *)(value + 8) == WIN_AF_INET6 ? IPPROTO_IPV6 : IPPROTO_IP;
        to_linux(value + 8);
        for (unsigned at = 0; at < words[1] && at < fits; at++)
            to_linux(value + head + each * at);
    }
    if (sets) {
        if (words[0] > 1 || words[1] > fits)
            return refuse(EINVAL);
        words[0] = !words[0];
        asked->room = 0;
        return next_setsockopt(fd, level, option, value, head + each * words[1]);
    }
    socklen_t got = asked->room;
    if (getsockopt(fd, level, option, value, &got))
        return -1;
    words[0] = !words[0];
    if (by_index) {
        to_windows(value + 8);
        fits = (got - head) / each;
        for (unsigned at = 0; at < words[1] && at < fits; at++)
            to_windows(value + head + each * at);
    }
    asked->room = got;
    return 0;
}

/* Windows delivers to a socket what it has joined itself, and nothing else. */
static int nothing_leaks(int fd)
{
    int no = 0;
    next_setsockopt(fd, IPPROTO_IP, LIN_IP_MULTICAST_ALL, &no, sizeof no);
    next_setsockopt(fd, IPPROTO_IPV6, LIN_IPV6_MULTICAST_ALL, &no, sizeof no); /* refused by IPv4 */
    return 0;
}

int setsockopt(int fd, int level, int option, const void *value, socklen_t length)
{
    request *asked = (request *)value; /* Wine's own buffer, and the answer's */
    if (!next_setsockopt)
        next_setsockopt = (setsockopt_call)dlsym(RTLD_NEXT, "setsockopt");
    if (level != IPPROTO_IP || option != IP_ADD_SOURCE_MEMBERSHIP || length < sizeof *asked ||
        memcmp(asked->magic, MAGIC, sizeof MAGIC))
        return next_setsockopt(fd, level, option, value, length);
    int refused = refuse(EINVAL);
    switch (asked->what) {
    case SET_OPTION: refused = set_option(fd, asked); break;
    case FILTER_CALL: refused = filter_call(fd, asked); break;
    case NOTHING_LEAKS: refused = nothing_leaks(fd); break;
    }
    asked->error = refused ? errno : 0;
    return 0;
}

/* Wine's server looks an address to bind to up among the interfaces, and binds to 0.0.0.0 in its place
 * (unless it is 127.0.0.1). Where it can list none it binds as it was asked. */
int getifaddrs(struct ifaddrs **list)
{
    static getifaddrs_call next;
    if (!strncmp(program_invocation_short_name, "wineserver", 10))
        return refuse(ENOSYS);
    if (!next)
        next = (getifaddrs_call)dlsym(RTLD_NEXT, "getifaddrs");
    return next(list);
}
