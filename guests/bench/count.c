/* `bench -n NAME:ROUNDS...`, for machines whose time counts instructions (`cargo xtask bench
 * --metal`): so many rounds of each kernel to warm up, then as many again, for which it prints
 * `count NAME ROUNDS TICKS`: how far the machine's timer went. First it says at what tick it
 * started. As the kernel's first process (`rdinit=`) it powers off at the end. */
#define _GNU_SOURCE
#include "bench.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/reboot.h>
#include <time.h>
#include <unistd.h>

static uint64_t ticks(void)
{
#ifdef __riscv
    uint64_t ticks;
    __asm__ volatile("rdtime %0" : "=r"(ticks));
    return ticks;
#else
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 10000000 + (uint64_t)t.tv_nsec / 100;
#endif
}

static volatile uint64_t sink;

static int count_all(int words, char **word)
{
    for (int i = 0; i < words; i++) {
        char *colon = strchr(word[i], ':');
        const struct kernel *kernel = colon ? kernel_named(word[i], (size_t)(colon - word[i])) : 0;
        if (!kernel) {
            fprintf(stderr, "bench: %s: no NAME:ROUNDS\n", word[i]);
            return 1;
        }
        uint64_t rounds = strtoull(colon + 1, 0, 10);
        sink = kernel->run(rounds);
        uint64_t start = ticks();
        sink = kernel->run(rounds);
        printf("count %s %" PRIu64 " %" PRIu64 "\n", kernel->name, rounds, ticks() - start);
        fflush(stdout);
    }
    return 0;
}

int count(int words, char **word)
{
    uint64_t start = ticks();
    printf("count start 1 %" PRIu64 "\n", start);
    fflush(stdout);
    int status = strcmp(word[0], "nothing") == 0 ? 0 : count_all(words, word);
    if (getpid() == 1) {
        printf("count end %d 0\n", status);
        fflush(stdout);
        sync();
        reboot(RB_POWER_OFF);
    }
    return status;
}
