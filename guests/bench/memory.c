/* Memory: streaming, chasing pointers, and first touches of pages. */
#define _GNU_SOURCE
#include "bench.h"

#include <stdlib.h>
#include <sys/mman.h>

/* One round is a[i] = b[i] + 3 * c[i] over three arrays of 8 MiB. */
uint64_t stream(uint64_t rounds)
{
    enum { WORDS = 1 << 20 };
    static uint64_t a[WORDS], b[WORDS], c[WORDS];
    for (uint64_t i = 0; i < WORDS; i++) {
        b[i] = i;
        c[i] = i ^ 1;
    }
    while (rounds--) {
        for (uint64_t i = 0; i < WORDS; i++)
            a[i] = b[i] + 3 * c[i];
        b[rounds % WORDS] += a[WORDS - 1];
    }
    return b[0] + a[WORDS / 2];
}

/* One round is 1000 dependent loads; the order is one random cycle through all lines of 4 MiB. */
uint64_t chase(uint64_t rounds)
{
    enum { LINES = 1 << 16, STEP = 8 };
    static uint64_t lines[LINES * STEP];
    static uint32_t order[LINES];
    uint64_t random = 88172645463325252u;
    for (uint32_t i = 0; i < LINES; i++)
        order[i] = i;
    for (uint32_t i = LINES - 1; i > 0; i--) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        uint32_t j = (uint32_t)(random % i), swap = order[i];
        order[i] = order[j];
        order[j] = swap;
    }
    for (uint32_t i = 0; i < LINES; i++)
        lines[order[i] * STEP] = order[(i + 1) % LINES] * STEP;
    uint64_t at = 0;
    for (uint64_t step = 0; step < rounds * 1000; step++)
        at = lines[at];
    return at;
}

/* One round maps, touches and unmaps 64 pages. */
uint64_t page_fault(uint64_t rounds)
{
    enum { PAGE = 4096, PAGES = 64 };
    uint64_t sum = 0;
    while (rounds--) {
        volatile uint8_t *pages = mmap(0, PAGE * PAGES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (pages == MAP_FAILED)
            abort();
        madvise((void *)pages, PAGE * PAGES, MADV_NOHUGEPAGE);
        for (int i = 0; i < PAGES; i++)
            sum += pages[i * PAGE] += (uint8_t)i;
        munmap((void *)pages, PAGE * PAGES);
    }
    return sum;
}
