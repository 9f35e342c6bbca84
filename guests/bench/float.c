/* Double precision: bodies that attract each other. One round is one time step of five bodies. */
#include "bench.h"

#include <math.h>

enum { BODIES = 5 };

struct body {
    double x[3], v[3], mass;
};

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
