/* Matrix products with packed weights; packed_weight.py describes the order of the codes.

   Each row of the activations is rounded in groups of 64: to int8 for 4-bit weights, to int16 for 8-bit ones. A
   group's sum is exact, in integers; groups are summed in float32, in their order. A row's result does not depend on
   other rows. AVX2 if the compiler has it, else plain C with the same arithmetic. */

#include "kernels.h"
#ifdef __AVX2__
#include <immintrin.h>
#endif

enum {
    GROUP = 64, TILE = 16, ROWS = 4,
    BYTES4 = GROUP * TILE / 2, BYTES8 = GROUP * TILE, /* of codes, for one tile and group */
    PREFETCH_BYTES = 2048, /* how far ahead codes are prefetched */
    L2_BYTES = 256 << 10, /* of rounded rows, so that they stay in the second-level cache */
};

/* Round one row to codes of 8 or 16 bits with a scale for each group; inputs past `in` are zeros.

   4-bit weight codes are stored with 8 added, so each group's sum of products starts at its correction. That is two
   int16: -8 times the sum of the row's codes at the first two of every four inputs, and at the last two. Intermediate
   sums may wrap around; the final ones are at most 127 * 8 * 32 and fit. */
static void round_row(const void *x, int bf16, int64_t offset, int64_t in, int64_t groups, int int16, void *codes,
                      float *scales, int32_t *corrections) {
    float largest_code = int16 ? 32767.0f : 127.0f;
    for (int64_t g = 0; g < groups; g++) {
        float v[GROUP] = {0}, max_abs = 0;
        int64_t first = g * GROUP, count = in - first < GROUP ? in - first : GROUP;
        if (bf16)
            for (int64_t k = 0; k < count; k++) v[k] = from_bf16(((const uint16_t *)x)[offset + first + k]);
        else memcpy(v, (const float *)x + offset + first, count * sizeof(float));
        /* NaN or infinity in a group makes its scale NaN, and so every output of the row. */
        float zero_or_nan = 0;
#pragma omp simd reduction(+ : zero_or_nan)
        for (int k = 0; k < GROUP; k++) zero_or_nan += v[k] * 0.0f;
        if (isnan(zero_or_nan)) memset(v, 0, sizeof v);
#pragma omp simd reduction(max : max_abs)
        for (int k = 0; k < GROUP; k++) max_abs = max_abs > fabsf(v[k]) ? max_abs : fabsf(v[k]);
        float inverse = max_abs > 0 ? largest_code / max_abs : 0.0f;
        if (!(inverse <= 3e38f)) inverse = 0.0f; /* a group of subnormal numbers is rounded to zero */
        int32_t code[GROUP], sums[4] = {0};
        for (int k = 0; k < GROUP; k++) code[k] = (int32_t)nearbyintf(v[k] * inverse);
        if (int16)
            for (int k = 0; k < GROUP; k++) ((int16_t *)codes)[first + k] = (int16_t)code[k];
        else
            for (int k = 0; k < GROUP; k++) ((int8_t *)codes)[first + k] = (int8_t)code[k];
        for (int k = 0; k < GROUP; k += 4)
            for (int j = 0; j < 4; j++) sums[j] += code[k + j];
        int16_t correction[2] = {(int16_t)(-8 * (sums[0] + sums[1])), (int16_t)(-8 * (sums[2] + sums[3]))};
        memcpy(corrections + g, correction, 4);
        scales[g] = (inverse > 0 ? max_abs / largest_code : 0.0f) + zero_or_nan;
    }
}

#ifdef __AVX2__
static inline __m256 scales8(const uint16_t *s) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)s)), 16));
}

/* Multiply four bytes of a row by both halves of a tile and add. In assembly, as compilers reorder such loops until
   they run out of registers, which is a third slower (docs/log.md). */
#define MULTIPLY(multiply, add, a, w0, w1, input)                                                                      \
    {                                                                                                                  \
        __m256i t, u;                                                                                                  \
        __asm__("vpbroadcastd %[x], %[t]\n\t" multiply " %[t], %[v0], %[u]\n\t" add " %[u], %[a0], %[a0]\n\t"          \
                multiply " %[t], %[v1], %[t]\n\t" add " %[t], %[a1], %[a1]"                                            \
                : [a0] "+x"(a[0]), [a1] "+x"(a[1]), [t] "=&x"(t), [u] "=&x"(u)                                         \
                : [v0] "x"(w0), [v1] "x"(w1), [x] "m"(*(const int32_t(*)[1])(input)));                                 \
    }

/* Add the products of four inputs of `rows` rows to the 16-bit sums. */
static inline __attribute__((always_inline)) void step4(int rows, const uint8_t *codes, const int8_t *x,
                                                        int64_t stride, __m256i a[ROWS][2]) {
    const __m256i low_nibble = _mm256_set1_epi8(15);
    __m256i nibbles = _mm256_loadu_si256((const __m256i *)codes);
    __m256i w0 = _mm256_and_si256(nibbles, low_nibble);
    __m256i w1 = _mm256_and_si256(_mm256_srli_epi16(nibbles, 4), low_nibble);
    _Pragma("GCC unroll 4") for (int m = 0; m < rows; m++)
        MULTIPLY("vpmaddubsw", "vpaddw", a[m], w0, w1, x + m * stride)
}

/* `rows` (1 to ROWS, constant when inlined) rows of int8 times one 4-bit tile. */
static inline __attribute__((always_inline)) void tile4(int rows, const int8_t *x, int64_t stride, const float *xs,
                                                        const int32_t *corrections, int64_t groups,
                                                        const uint8_t *codes, const uint16_t *scales, float *out) {
    const __m256i ones = _mm256_set1_epi16(1);
    __m256 total[ROWS][2];
    _Pragma("GCC unroll 4") for (int m = 0; m < rows; m++) total[m][0] = total[m][1] = _mm256_setzero_ps();
    for (int64_t g = 0; g < groups; g++, scales += TILE) {
        for (int byte = 0; byte < BYTES4; byte += 64)
            _mm_prefetch((const char *)codes + PREFETCH_BYTES + byte, _MM_HINT_T0);
        __m256i a[ROWS][2];
        _Pragma("GCC unroll 4") for (int m = 0; m < rows; m++)
            a[m][0] = a[m][1] = _mm256_set1_epi32(corrections[m * groups + g]);
        if (rows == 1) /* unrolled: two threads of one core are bound by instructions, not by memory */
#pragma GCC unroll 16
            for (int k = 0; k < GROUP; k += 4) step4(rows, codes + 8 * k, x + g * GROUP + k, stride, a);
        else
#pragma GCC unroll 1
            for (int k = 0; k < GROUP; k += 4) step4(rows, codes + 8 * k, x + g * GROUP + k, stride, a);
        codes += BYTES4;
        __m256 s0 = scales8(scales), s1 = scales8(scales + 8);
        _Pragma("GCC unroll 4") for (int m = 0; m < rows; m++) {
            __m256 xg = _mm256_set1_ps(xs[m * groups + g]);
            __m256 f0 = _mm256_cvtepi32_ps(_mm256_madd_epi16(a[m][0], ones));
            __m256 f1 = _mm256_cvtepi32_ps(_mm256_madd_epi16(a[m][1], ones));
            total[m][0] = _mm256_fmadd_ps(f0, _mm256_mul_ps(s0, xg), total[m][0]);
            total[m][1] = _mm256_fmadd_ps(f1, _mm256_mul_ps(s1, xg), total[m][1]);
        }
    }
    _Pragma("GCC unroll 4") for (int m = 0; m < rows; m++) {
        _mm256_storeu_ps(out + m * TILE, total[m][0]);
        _mm256_storeu_ps(out + m * TILE + 8, total[m][1]);
    }
}

/* Add the products of two inputs of `rows` rows to the 32-bit sums. */
static inline __attribute__((always_inline)) void step8(int rows, const uint8_t *codes, const int16_t *x,
                                                        int64_t stride, __m256i a[ROWS][2]) {
    __m256i w0 = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)codes));
    __m256i w1 = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(codes + 16)));
    _Pragma("GCC unroll 4") for (int m = 0; m < rows; m++)
        MULTIPLY("vpmaddwd", "vpaddd", a[m], w0, w1, x + m * stride)
}

/* `rows` rows of int16 times one 8-bit tile. */
static inline __attribute__((always_inline)) void tile8(int rows, const int16_t *x, int64_t stride, const float *xs,
                                                        int64_t groups, const uint8_t *codes, const uint16_t *scales,
                                                        float *out) {
    __m256 total[ROWS][2];
    _Pragma("GCC unroll 4") for (int m = 0; m < rows; m++) total[m][0] = total[m][1] = _mm256_setzero_ps();
    for (int64_t g = 0; g < groups; g++, scales += TILE) {
        for (int byte = 0; byte < BYTES8; byte += 64)
            _mm_prefetch((const char *)codes + PREFETCH_BYTES + byte, _MM_HINT_T0);
        __m256i a[ROWS][2];
        _Pragma("GCC unroll 4") for (int m = 0; m < rows; m++) a[m][0] = a[m][1] = _mm256_setzero_si256();
        if (rows == 1)
#pragma GCC unroll 16
            for (int k = 0; k < GROUP; k += 2) step8(rows, codes + 16 * k, x + g * GROUP + k, stride, a);
        else
#pragma GCC unroll 1
            for (int k = 0; k < GROUP; k += 2) step8(rows, codes + 16 * k, x + g * GROUP + k, stride, a);
        codes += BYTES8;
        __m256 s0 = scales8(scales), s1 = scales8(scales + 8);
        _Pragma("GCC unroll 4") for (int m = 0; m < rows; m++) {
            __m256 xg = _mm256_set1_ps(xs[m * groups + g]);
            total[m][0] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(a[m][0]), _mm256_mul_ps(s0, xg), total[m][0]);
            total[m][1] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(a[m][1]), _mm256_mul_ps(s1, xg), total[m][1]);
        }
    }
    _Pragma("GCC unroll 4") for (int m = 0; m < rows; m++) {
        _mm256_storeu_ps(out + m * TILE, total[m][0]);
        _mm256_storeu_ps(out + m * TILE + 8, total[m][1]);
    }
}
#else
static inline void tile4(int rows, const int8_t *x, int64_t stride, const float *xs, const int32_t *corrections,
                         int64_t groups, const uint8_t *codes, const uint16_t *scales, float *out) {
    memset(out, 0, rows * TILE * sizeof(float));
    for (int64_t g = 0; g < groups; g++, codes += BYTES4, scales += TILE)
        for (int m = 0; m < rows; m++) {
            int32_t a[TILE];
            int16_t correction[2];
            memcpy(correction, corrections + m * groups + g, 4);
            for (int n = 0; n < TILE; n++) a[n] = correction[0] + correction[1];
            for (int k = 0; k < GROUP; k++)
                for (int n = 0; n < 8; n++) {
                    uint8_t nibbles = codes[k / 4 * 32 + 4 * n + k % 4];
                    a[n] += x[m * stride + g * GROUP + k] * (nibbles & 15);
                    a[n + 8] += x[m * stride + g * GROUP + k] * (nibbles >> 4);
                }
            for (int n = 0; n < TILE; n++)
                out[m * TILE + n] += (float)a[n] * (from_bf16(scales[n]) * xs[m * groups + g]);
        }
}

static inline void tile8(int rows, const int16_t *x, int64_t stride, const float *xs, int64_t groups,
                         const uint8_t *codes, const uint16_t *scales, float *out) {
    memset(out, 0, rows * TILE * sizeof(float));
    for (int64_t g = 0; g < groups; g++, codes += BYTES8, scales += TILE)
        for (int m = 0; m < rows; m++) {
            int32_t a[TILE] = {0};
            for (int k = 0; k < GROUP; k++)
                for (int n = 0; n < TILE; n++)
                    a[n] += (int32_t)x[m * stride + g * GROUP + k] * (int8_t)codes[k / 2 * 32 + 2 * n + k % 2];
            for (int n = 0; n < TILE; n++)
                out[m * TILE + n] += (float)a[n] * (from_bf16(scales[n]) * xs[m * groups + g]);
        }
}
#endif

/* Write `count` outputs of one row and tile to y, or with `add` add them times `factor`. */
static inline void store(const float *result, int64_t count, void *y, int bf16, int64_t at, int add, float factor) {
    float v[TILE] = {0};
    if (add)
        for (int64_t n = 0; n < count; n++) v[n] = load_x(y, bf16, at + n) + factor * result[n];
    else memcpy(v, result, sizeof v);
    if (!bf16) memcpy((float *)y + at, v, count * sizeof(float));
    else {
        uint16_t rounded[TILE];
        for (int n = 0; n < TILE; n++) rounded[n] = to_bf16(v[n]);
        memcpy((uint16_t *)y + at, rounded, count * sizeof(uint16_t));
    }
}

/* Bytes of scratch that phi4mm_packed needs. */
int64_t phi4mm_packed_scratch(int64_t rows, int64_t inputs, int64_t bits) {
    int64_t groups = (inputs + GROUP - 1) / GROUP;
    return rows * groups * (GROUP * (bits == 4 ? 1 : 2) + 8);
}

/* y (rows, outputs) = x (rows, inputs) @ weight.T, or with `add` y += factor * x @ weight.T; x and y are float32 or
   bf16, both the same. */
void phi4mm_packed(const Weight *weight, const void *x, int bf16, int64_t rows, void *y, int add, float factor,
                   void *scratch, int threads) {
    const uint8_t *codes = weight->values;
    const uint16_t *scales = weight->scales;
    int64_t in = weight->inputs, out = weight->outputs, bits = weight->bits;
    int64_t groups = (in + GROUP - 1) / GROUP, tiles = (out + TILE - 1) / TILE, stride = groups * GROUP;
    int64_t tile_bytes = groups * (bits == 4 ? BYTES4 : BYTES8), width = bits == 4 ? 1 : 2;
    float *xs = scratch;
    int32_t *corrections = (int32_t *)(xs + rows * groups);
    char *xq = (char *)(corrections + rows * groups);
    int64_t block = L2_BYTES / (stride * width) / ROWS * ROWS;
    if (block < 4 * ROWS) block = 4 * ROWS;
#pragma omp parallel num_threads(threads_for(rows * in * out, threads))
    {
#pragma omp for schedule(static)
        for (int64_t m = 0; m < rows; m++)
            round_row(x, bf16, m * in, in, groups, bits == 8, xq + m * stride * width, xs + m * groups,
                      corrections + m * groups);
        for (int64_t first = 0; first < rows; first += block) {
            int64_t last = first + block < rows ? first + block : rows;
#pragma omp for schedule(static) nowait
            for (int64_t t = 0; t < tiles; t++) {
                const uint8_t *c = codes + t * tile_bytes;
                const uint16_t *s = scales + t * groups * TILE;
                int64_t n = out - t * TILE < TILE ? out - t * TILE : TILE;
                for (int64_t m = first; m < last; m += ROWS) {
                    float result[ROWS * TILE];
                    int64_t row_count = last - m < ROWS ? last - m : ROWS, g = m * groups;
                    if (bits == 4) {
                        const int8_t *q = (const int8_t *)xq + m * stride;
                        if (row_count == 4) tile4(4, q, stride, xs + g, corrections + g, groups, c, s, result);
                        else if (row_count == 3) tile4(3, q, stride, xs + g, corrections + g, groups, c, s, result);
                        else if (row_count == 2) tile4(2, q, stride, xs + g, corrections + g, groups, c, s, result);
                        else tile4(1, q, stride, xs + g, corrections + g, groups, c, s, result);
                    } else {
                        const int16_t *q = (const int16_t *)xq + m * stride;
                        if (row_count == 4) tile8(4, q, stride, xs + g, groups, c, s, result);
                        else if (row_count == 3) tile8(3, q, stride, xs + g, groups, c, s, result);
                        else if (row_count == 2) tile8(2, q, stride, xs + g, groups, c, s, result);
                        else tile8(1, q, stride, xs + g, groups, c, s, result);
                    }
                    for (int64_t r = 0; r < row_count; r++)
                        store(result + r * TILE, n, y, bf16, (m + r) * out + t * TILE, add, factor);
                }
            }
        }
    }
}

/* Unpack tiles [first, last) to `out` (16 * tiles, inputs), float32 or bf16, with the padding of the last tile. */
void phi4mm_unpack(const Weight *weight, int64_t first, int64_t last, void *out, int bf16, int threads) {
    const uint8_t *codes = weight->values;
    const uint16_t *scales = weight->scales;
    int64_t in = weight->inputs, bits = weight->bits;
    int64_t groups = (in + GROUP - 1) / GROUP, size = bits == 4 ? BYTES4 : BYTES8;
#pragma omp parallel for schedule(static) num_threads(threads_for((last - first) * TILE * in, threads))
    for (int64_t t = first; t < last; t++)
        for (int64_t g = 0; g < groups; g++) {
            const uint8_t *c = codes + (t * groups + g) * size;
            const uint16_t *s = scales + (t * groups + g) * TILE;
            int64_t count = in - g * GROUP < GROUP ? in - g * GROUP : GROUP;
            for (int n = 0; n < TILE; n++) {
                float scale = from_bf16(s[n]), v[GROUP];
                for (int k = 0; k < GROUP; k++)
                    v[k] = scale * (bits == 4 ? (float)((c[k / 4 * 32 + n % 8 * 4 + k % 4] >> (n / 8 * 4) & 15) - 8)
                                              : (float)(int8_t)c[k / 2 * 32 + 2 * n + k % 2]);
                int64_t at = ((t - first) * TILE + n) * in + g * GROUP;
                for (int64_t k = 0; k < count; k++) store_y(out, bf16, at + k, v[k]);
            }
        }
}
