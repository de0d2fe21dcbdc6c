/* What the kernels share: conversions between bf16 and float32, and an exponential. */

#ifndef PHI4MM_COMMON_H
#define PHI4MM_COMMON_H

#include <math.h>
#include <stdint.h>
#include <string.h>

static inline float from_bf16(uint16_t v) {
    uint32_t bits = (uint32_t)v << 16;
    float f;
    memcpy(&f, &bits, 4);
    return f;
}

static inline uint16_t to_bf16(float f) {
    uint32_t bits;
    memcpy(&bits, &f, 4);
    if ((bits & 0x7fffffff) > 0x7f800000) return 0x7fc0;
    return (uint16_t)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

static inline float load_x(const void *x, int bf16, int64_t i) {
    return bf16 ? from_bf16(((const uint16_t *)x)[i]) : ((const float *)x)[i];
}

/* Convert `count` numbers from float32 or bf16 to float32, and back. */
static inline void read_floats(const void *x, int bf16, int64_t at, int64_t count, float *to) {
    if (!bf16) memcpy(to, (const float *)x + at, count * sizeof(float));
    else
        for (int64_t i = 0; i < count; i++) to[i] = from_bf16(((const uint16_t *)x)[at + i]);
}

static inline void write_floats(const float *from, int64_t count, void *y, int bf16, int64_t at) {
    if (!bf16) memcpy((float *)y + at, from, count * sizeof(float));
    else
        for (int64_t i = 0; i < count; i++) ((uint16_t *)y)[at + i] = to_bf16(from[i]);
}

static inline void store_y(void *y, int bf16, int64_t i, float v) {
    if (bf16) ((uint16_t *)y)[i] = to_bf16(v);
    else ((float *)y)[i] = v;
}

/* Threads for a region of `work` multiplications: to wake another thread for a small one takes longer than it saves. */
static inline int threads_for(int64_t work, int threads) {
    return work < (int64_t)1 << 20 ? 1 : threads;
}

/* exp(x) for x <= 0, within two units in the last place. Compilers vectorize it, unlike expf. */
static inline float exp_below(float x) {
    x = x < -87.0f ? -87.0f : x;
    float n = nearbyintf(x * 1.44269504f);
    float f = x - n * 0.693359375f + n * 2.12194440e-4f;
    float p = 4.16666667e-2f + f * (8.33333333e-3f + f * 1.38888889e-3f);
    p = 1 + f * (1 + f * (0.5f + f * (1.66666667e-1f + f * p)));
    union { int32_t i; float f; } power = {((int32_t)n + 127) << 23};
    return p * power.f;
}

#endif
