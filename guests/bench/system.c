/* What a kernel does for programs: system calls, processes, program starts; and a shell. */
#define _GNU_SOURCE
#include "bench.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

uint64_t null_syscall(uint64_t rounds)
{
    uint64_t sum = 0;
    while (rounds--)
        sum += (uint64_t)syscall(SYS_getppid);
    return sum;
}

static uint64_t children(uint64_t rounds, char *const program[])
{
    uint64_t sum = 0;
    while (rounds--) {
        pid_t child = fork();
        if (child < 0)
            abort();
        if (child == 0) {
            if (program)
                execv(program[0], program);
            _exit(program ? 127 : 0);
        }
        int status;
        if (waitpid(child, &status, 0) != child || status != 0)
            abort();
        sum++;
    }
    return sum;
}

uint64_t fork_exit(uint64_t rounds)
{
    return children(rounds, 0);
}

/* busybox in the guest, /bin/true elsewhere. */
uint64_t fork_exec(uint64_t rounds)
{
    static char *const busybox[] = { "/bin/busybox", "true", 0 };
    static char *const plain[] = { "/bin/true", 0 };
    return children(rounds, access(busybox[0], X_OK) == 0 ? busybox : plain);
}

/* One round is one turn of a loop in a shell, without any program started in it: busybox's shell,
 * or the host's own where there is no busybox. */
uint64_t shell_loop(uint64_t rounds)
{
    char script[128];
    snprintf(script, sizeof script,
             "i=0; while [ $i -lt %" PRIu64 " ]; do i=$((i + 1)); done; [ $i = %" PRIu64 " ]", rounds, rounds);
    static char *const busybox = "/bin/busybox";
    char *const by_busybox[] = { busybox, "sh", "-c", script, 0 };
    char *const plain[] = { "/bin/sh", "-c", script, 0 };
    return children(1, access(busybox, X_OK) == 0 ? by_busybox : plain);
}

/* One round is a byte to another process and back: two switches between processes on one hart. */
uint64_t pipe_switch(uint64_t rounds)
{
    int there[2], back[2];
    if (pipe(there) != 0 || pipe(back) != 0)
        abort();
    pid_t child = fork();
    if (child < 0)
        abort();
    char byte = 0;
    if (child == 0) {
        close(there[1]);
        while (read(there[0], &byte, 1) == 1)
            if (write(back[1], &byte, 1) != 1)
                _exit(1);
        _exit(0);
    }
    uint64_t sum = 0;
    while (rounds--)
        sum += write(there[1], &byte, 1) == 1 && read(back[0], &byte, 1) == 1;
    close(there[0]);
    close(there[1]);
    close(back[0]);
    close(back[1]);
    int status;
    if (waitpid(child, &status, 0) != child || status != 0)
        abort();
    return sum;
}

/* One round reads 64 KiB of the first virtio disk, in order and past the page cache, from the
 * beginning again after 16 MiB. */
uint64_t disk_read(uint64_t rounds)
{
    enum { PIECE = 64 << 10, PIECES = 256 };
    int disk = open("/dev/vda", O_RDONLY | O_DIRECT);
    uint8_t *buffer = aligned_alloc(4096, PIECE);
    if (disk < 0 || !buffer)
        abort();
    uint64_t sum = 0;
    for (uint64_t round = 0; round < rounds; round++) {
        if (pread(disk, buffer, PIECE, (off_t)(round % PIECES) * PIECE) != PIECE)
            abort();
        sum += buffer[0];
    }
    free(buffer);
    close(disk);
    return sum;
}

/* One round sends 64 KiB to 10.9.0.1, who sends everything back, and receives them: datagrams of
 * 1 KiB, sixteen under way at once. */
uint64_t net_echo(uint64_t rounds)
{
    enum { SIZE = 1024, BURST = 16, BURSTS = 4, PORT = 7 };
    static uint8_t buffer[SIZE];
    struct sockaddr_in here = { .sin_family = AF_INET, .sin_port = htons(PORT) };
    struct sockaddr_in there = here;
    there.sin_addr.s_addr = htonl(0x0a090001);
    struct timeval patience = { .tv_sec = 10 };
    int s = socket(AF_INET, SOCK_DGRAM, 0);
    if (s < 0 || bind(s, (struct sockaddr *)&here, sizeof here) != 0
        || connect(s, (struct sockaddr *)&there, sizeof there) != 0
        || setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) != 0)
        abort();
    uint64_t sum = 0;
    for (uint64_t burst = 0; burst < rounds * BURSTS; burst++) {
        for (int i = 0; i < BURST; i++)
            if (send(s, buffer, SIZE, 0) != SIZE)
                abort();
        for (int i = 0; i < BURST; i++) {
            if (recv(s, buffer, SIZE, 0) != SIZE)
                abort();
            sum++;
        }
    }
    close(s);
    return sum;
}
