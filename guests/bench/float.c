/* Floating point: bodies that attract each other and a matrix product in double precision, the
 * Mandelbrot set in single precision. */
#include "bench.h"

#include <math.h>

enum { BODIES = 5 };

struct body {
    double x[3], v[3], mass;
};

/* Double precision, with divisions and square roots. One round is one time step of five bodies. */
uint64_t nbody(uint64_t rounds)
{
    struct body bodies[BODIES] = {
        { { 0.0, 0.0, 0.0 }, { 0.0, 0.0, 0.0 }, 1.0 },
        { { 1.5, 0.0, 0.01 }, { 0.0, 0.8, 0.0 }, 0.001 },
        { { 0.0, 3.0, 0.02 }, { -0.58, 0.0, 0.0 }, 0.002 },
        { { -5.0, 0.0, 0.03 }, { 0.0, -0.45, 0.0 }, 0.003 },
        { { 0.0, -8.0, 0.04 }, { 0.35, 0.0, 0.0 }, 0.004 },
    };
    const double dt = 0.001;
    while (rounds--) {
        for (int i = 0; i < BODIES; i++)
            for (int j = i + 1; j < BODIES; j++) {
                struct body *a = &bodies[i], *b = &bodies[j];
                double d[3], square = 1e-9;
                for (int k = 0; k < 3; k++) {
                    d[k] = a->x[k] - b->x[k];
                    square += d[k] * d[k];
                }
                double magnitude = dt / (square * sqrt(square));
                for (int k = 0; k < 3; k++) {
                    a->v[k] -= d[k] * b->mass * magnitude;
                    b->v[k] += d[k] * a->mass * magnitude;
                }
            }
        for (int i = 0; i < BODIES; i++)
            for (int k = 0; k < 3; k++)
                bodies[i].x[k] += dt * bodies[i].v[k];
    }
    return (uint64_t)(int64_t)(bodies[1].x[0] * 1e15);
}

/* Double precision, with little besides loads, multiplications and additions. One round multiplies
 * a 32 by 32 matrix by a rotation, so that the values stay in bounds for any number of rounds. */
uint64_t matrix(uint64_t rounds)
{
    enum { N = 32 };
    static double a[N][N], rotation[N][N], product[N][N];
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            a[i][j] = 1.0 / (1 + i + j);
            rotation[i][j] = 0.0;
        }
    for (int i = 0; i < N; i += 2) {
        rotation[i][i] = rotation[i + 1][i + 1] = 0.8;
        rotation[i][i + 1] = 0.6;
        rotation[i + 1][i] = -0.6;
    }
    while (rounds--) {
        for (int i = 0; i < N; i++)
            for (int j = 0; j < N; j++) {
                double sum = 0.0;
                for (int k = 0; k < N; k++)
                    sum += a[i][k] * rotation[k][j];
                product[i][j] = sum;
            }
        for (int i = 0; i < N; i++)
            for (int j = 0; j < N; j++)
                a[i][j] = product[i][j];
    }
    return (uint64_t)(int64_t)(a[0][0] * 1e15);
}

/* Single precision, with a comparison in every step. One round is one line of 64 points. */
uint64_t mandelbrot(uint64_t rounds)
{
    enum { POINTS = 64, LINES = 48, STEPS = 200 };
    uint64_t sum = 0;
    for (uint64_t line = 0; line < rounds; line++) {
        float y0 = -1.2f + 2.4f * (float)(line % LINES) / LINES;
        for (int point = 0; point < POINTS; point++) {
            float x0 = -2.0f + 2.6f * (float)point / POINTS, x = 0.0f, y = 0.0f;
            int step = 0;
            while (step < STEPS && x * x + y * y < 4.0f) {
                float next = x * x - y * y + x0;
                y = 2.0f * x * y + y0;
                x = next;
                step++;
            }
            sum += (uint64_t)step;
        }
    }
    return sum;
}
