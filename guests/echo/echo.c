/* The other end of the network's tests, in the Debian guest: `echo-server PORT` goes to the
 * background when it listens, and sends back what comes, by TCP and by UDP; `echo-server ask ADDRESS
 * PORT LENGTH` sends such a server a datagram and says whether the same came back. busybox has
 * neither for UDP.
 *
 * One process serves all peers. It waits for one that does not take its bytes: they are ours. */
#define _DEFAULT_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { DATAGRAMS, CALLS, FIRST_PEER, MOST = 64 };
enum { LARGEST = 65507, PATIENCE = 10 };

static char bytes[LARGEST], question[LARGEST];

static void give_up(const char *what)
{
    perror(what);
    exit(1);
}

static int new_socket(int type)
{
    int fd = socket(AF_INET, type, 0);
    if (fd < 0)
        give_up("socket");
    return fd;
}

static int open_port(int type, int port)
{
    struct sockaddr_in here = { .sin_family = AF_INET, .sin_port = htons(port) };
    int yes = 1, fd = new_socket(type);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(fd, (struct sockaddr *)&here, sizeof here) != 0)
        give_up("bind");
    return fd;
}

static void answer_datagram(int fd)
{
    struct sockaddr_in from;
    socklen_t size = sizeof from;
    ssize_t length = recvfrom(fd, bytes, sizeof bytes, 0, (struct sockaddr *)&from, &size);
    if (length >= 0)
        sendto(fd, bytes, (size_t)length, 0, (struct sockaddr *)&from, size);
}

/* Whether the peer is still there. */
static int answer_peer(int fd)
{
    ssize_t length = read(fd, bytes, sizeof bytes);
    for (ssize_t done = 0; done < length;) {
        ssize_t sent = write(fd, bytes + done, (size_t)(length - done));
        if (sent <= 0)
            return 0;
        done += sent;
    }
    return length > 0;
}

static void serve(int port)
{
    signal(SIGPIPE, SIG_IGN);
    struct pollfd sockets[MOST];
    sockets[DATAGRAMS].fd = open_port(SOCK_DGRAM, port);
    sockets[CALLS].fd = open_port(SOCK_STREAM, port);
    if (listen(sockets[CALLS].fd, MOST) != 0)
        give_up("listen");
    if (daemon(0, 0) != 0)
        give_up("daemon");
    for (int count = FIRST_PEER;;) {
        /* When all places are taken, callers wait. */
        for (int i = 0; i < count; i++) {
            sockets[i].events = i == CALLS && count == MOST ? 0 : POLLIN;
            sockets[i].revents = 0;
        }
        if (poll(sockets, (nfds_t)count, -1) < 0)
            give_up("poll");
        /* From the last on, since the last one takes the place of one that goes. */
        for (int i = count - 1; i >= FIRST_PEER; i--)
            if (sockets[i].revents && !answer_peer(sockets[i].fd)) {
                close(sockets[i].fd);
                sockets[i] = sockets[--count];
            }
        if (sockets[DATAGRAMS].revents)
            answer_datagram(sockets[DATAGRAMS].fd);
        if (sockets[CALLS].revents) {
            int yes = 1, peer = accept(sockets[CALLS].fd, 0, 0);
            if (peer >= 0) {
                setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
                sockets[count++] = (struct pollfd){ .fd = peer };
            }
        }
    }
}

static int ask(const char *address, int port, size_t length)
{
    struct sockaddr_in there = { .sin_family = AF_INET, .sin_port = htons(port) };
    struct timeval patience = { .tv_sec = PATIENCE };
    int fd = new_socket(SOCK_DGRAM);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    for (size_t i = 0; i < length; i++)
        question[i] = (char)(i * 7 + length);
    if (inet_pton(AF_INET, address, &there.sin_addr) != 1
        || connect(fd, (struct sockaddr *)&there, sizeof there) != 0
        || send(fd, question, length, 0) != (ssize_t)length)
        give_up("send");
    ssize_t came = recv(fd, bytes, sizeof bytes, 0);
    if (came < 0)
        give_up("no answer");
    int same = (size_t)came == length && memcmp(bytes, question, length) == 0;
    printf("echo-server: %zd bytes came back, %s\n", came, same ? "the same" : "others");
    return same ? 0 : 1;
}

int main(int argc, char **argv)
{
    int asks = argc == 5 && strcmp(argv[1], "ask") == 0;
    int port = asks ? atoi(argv[3]) : argc == 2 ? atoi(argv[1]) : 0;
    long length = asks ? atol(argv[4]) : 0;
    if (port < 1 || port > 65535 || length < 0 || length > LARGEST) {
        fprintf(stderr, "usage: echo-server PORT | echo-server ask ADDRESS PORT LENGTH\n");
        return 2;
    }
    if (asks)
        return ask(argv[2], port, (size_t)length);
    serve(port);
}
