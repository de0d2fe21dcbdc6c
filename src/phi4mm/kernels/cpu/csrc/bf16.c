/* Matrix products of few rows with bf16 weights. */

#include "kernels.h"
#ifdef __AVX2__
#include <immintrin.h>
#endif

#ifdef __AVX2__
static inline __m256 upcast8(const uint16_t *v) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)v)), 16));
}

/* `rows` (1 to 4, constant when inlined) rows of float32 times two rows of bf16 weights; `in` is a multiple of 8. */
static inline __attribute__((always_inline)) void dots(int rows, const float *x, int64_t in, const uint16_t *w0,
                                                       const uint16_t *w1, float *out) {
    __m256 a[4][2];
    _Pragma("GCC unroll 4") for (int m = 0; m < rows; m++) a[m][0] = a[m][1] = _mm256_setzero_ps();
    for (int64_t k = 0; k < in; k += 8) {
        __m256 v0 = upcast8(w0 + k), v1 = upcast8(w1 + k);
        _Pragma("GCC unroll 4") for (int m = 0; m < rows; m++) {
            __m256 xv = _mm256_loadu_ps(x + m * in + k);
            a[m][0] = _mm256_fmadd_ps(v0, xv, a[m][0]);
            a[m][1] = _mm256_fmadd_ps(v1, xv, a[m][1]);
        }
    }
    _Pragma("GCC unroll 4") for (int m = 0; m < rows; m++) for (int j = 0; j < 2; j++) {
        __m128 h = _mm_add_ps(_mm256_castps256_ps128(a[m][j]), _mm256_extractf128_ps(a[m][j], 1));
        h = _mm_add_ps(h, _mm_movehl_ps(h, h));
        out[2 * m + j] = _mm_cvtss_f32(_mm_add_ss(h, _mm_movehdup_ps(h)));
    }
}
#else
static inline void dots(int rows, const float *x, int64_t in, const uint16_t *w0, const uint16_t *w1, float *out) {
    for (int m = 0; m < rows; m++) {
        out[2 * m] = out[2 * m + 1] = 0;
        for (int64_t k = 0; k < in; k++) {
            out[2 * m] += x[m * in + k] * from_bf16(w0[k]);
            out[2 * m + 1] += x[m * in + k] * from_bf16(w1[k]);
        }
    }
}
#endif

/* y (rows, out) = x (rows, in) @ weight (out, in).T in bf16, summed in float32. `in` is a multiple of 8 and `out` of 2;
   scratch holds rows * in floats. */
void phi4mm_bf16(const Weight *weight, const uint16_t *x, int64_t rows, uint16_t *y, float *scratch, int threads) {
    int64_t in = weight->inputs, out = weight->outputs;
    const uint16_t *values = weight->values;
    for (int64_t i = 0; i < rows * in; i++) scratch[i] = from_bf16(x[i]);
#pragma omp parallel for schedule(static) num_threads(threads_for(rows * in * out, threads))
    for (int64_t n = 0; n < out; n += 2)
        for (int64_t m = 0; m < rows; m += 4) {
            const uint16_t *w0 = values + n * in, *w1 = w0 + in;
            int64_t row_count = rows - m < 4 ? rows - m : 4;
            float result[8];
            if (row_count == 4) dots(4, scratch + m * in, in, w0, w1, result);
            else if (row_count == 3) dots(3, scratch + m * in, in, w0, w1, result);
            else if (row_count == 2) dots(2, scratch + m * in, in, w0, w1, result);
            else dots(1, scratch + m * in, in, w0, w1, result);
            for (int64_t r = 0; r < row_count; r++) {
                y[(m + r) * out + n] = to_bf16(result[2 * r]);
                y[(m + r) * out + n + 1] = to_bf16(result[2 * r + 1]);
            }
        }
}
