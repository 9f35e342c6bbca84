/* Integer work of the kind CoreMark does, in our own code: one round reverses, searches and sorts a
 * linked list, multiplies small matrices, runs a state machine over text, and checksums it all.
 * Also recursive calls and an interpreter's dispatch loop. */
#include "bench.h"

static uint16_t crc16(uint16_t crc, uint16_t value)
{
    for (int bit = 0; bit < 16; bit++) {
        int carry = (crc ^ value) & 1;
        crc >>= 1;
        value >>= 1;
        if (carry)
            crc ^= 0xa001;
    }
    return crc;
}

struct item {
    struct item *next;
    int16_t key, value;
};

enum { ITEMS = 64, SIDE = 10 };

static uint16_t lists(struct item *items, uint16_t seed)
{
    for (int i = 0; i < ITEMS; i++) {
        items[i].next = i + 1 < ITEMS ? &items[i + 1] : 0;
        items[i].key = (int16_t)((i * 7 + seed) % ITEMS);
        items[i].value = (int16_t)(seed ^ i);
    }
    struct item *head = items, *sorted = 0;
    uint16_t crc = seed;
    for (int find = 0; find < 16; find++) {
        struct item *reversed = 0;
        while (head) {
            struct item *next = head->next;
            head->next = reversed;
            reversed = head;
            head = next;
        }
        head = reversed;
        struct item *at = head;
        while (at && at->key != (find * 5) % ITEMS)
            at = at->next;
        if (at)
            crc = crc16(crc, (uint16_t)at->value);
    }
    while (head) {
        struct item *next = head->next, **place = &sorted;
        while (*place && (*place)->key < head->key)
            place = &(*place)->next;
        head->next = *place;
        *place = head;
        head = next;
    }
    for (; sorted; sorted = sorted->next)
        crc = crc16(crc, (uint16_t)(sorted->key + sorted->value));
    return crc;
}

static uint16_t matrices(uint16_t seed)
{
    int16_t a[SIDE][SIDE], b[SIDE][SIDE];
    uint16_t crc = seed;
    for (int i = 0; i < SIDE; i++)
        for (int j = 0; j < SIDE; j++) {
            a[i][j] = (int16_t)(seed + i * SIDE + j);
            b[i][j] = (int16_t)(seed - i + j * SIDE);
        }
    for (int i = 0; i < SIDE; i++)
        for (int j = 0; j < SIDE; j++) {
            uint32_t sum = 0;
            for (int k = 0; k < SIDE; k++) {
                uint32_t product = (uint32_t)(a[i][k] * b[k][j]);
                sum += product + (product >> 2 & 15);
            }
            crc = crc16(crc, (uint16_t)sum);
        }
    return crc;
}

enum state { START, SIGN, NUMBER, POINT, EXPONENT, INVALID, STATES };

static uint16_t machine(uint16_t seed)
{
    static const char text[] = "12,-7.5,+3e9,x1,0.25,99,1e-4,--,8.,4711,+,3.14159,5e,abc,-0,";
    uint32_t count[STATES] = { 0 };
    enum state state = START;
    for (unsigned i = 0; i < sizeof text - 1; i++) {
        char c = text[(i + seed) % (sizeof text - 1)];
        if (c == ',') {
            count[state]++;
            state = START;
            continue;
        }
        int digit = c >= '0' && c <= '9';
        switch (state) {
        case START: state = digit ? NUMBER : c == '+' || c == '-' ? SIGN : INVALID; break;
        case SIGN: state = digit ? NUMBER : INVALID; break;
        case NUMBER: state = digit ? NUMBER : c == '.' ? POINT : c == 'e' ? EXPONENT : INVALID; break;
        case POINT: state = digit ? POINT : c == 'e' ? EXPONENT : INVALID; break;
        case EXPONENT: state = digit || c == '-' ? EXPONENT : INVALID; break;
        default: break;
        }
    }
    uint16_t crc = seed;
    for (int i = 0; i < STATES; i++)
        crc = crc16(crc, (uint16_t)count[i]);
    return crc;
}

uint64_t integer(uint64_t rounds)
{
    struct item items[ITEMS];
    uint16_t crc = 1;
    while (rounds--) {
        crc = lists(items, crc);
        crc = matrices(crc);
        crc = machine(crc);
    }
    return crc;
}

static __attribute__((noinline, noclone)) uint64_t fib(uint64_t n)
{
    return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

/* One round is fib(20), about 22 thousand calls if the compiler keeps them all; it may not, but
 * then it does the same for every machine of its architecture. */
uint64_t fibonacci(uint64_t rounds)
{
    uint64_t sum = 0;
    while (rounds--)
        sum += fib(20);
    return sum;
}

/* A tiny bytecode interpreter; one round is 1000 of its steps, each an indirect jump. */
uint64_t dispatch(uint64_t rounds)
{
    static const uint8_t code[] = { 0, 3, 1, 5, 2, 4, 6, 0, 1, 3, 7, 2, 5, 4, 1, 6 };
    uint64_t a = 1, b = 2, c = 3;
    for (uint64_t step = 0; step < rounds * 1000; step++) {
        switch (code[(step + (a & 3)) & 15]) {
        case 0: a += b; break;
        case 1: b ^= c; break;
        case 2: c -= a; break;
        case 3: a <<= 1; break;
        case 4: b >>= 1; break;
        case 5: c |= b; break;
        case 6: a ^= c >> 3; break;
        case 7: b += 7; break;
        }
    }
    return a ^ b ^ c;
}
