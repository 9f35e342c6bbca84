/* What a kernel does for programs: system calls, processes, program starts; and a shell. */
#define _GNU_SOURCE
#include "bench.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
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
