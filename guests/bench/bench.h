/* The kernels of the benchmark. Each does a number of rounds, and its result depends on all of
 * them, so that the compiler can leave nothing out. */
#ifndef BENCH_H
#define BENCH_H

#include <stddef.h>
#include <stdint.h>

uint64_t integer(uint64_t rounds);
uint64_t fibonacci(uint64_t rounds);
uint64_t dispatch(uint64_t rounds);
uint64_t nbody(uint64_t rounds);
uint64_t matrix(uint64_t rounds);
uint64_t mandelbrot(uint64_t rounds);
uint64_t stream(uint64_t rounds);
uint64_t chase(uint64_t rounds);
uint64_t page_fault(uint64_t rounds);
uint64_t null_syscall(uint64_t rounds);
uint64_t fork_exit(uint64_t rounds);
uint64_t fork_exec(uint64_t rounds);
uint64_t shell_loop(uint64_t rounds);
uint64_t pipe_switch(uint64_t rounds);
uint64_t disk_read(uint64_t rounds);
uint64_t net_echo(uint64_t rounds);

struct kernel {
    const char *name;
    uint64_t (*run)(uint64_t rounds);
    uint64_t check_rounds; /* 0: the result says nothing */
    int only_if_named;     /* needs what is not everywhere */
};

const struct kernel *kernel_named(const char *name, size_t length);

/* Runs the kernels that the words name, and counts; gives the exit status. */
int count(int words, char **word);

#endif
