/* The benchmark, one source for the guest and for the host: `bench [-t SECONDS] [-j JOBS] [NAME...]`
 * prints one line `NAME ROUNDS_PER_SECOND CHECK` for each kernel. In C, because the point is to compare
 * machines on code by the distribution's own compiler, and gcc for both is one package away.
 *
 * Each kernel runs in growing numbers of rounds until it takes the time asked for; the last run
 * counts. With -j, that many processes do the same at once, and their rates are summed. CHECK is
 * the result for a fixed number of rounds, so that a wrong machine shows.
 *
 * `bench -n NAME:ROUNDS...` counts instead of timing: see count.c. */
#define _GNU_SOURCE
#include "bench.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const struct kernel kernels[] = {
    { "integer", integer, 16 },
    { "nbody", nbody, 1000 },
    { "matrix", matrix, 100 },
    { "mandelbrot", mandelbrot, 48 },
    { "fibonacci", fibonacci, 1 },
    { "dispatch", dispatch, 10 },
    { "stream", stream, 1 },
    { "chase", chase, 10 },
    { "syscall", null_syscall, 0 },
    { "pagefault", page_fault, 2 },
    { "fork", fork_exit, 1 },
    { "exec", fork_exec, 1 },
    { "shell", shell_loop, 1 },
    { "switch", pipe_switch, 1 },
    { "disk", disk_read, .only_if_named = 1 },
    { "net", net_echo, .only_if_named = 1 },
};

enum { KERNELS = sizeof kernels / sizeof kernels[0] };

const struct kernel *kernel_named(const char *name, size_t length)
{
    for (int i = 0; i < KERNELS; i++)
        if (strlen(kernels[i].name) == length && memcmp(kernels[i].name, name, length) == 0)
            return &kernels[i];
    return 0;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static volatile uint64_t sink;

static double rate(const struct kernel *kernel, double seconds)
{
    for (uint64_t rounds = 1;;) {
        double start = now();
        sink = kernel->run(rounds);
        double took = now() - start;
        if (took >= seconds)
            return (double)rounds / took;
        double factor = took > 0 ? 1.2 * seconds / took : 10;
        factor = factor > 10 ? 10 : factor < 1.3 ? 1.3 : factor;
        rounds = (uint64_t)((double)rounds * factor) + 1;
    }
}

/* The rate of one of several processes: rounds in small portions, until the time is over. `ready`
 * and `go` are pipes: all processes measure at the same time, however long they needed to find out
 * how large a portion is. */
static double rate_among_others(const struct kernel *kernel, double seconds, int ready, int go)
{
    uint64_t portion = 1;
    for (;; portion *= 2) {
        double start = now();
        sink = kernel->run(portion);
        if (now() - start >= seconds / 32)
            break;
    }
    char byte = 0;
    if (write(ready, &byte, 1) != 1 || read(go, &byte, 1) != 1)
        exit(1);
    double start = now(), took;
    uint64_t rounds = 0;
    do {
        sink = kernel->run(portion);
        rounds += portion;
        took = now() - start;
    } while (took < seconds);
    return (double)rounds / took;
}

static void must(int worked, const char *what)
{
    if (!worked) {
        perror(what);
        exit(1);
    }
}

/* The sum of the rates of `jobs` processes that run at once. */
static double rate_of_many(const struct kernel *kernel, double seconds, int jobs)
{
    int ready[2], go[2], result[2];
    must(pipe(ready) == 0 && pipe(go) == 0 && pipe(result) == 0, "pipe");
    for (int i = 0; i < jobs; i++) {
        pid_t child = fork();
        must(child >= 0, "fork");
        if (child == 0) {
            close(go[1]); /* So that the end of the parent ends it. */
            double rate = rate_among_others(kernel, seconds, ready[1], go[0]);
            must(write(result[1], &rate, sizeof rate) == sizeof rate, "write");
            _exit(0);
        }
    }
    /* Only the processes can write now, so that one that dies is noticed. */
    close(ready[1]);
    close(result[1]);
    char byte = 0;
    for (int i = 0; i < jobs; i++)
        must(read(ready[0], &byte, 1) == 1, "a process ended early");
    for (int i = 0; i < jobs; i++)
        must(write(go[1], &byte, 1) == 1, "write");
    double sum = 0, rate;
    for (int i = 0; i < jobs; i++) {
        must(read(result[0], &rate, sizeof rate) == sizeof rate, "a process ended early");
        sum += rate;
    }
    while (wait(0) > 0)
        ;
    close(ready[0]);
    close(go[0]);
    close(go[1]);
    close(result[0]);
    return sum;
}

int main(int argc, char **argv)
{
    double seconds = 1.0;
    int first = 1, found = 0, jobs = 1;
    if (argc > 2 && strcmp(argv[1], "-n") == 0)
        return count(argc - 2, argv + 2);
    for (; first + 1 < argc && argv[first][0] == '-'; first += 2) {
        if (strcmp(argv[first], "-t") == 0)
            seconds = atof(argv[first + 1]);
        else if (strcmp(argv[first], "-j") == 0)
            jobs = atoi(argv[first + 1]);
        else
            break;
    }
    for (int i = 0; i < KERNELS; i++) {
        int wanted = first >= argc && !kernels[i].only_if_named;
        for (int a = first; a < argc; a++)
            wanted |= strcmp(argv[a], kernels[i].name) == 0;
        if (!wanted)
            continue;
        found++;
        uint64_t check = kernels[i].check_rounds ? kernels[i].run(kernels[i].check_rounds) : 0;
        double result = jobs > 1 ? rate_of_many(&kernels[i], seconds, jobs) : rate(&kernels[i], seconds);
        printf("%-10s %14.1f %016" PRIx64 "\n", kernels[i].name, result, check);
        fflush(stdout);
    }
    if (!found) {
        fprintf(stderr, "usage: bench [-t SECONDS] [-j JOBS] [NAME...]\n       bench -n NAME:ROUNDS...\nnames:");
        for (int i = 0; i < KERNELS; i++)
            fprintf(stderr, " %s", kernels[i].name);
        fprintf(stderr, "\n");
        return 1;
    }
    return 0;
}
