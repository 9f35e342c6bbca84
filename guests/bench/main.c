/* The benchmark, one source for the guest and for the host: `bench [-t SECONDS] [NAME...]` prints
 * one line `NAME ROUNDS_PER_SECOND CHECK` for each kernel. In C, because the point is to compare
 * machines on code by the distribution's own compiler, and gcc for both is one package away.
 *
 * Each kernel runs in growing numbers of rounds until it takes the time asked for; the last run
 * counts. CHECK is the result for a fixed number of rounds, so that a wrong machine shows. */
#define _GNU_SOURCE
#include "bench.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const struct kernel {
    const char *name;
    uint64_t (*run)(uint64_t rounds);
    uint64_t check_rounds; /* 0: the result says nothing */
} kernels[] = {
    { "integer", integer, 16 },
    { "nbody", nbody, 1000 },
    { "fibonacci", fibonacci, 1 },
    { "dispatch", dispatch, 10 },
    { "stream", stream, 1 },
    { "chase", chase, 10 },
    { "syscall", null_syscall, 0 },
    { "pagefault", page_fault, 2 },
    { "fork", fork_exit, 1 },
    { "exec", fork_exec, 1 },
};

enum { KERNELS = sizeof kernels / sizeof kernels[0] };

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

int main(int argc, char **argv)
{
    double seconds = 1.0;
    int first = 1, found = 0;
    if (argc > 2 && strcmp(argv[1], "-t") == 0) {
        seconds = atof(argv[2]);
        first = 3;
    }
    for (int i = 0; i < KERNELS; i++) {
        int wanted = first >= argc;
        for (int a = first; a < argc; a++)
            wanted |= strcmp(argv[a], kernels[i].name) == 0;
        if (!wanted)
            continue;
        found++;
        uint64_t check = kernels[i].check_rounds ? kernels[i].run(kernels[i].check_rounds) : 0;
        printf("%-10s %14.1f %016" PRIx64 "\n", kernels[i].name, rate(&kernels[i], seconds), check);
        fflush(stdout);
    }
    if (!found) {
        fprintf(stderr, "usage: bench [-t SECONDS] [NAME...]\nnames:");
        for (int i = 0; i < KERNELS; i++)
            fprintf(stderr, " %s", kernels[i].name);
        fprintf(stderr, "\n");
        return 1;
    }
    return 0;
}
