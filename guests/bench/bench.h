/* The kernels of the benchmark. Each does a number of rounds, and its result depends on all of
 * them, so that the compiler can leave nothing out. */
#ifndef BENCH_H
#define BENCH_H

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

#endif
