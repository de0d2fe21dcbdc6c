/* The decoder's operators other than products and attention. They work on PART floats of a row at a time. */

#include "kernels.h"

enum { PART = 256 };

static inline int64_t part_of(int64_t width, int64_t at) { return width - at < PART ? width - at : PART; }

/* y = weight * (x / rms(x)), (rows, width) in float32 or bf16. The normalised x is rounded to its dtype before it is
   multiplied by the weight, as in the published implementation. */
void phi4mm_rms_norm(const void *x, int bf16, int64_t rows, int64_t width, const void *weight, float eps, void *y,
                     int threads) {
#pragma omp parallel for schedule(static) num_threads(threads_for(8 * rows * width, threads))
    for (int64_t m = 0; m < rows; m++) {
        float v[PART], w[PART], sums[8] = {0}, sum = 0;
        for (int64_t at = 0; at < width; at += PART) {
            int64_t count = part_of(width, at);
            read_floats(x, bf16, m * width + at, count, v);
            memset(v + count, 0, (PART - count) * sizeof(float));
            for (int i = 0; i < PART; i += 8)
                for (int j = 0; j < 8; j++) sums[j] += v[i + j] * v[i + j];
        }
        for (int j = 0; j < 8; j++) sum += sums[j];
        float inverse_rms = 1.0f / sqrtf(sum / (float)width + eps);
        for (int64_t at = 0; at < width; at += PART) {
            int64_t count = part_of(width, at);
            read_floats(x, bf16, m * width + at, count, v);
            read_floats(weight, bf16, at, count, w);
            for (int64_t i = 0; i < count; i++) v[i] *= inverse_rms;
            if (bf16)
                for (int64_t i = 0; i < count; i++) v[i] = from_bf16(to_bf16(v[i]));
            for (int64_t i = 0; i < count; i++) v[i] *= w[i];
            write_floats(v, count, y, bf16, m * width + at);
        }
    }
}

/* Rotate the first 2 * half dims of the first `heads` of `total_heads` heads of each token in place. half is at most
   PART; cos and sin (rows, 2 * half) have every angle twice. */
void phi4mm_rotate(void *x, int bf16, int64_t rows, int64_t total_heads, int64_t heads, int64_t width, const void *cos,
                   const void *sin, int64_t half, int threads) {
#pragma omp parallel for schedule(static) num_threads(threads_for(16 * rows * heads * half, threads))
    for (int64_t m = 0; m < rows; m++) {
        float c[PART], s[PART], a[PART], b[PART], first[PART], second[PART];
        read_floats(cos, bf16, m * 2 * half, half, c);
        read_floats(sin, bf16, m * 2 * half, half, s);
        for (int64_t h = 0; h < heads; h++) {
            int64_t at = (m * total_heads + h) * width;
            read_floats(x, bf16, at, half, a);
            read_floats(x, bf16, at + half, half, b);
            for (int64_t i = 0; i < half; i++) {
                first[i] = a[i] * c[i] - b[i] * s[i];
                second[i] = b[i] * c[i] + a[i] * s[i];
            }
            write_floats(first, half, x, bf16, at);
            write_floats(second, half, x, bf16, at + half);
        }
    }
}

/* y (rows, width) = up * silu(gate) of (rows, 2 * width), gate first. */
void phi4mm_swiglu(const void *x, int bf16, int64_t rows, int64_t width, void *y, int threads) {
#pragma omp parallel for schedule(static) num_threads(threads_for(32 * rows * width, threads)) collapse(2)
    for (int64_t m = 0; m < rows; m++)
        for (int64_t at = 0; at < width; at += PART) {
            float gate[PART], up[PART];
            int64_t count = part_of(width, at);
            read_floats(x, bf16, 2 * m * width + at, count, gate);
            read_floats(x, bf16, (2 * m + 1) * width + at, count, up);
            for (int64_t i = 0; i < count; i++) {
                float e = exp_below(-fabsf(gate[i]));
                up[i] = up[i] * gate[i] * ((gate[i] >= 0 ? 1 : e) / (1 + e));
            }
            write_floats(up, count, y, bf16, m * width + at);
        }
}

/* x += y, `count` numbers. */
void phi4mm_add(void *x, const void *y, int bf16, int64_t count) {
    for (int64_t at = 0; at < count; at += PART) {
        float a[PART], b[PART];
        int64_t n = part_of(count, at);
        read_floats(x, bf16, at, n, a);
        read_floats(y, bf16, at, n, b);
        for (int64_t i = 0; i < n; i++) a[i] += b[i];
        write_floats(a, n, x, bf16, at);
    }
}

/* Copy rows of `bytes` bytes, which are `stride` bytes apart, to their slots. Returns 1 if a slot is not in
   [0, slot_count), else 0. */
int phi4mm_scatter(const void *from, int64_t rows, int64_t bytes, int64_t stride, const int64_t *slots, void *to,
                   int64_t slot_count) {
    for (int64_t m = 0; m < rows; m++) {
        if (slots[m] < 0 || slots[m] >= slot_count) return 1;
        memcpy((char *)to + slots[m] * bytes, (const char *)from + m * stride, bytes);
    }
    return 0;
}
