/* `bench -n NAME:ROUNDS...`, for machines whose time counts instructions (`cargo xtask bench
 * --metal`): so many rounds of each kernel to warm up, then as many again, for which it prints
 * `count NAME ROUNDS TICKS`: how far the machine's timer went. First it says at what tick it
 * started. `@FILE` stands for the words of a file: a kernel takes its command line into its random
 * numbers, so that with another one it boots in another way. As the kernel's first process
 * (`rdinit=`) it powers off at the end. */
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
    /* What the kernel puts off until after its start is done meanwhile, and not counted. */
    if (words > 0)
        sleep(10);
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
        /* In fixed columns: as many characters, whatever the numbers are. */
        printf("count %s %12" PRIu64 " %20" PRIu64 "\n", kernel->name, rounds, ticks() - start);
        fflush(stdout);
    }
    return 0;
}

/* The words of a file; a file that is not there has none. */
static int count_file(const char *name)
{
    static char text[1024];
    char *word[32];
    int words = 0;
    FILE *file = fopen(name, "r");
    if (!file)
        return 0;
    text[fread(text, 1, sizeof text - 1, file)] = 0;
    fclose(file);
    for (char *at = strtok(text, " \n"); at && words < 32; at = strtok(0, " \n"))
        word[words++] = at;
    return count_all(words, word);
}

int count(int words, char **word)
{
    uint64_t start = ticks();
    printf("count start %12d %20" PRIu64 "\n", 1, start);
    fflush(stdout);
    int status = word[0][0] == '@' ? count_file(word[0] + 1) : count_all(words, word);
    if (getpid() == 1) {
        printf("count end %d 0\n", status);
        fflush(stdout);
        sync();
        reboot(RB_POWER_OFF);
    }
    return status;
}
