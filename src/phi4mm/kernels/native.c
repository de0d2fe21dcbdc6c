/* Products of activations with packed weights (packed.py gives the order of the codes), and with bf16 weights.

   Activations are rounded row by row in groups of 32: to int8 for 4-bit weights, to int16 for 8-bit ones. Each group's
   sum is exact in integers; groups are added up in float32 in their order. A row's result depends on no other row.
   AVX2 where the compiler has it; plain C, the same arithmetic, elsewhere. */

#include <math.h>
#include <stdint.h>
#include <string.h>
#ifdef __AVX2__
#include <immintrin.h>
#endif

enum { GROUP = 32, TILE = 16, ROWS = 4, AHEAD = 2048 /* bytes of codes asked of memory in advance */ };

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

static inline void store_y(void *y, int bf16, int64_t i, float v) {
    if (bf16) ((uint16_t *)y)[i] = to_bf16(v);
    else ((float *)y)[i] = v;
}

/* One row to codes of 8 or 16 bits and a scale a group; inputs past `in` are zeros.

   4-bit weight codes are stored 8 too large, so sums of products begin at `starts`: as two int16, minus 8 times the sum
   of the row's codes at the first, and at the last, two of every four places. Partial sums stay within 127 * 8 * 16. */
static void round_row(const void *x, int bf16, int64_t offset, int64_t in, int64_t groups, int wide, void *codes,
                      float *scales, int32_t *starts) {
    float largest_code = wide ? 32767.0f : 127.0f;
    for (int64_t g = 0; g < groups; g++) {
        float v[GROUP], top = 0;
        for (int k = 0; k < GROUP; k++) {
            int64_t i = g * GROUP + k;
            v[k] = i < in ? load_x(x, bf16, offset + i) : 0.0f;
        }
        for (int k = 0; k < GROUP; k++) top = fmaxf(top, fabsf(v[k]));
        float inverse = top > 0 ? largest_code / top : 0.0f;
        if (!(inverse <= 3e38f)) inverse = 0.0f; /* a group of subnormal numbers counts as zero */
        int16_t start[2] = {0, 0};
        for (int k = 0; k < GROUP; k++) {
            int32_t code = (int32_t)nearbyintf(v[k] * inverse);
            if (wide) ((int16_t *)codes)[g * GROUP + k] = (int16_t)code;
            else {
                ((int8_t *)codes)[g * GROUP + k] = (int8_t)code;
                start[k % 4 / 2] -= (int16_t)(8 * code);
            }
        }
        /* NaN or infinity anywhere makes the scale NaN, and with it every output of the row. */
        float spread = 0;
        for (int k = 0; k < GROUP; k++) spread += v[k] * 0.0f;
        scales[g] = (inverse > 0 ? top / largest_code : 0.0f) + spread;
        memcpy(starts + g, start, 4);
    }
}

#ifdef __AVX2__
static inline __m256 scales8(const uint16_t *s) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)s)), 16));
}

/* `rows` (1 to ROWS, constant when inlined) rows of int8 by one 4-bit tile. */
static inline __attribute__((always_inline)) void tile4(int rows, const int8_t *x, int64_t stride, const float *xs,
                                                        const int32_t *starts, int64_t groups,
                                                        const uint8_t *codes, const uint16_t *scales, float *out) {
    const __m256i low = _mm256_set1_epi8(15), ones = _mm256_set1_epi16(1);
    __m256 total[ROWS][2];
    _Pragma("GCC unroll 4") for (int m = 0; m < rows; m++) total[m][0] = total[m][1] = _mm256_setzero_ps();
    for (int64_t g = 0; g < groups; g++, codes += 256, scales += TILE) {
        for (int line = 0; line < 256; line += 64) _mm_prefetch((const char *)codes + AHEAD + line, _MM_HINT_T0);
        __m256i a[ROWS][2];
        _Pragma("GCC unroll 4") for (int m = 0; m < rows; m++) a[m][0] = a[m][1] = _mm256_set1_epi32(starts[m * groups + g]);
#pragma GCC unroll 1 /* unrolled, GCC keeps products instead of sums and runs out of registers */
        for (int s = 0; s < 8; s++) {
            __m256i both = _mm256_loadu_si256((const __m256i *)(codes + 32 * s));
            __m256i w0 = _mm256_and_si256(both, low), w1 = _mm256_and_si256(_mm256_srli_epi16(both, 4), low);
            _Pragma("GCC unroll 4") for (int m = 0; m < rows; m++) {
                int32_t four;
                memcpy(&four, x + m * stride + g * GROUP + 4 * s, 4);
                __m256i xb = _mm256_set1_epi32(four);
                a[m][0] = _mm256_add_epi16(a[m][0], _mm256_maddubs_epi16(w0, xb));
                a[m][1] = _mm256_add_epi16(a[m][1], _mm256_maddubs_epi16(w1, xb));
            }
        }
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

/* The same for int16 rows by one 8-bit tile. */
static inline __attribute__((always_inline)) void tile8(int rows, const int16_t *x, int64_t stride, const float *xs,
                                                        int64_t groups, const uint8_t *codes, const uint16_t *scales,
                                                        float *out) {
    __m256 total[ROWS][2];
    _Pragma("GCC unroll 4") for (int m = 0; m < rows; m++) total[m][0] = total[m][1] = _mm256_setzero_ps();
    for (int64_t g = 0; g < groups; g++, codes += 512, scales += TILE) {
        for (int line = 0; line < 512; line += 64) _mm_prefetch((const char *)codes + AHEAD + line, _MM_HINT_T0);
        __m256i a[ROWS][2];
        _Pragma("GCC unroll 4") for (int m = 0; m < rows; m++) a[m][0] = a[m][1] = _mm256_setzero_si256();
#pragma GCC unroll 1
        for (int s = 0; s < 16; s++) {
            __m256i w0 = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(codes + 32 * s)));
            __m256i w1 = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(codes + 32 * s + 16)));
            _Pragma("GCC unroll 4") for (int m = 0; m < rows; m++) {
                int32_t two;
                memcpy(&two, x + m * stride + g * GROUP + 2 * s, 4);
                __m256i xb = _mm256_set1_epi32(two);
                a[m][0] = _mm256_add_epi32(a[m][0], _mm256_madd_epi16(w0, xb));
                a[m][1] = _mm256_add_epi32(a[m][1], _mm256_madd_epi16(w1, xb));
            }
        }
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
static inline void tile4(int rows, const int8_t *x, int64_t stride, const float *xs, const int32_t *starts,
                         int64_t groups, const uint8_t *codes, const uint16_t *scales, float *out) {
    for (int m = 0; m < rows; m++)
        for (int n = 0; n < TILE; n++) out[m * TILE + n] = 0;
    for (int64_t g = 0; g < groups; g++, codes += 256, scales += TILE)
        for (int m = 0; m < rows; m++) {
            int32_t a[TILE];
            int16_t start[2];
            memcpy(start, starts + m * groups + g, 4);
            for (int n = 0; n < TILE; n++) a[n] = start[0] + start[1];
            for (int s = 0; s < 8; s++)
                for (int n = 0; n < 8; n++)
                    for (int k = 0; k < 4; k++) {
                        int32_t v = x[m * stride + g * GROUP + 4 * s + k];
                        uint8_t both = codes[32 * s + 4 * n + k];
                        a[n] += v * (both & 15);
                        a[n + 8] += v * (both >> 4);
                    }
            for (int n = 0; n < TILE; n++)
                out[m * TILE + n] += (float)a[n] * (from_bf16(scales[n]) * xs[m * groups + g]);
        }
}

static inline void tile8(int rows, const int16_t *x, int64_t stride, const float *xs, int64_t groups,
                         const uint8_t *codes, const uint16_t *scales, float *out) {
    for (int m = 0; m < rows; m++)
        for (int n = 0; n < TILE; n++) out[m * TILE + n] = 0;
    for (int64_t g = 0; g < groups; g++, codes += 512, scales += TILE)
        for (int m = 0; m < rows; m++) {
            int32_t a[TILE] = {0};
            for (int s = 0; s < 16; s++)
                for (int n = 0; n < TILE; n++)
                    for (int k = 0; k < 2; k++)
                        a[n] += (int32_t)x[m * stride + g * GROUP + 2 * s + k] * (int8_t)codes[32 * s + 2 * n + k];
            for (int n = 0; n < TILE; n++)
                out[m * TILE + n] += (float)a[n] * (from_bf16(scales[n]) * xs[m * groups + g]);
        }
}
#endif

/* Bytes of scratch that phi4mm_packed needs. */
int64_t phi4mm_packed_scratch(int64_t rows, int64_t groups, int bits) {
    return rows * groups * (GROUP * (bits == 4 ? 1 : 2) + 8);
}

/* y (rows, out) = x (rows, in) @ weight.T, or y += factor * that where factor is not 0; x and y float32 or bf16, both
   the same; y's rows lie `y_stride` apart. */
void phi4mm_packed(const void *x, int bf16, int64_t rows, int64_t in, const uint8_t *codes, const uint16_t *scales,
                   int bits, int64_t out, void *y, int64_t y_stride, float factor, void *scratch, int threads) {
    int64_t groups = (in + GROUP - 1) / GROUP, tiles = (out + TILE - 1) / TILE, stride = groups * GROUP;
    int64_t tile_bytes = groups * (bits == 4 ? 256 : 512), width = bits == 4 ? 1 : 2;
    float *xs = scratch;
    int32_t *starts = (int32_t *)(xs + rows * groups);
    char *xq = (char *)(starts + rows * groups);
    int64_t block = (256 << 10) / (stride * width) / ROWS * ROWS; /* rows that stay in the second-level cache */
    if (block < 4 * ROWS) block = 4 * ROWS;
#pragma omp parallel num_threads(threads)
    {
#pragma omp for schedule(static)
        for (int64_t m = 0; m < rows; m++)
            round_row(x, bf16, m * in, in, groups, bits == 8, xq + m * stride * width, xs + m * groups, starts + m * groups);
        for (int64_t first = 0; first < rows; first += block) {
            int64_t last = first + block < rows ? first + block : rows;
#pragma omp for schedule(static) nowait
            for (int64_t t = 0; t < tiles; t++)
                for (int64_t m = first; m < last; m += ROWS) {
                    float found[ROWS * TILE];
                    const uint8_t *c = codes + t * tile_bytes;
                    const uint16_t *s = scales + t * groups * TILE;
                    int64_t left = last - m < ROWS ? last - m : ROWS, g = m * groups;
                    if (bits == 4) {
                        const int8_t *q = (const int8_t *)xq + m * stride;
                        if (left == 4) tile4(4, q, stride, xs + g, starts + g, groups, c, s, found);
                        else if (left == 3) tile4(3, q, stride, xs + g, starts + g, groups, c, s, found);
                        else if (left == 2) tile4(2, q, stride, xs + g, starts + g, groups, c, s, found);
                        else tile4(1, q, stride, xs + g, starts + g, groups, c, s, found);
                    } else {
                        const int16_t *q = (const int16_t *)xq + m * stride;
                        if (left == 4) tile8(4, q, stride, xs + g, groups, c, s, found);
                        else if (left == 3) tile8(3, q, stride, xs + g, groups, c, s, found);
                        else if (left == 2) tile8(2, q, stride, xs + g, groups, c, s, found);
                        else tile8(1, q, stride, xs + g, groups, c, s, found);
                    }
                    int64_t n_end = out - t * TILE < TILE ? out - t * TILE : TILE;
                    for (int64_t r = 0; r < left; r++)
                        for (int64_t n = 0; n < n_end; n++) {
                            int64_t i = (m + r) * y_stride + t * TILE + n;
                            float v = found[r * TILE + n];
                            store_y(y, bf16, i, factor == 0 ? v : load_x(y, bf16, i) + factor * v);
                        }
                }
        }
    }
}

#ifdef __AVX2__
/* ROWS_BF16 rows of float32 by two rows of bf16 weights; `in` is a multiple of 8 here. */
static inline __attribute__((always_inline)) void dots(int rows, const float *x, int64_t in, const uint16_t *w0,
                                                       const uint16_t *w1, float *out) {
    __m256 a[4][2];
    _Pragma("GCC unroll 4") for (int m = 0; m < rows; m++) a[m][0] = a[m][1] = _mm256_setzero_ps();
    for (int64_t k = 0; k < in; k += 8) {
        __m256 v0 = scales8(w0 + k), v1 = scales8(w1 + k);
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

/* y (rows, out) = x (rows, in) @ weight (out, in).T in bf16, summed in float32; in a multiple of 8, out of 2.
   scratch holds rows * in floats. */
void phi4mm_bf16(const uint16_t *x, int64_t rows, int64_t in, const uint16_t *weight, int64_t out, uint16_t *y,
                 float *scratch, int threads) {
    for (int64_t i = 0; i < rows * in; i++) scratch[i] = from_bf16(x[i]);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t n = 0; n < out; n += 2)
        for (int64_t m = 0; m < rows; m += 4) {
            const uint16_t *w0 = weight + n * in, *w1 = w0 + in;
            int64_t left = rows - m < 4 ? rows - m : 4;
            float found[8];
            if (left == 4) dots(4, scratch + m * in, in, w0, w1, found);
            else if (left == 3) dots(3, scratch + m * in, in, w0, w1, found);
            else if (left == 2) dots(2, scratch + m * in, in, w0, w1, found);
            else dots(1, scratch + m * in, in, w0, w1, found);
            for (int64_t r = 0; r < left; r++) {
                y[(m + r) * out + n] = to_bf16(found[2 * r]);
                y[(m + r) * out + n + 1] = to_bf16(found[2 * r + 1]);
            }
        }
}

/* Tiles [first, last) as rows of `stride` values, float32 or bf16; inputs past `in` are not written. */
void phi4mm_unpack(const uint8_t *codes, const uint16_t *scales, int bits, int64_t in, int64_t first, int64_t last,
                   void *out, int bf16, int64_t stride, int threads) {
    int64_t groups = (in + GROUP - 1) / GROUP, size = bits == 4 ? 256 : 512;
#pragma omp parallel for schedule(static) num_threads(threads)
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
                int64_t at = ((t - first) * TILE + n) * stride + g * GROUP;
                for (int64_t k = 0; k < count; k++) store_y(out, bf16, at + k, v[k]);
            }
        }
}

enum { WIDTH = 256, GROUPS = 8, BLOCK = 32, SPLIT = 64 /* tokens; a row's sums must not depend on the threads */ };

/* exp for x <= 0, within two units in the last place; vectorizes, which the library's does not. */
static inline float exp_below(float x) {
    x = x < -87.0f ? -87.0f : x;
    float n = nearbyintf(x * 1.44269504f);
    float f = x - n * 0.693359375f + n * 2.12194440e-4f;
    float p = 1 + f * (1 + f * (0.5f + f * (1.66666667e-1f + f * (4.16666667e-2f + f * (8.33333333e-3f + f * 1.38888889e-3f)))));
    union { int32_t i; float f; } power = {((int32_t)n + 127) << 23};
    return p * power.f;
}

/* `count` floats of a key or value: kind 0 float32, 1 bf16, 2 int8 with a scale. */
static inline void widen(const void *from, int kind, int64_t at, float scale, int64_t count, float *to) {
    if (kind == 0) memcpy(to, (const float *)from + at, count * sizeof(float));
    else if (kind == 1)
        for (int64_t e = 0; e < count; e++) to[e] = from_bf16(((const uint16_t *)from)[at + e]);
    else
        for (int64_t e = 0; e < count; e++) to[e] = scale * ((const int8_t *)from)[at + e];
}

/* Adds up to BLOCK tokens of one key/value head to `groups` running softmax sums: top, sum, and totals of `width`. */
static inline __attribute__((always_inline)) void attend(int groups, int width, const float *query, const void *keys,
                                                         const void *values, int kind, const float *key_scales,
                                                         const float *value_scales, const int64_t *at, int count,
                                                         float *top, float *sum, float *total) {
    float score[GROUPS][BLOCK], one[WIDTH];
    for (int n = 0; n < count; n++) {
        widen(keys, kind, at[n] * width, kind == 2 ? key_scales[at[n]] : 1, width, one);
        for (int g = 0; g < groups; g++) {
            float dot = 0;
#pragma omp simd reduction(+ : dot)
            for (int e = 0; e < width; e++) dot += query[g * width + e] * one[e];
            score[g][n] = dot;
        }
    }
    for (int g = 0; g < groups; g++) {
        float before = top[g], part = 0;
        for (int n = 0; n < count; n++) top[g] = score[g][n] > top[g] ? score[g][n] : top[g];
        float shrink = before > -INFINITY ? exp_below(before - top[g]) : 0;
#pragma omp simd reduction(+ : part)
        for (int n = 0; n < count; n++) {
            score[g][n] = exp_below(score[g][n] - top[g]);
            part += score[g][n];
        }
        sum[g] = sum[g] * shrink + part;
        if (shrink != 1)
            for (int e = 0; e < width; e++) total[g * width + e] *= shrink;
    }
    for (int n = 0; n < count; n++) {
        widen(values, kind, at[n] * width, kind == 2 ? value_scales[at[n]] : 1, width, one);
        for (int g = 0; g < groups; g++)
            for (int e = 0; e < width; e++) total[g * width + e] += score[g][n] * one[e];
    }
}

/* Floats of scratch that phi4mm_decode needs, `longest` being the most tokens of a row. */
int64_t phi4mm_decode_scratch(int64_t rows, int64_t heads, int64_t width, int64_t longest) {
    return rows * heads * width + rows * ((longest + SPLIT - 1) / SPLIT) * heads * (width + 2);
}

/* One query a row, (rows, heads, width) float32 or bf16, over the first lengths[row] tokens of the pages in
   tables[row]; keys and values (pages, page, kv_heads, width), scales (pages, page, kv_heads). Each part of SPLIT tokens
   runs through all heads, in the order of memory, with a softmax of its own in float32; parts are then joined. */
void phi4mm_decode(const void *q, int q_bf16, int64_t rows, int64_t heads, int64_t width, const void *keys,
                   const void *values, int kind, const float *key_scales, const float *value_scales, int64_t page,
                   int64_t kv_heads, const int32_t *tables, int64_t table, const int32_t *lengths, int64_t longest,
                   void *out, float *scratch, int threads) {
    int64_t groups = heads / kv_heads, splits = (longest + SPLIT - 1) / SPLIT, size = heads * (width + 2);
    float by = 1.0f / sqrtf((float)width), *query = scratch, *parts = scratch + rows * heads * width;
    for (int64_t i = 0; i < rows * heads * width; i++) query[i] = by * load_x(q, q_bf16, i);
#pragma omp parallel num_threads(threads)
    {
#pragma omp for schedule(dynamic)
        for (int64_t item = 0; item < rows * splits; item++) {
            int64_t row = item / splits, start = item % splits * SPLIT, end = start + SPLIT;
            if (end > lengths[row]) end = lengths[row];
            float *top = parts + item * size, *sum = top + heads, *total = sum + heads;
            for (int64_t h = 0; h < heads; h++) top[h] = -INFINITY;
            memset(sum, 0, heads * (width + 1) * sizeof(float));
            for (; start < end; start += BLOCK) {
                int64_t count = end - start < BLOCK ? end - start : BLOCK, at[BLOCK];
                for (int64_t n = 0; n < count; n++) {
                    int64_t token = start + n;
                    at[n] = (tables[row * table + token / page] * page + token % page) * kv_heads;
                }
                for (int64_t head = 0; head < kv_heads; head++) {
                    int64_t h = head * groups;
                    const float *its = query + (row * heads + h) * width;
                    if (groups == 3 && width == 128)
                        attend(3, 128, its, keys, values, kind, key_scales, value_scales, at, count, top + h, sum + h,
                               total + h * width);
                    else
                        attend(groups, width, its, keys, values, kind, key_scales, value_scales, at, count, top + h,
                               sum + h, total + h * width);
                    for (int64_t n = 0; n < count; n++) at[n]++;
                }
            }
        }
#pragma omp for schedule(static)
        for (int64_t item = 0; item < rows * heads; item++) {
            int64_t row = item / heads, h = item % heads, used = (lengths[row] + SPLIT - 1) / SPLIT;
            float most = -INFINITY, sum = 0, joined[WIDTH] = {0};
            const float *first = parts + row * splits * size;
            for (int64_t p = 0; p < used; p++) most = first[p * size + h] > most ? first[p * size + h] : most;
            for (int64_t p = 0; p < used; p++) {
                const float *part = first + p * size;
                float share = exp_below(part[h] - most);
                sum += share * part[heads + h];
                for (int64_t e = 0; e < width; e++) joined[e] += share * part[2 * heads + h * width + e];
            }
            for (int64_t e = 0; e < width; e++) store_y(out, q_bf16, item * width + e, joined[e] / sum);
        }
    }
}

/* y = weight * (x / rms(x)), (rows, width) in float32 or bf16; the normalised x is rounded to its dtype before the
   weight, as the published implementation does. */
void phi4mm_rms_norm(const void *x, int bf16, int64_t rows, int64_t width, const void *weight, float eps, void *y,
                     int threads) {
#pragma omp parallel for schedule(static) num_threads(threads) if (rows > 1)
    for (int64_t m = 0; m < rows; m++) {
        float sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t i = 0; i < width; i++) {
            float v = load_x(x, bf16, m * width + i);
            sum += v * v;
        }
        float by = 1.0f / sqrtf(sum / (float)width + eps);
        for (int64_t i = 0; i < width; i++) {
            float v = load_x(x, bf16, m * width + i) * by;
            store_y(y, bf16, m * width + i, (bf16 ? from_bf16(to_bf16(v)) : v) * load_x(weight, bf16, i));
        }
    }
}

/* Turns the first 2 * half values of the first `heads` of `all` heads of each token in place; cos and sin (rows,
   2 * half) hold every angle twice. */
void phi4mm_rotate(void *x, int bf16, int64_t rows, int64_t all, int64_t heads, int64_t width, const void *cos,
                   const void *sin, int64_t half, int threads) {
#pragma omp parallel for schedule(static) num_threads(threads) if (rows > 8)
    for (int64_t m = 0; m < rows; m++)
        for (int64_t h = 0; h < heads; h++) {
            int64_t low = (m * all + h) * width, high = low + half, angle = m * 2 * half;
            for (int64_t i = 0; i < half; i++) {
                float a = load_x(x, bf16, low + i), b = load_x(x, bf16, high + i);
                float c = load_x(cos, bf16, angle + i), s = load_x(sin, bf16, angle + i);
                store_y(x, bf16, low + i, a * c - b * s);
                store_y(x, bf16, high + i, b * c + a * s);
            }
        }
}

/* y (rows, width) = up * silu(gate) of (rows, 2 * width), gate first. */
void phi4mm_swiglu(const void *x, int bf16, int64_t rows, int64_t width, void *y, int threads) {
#pragma omp parallel for schedule(static) num_threads(threads) collapse(2) if (rows * width > 4096)
    for (int64_t m = 0; m < rows; m++)
        for (int64_t part = 0; part < width; part += 1024)
            for (int64_t i = part; i < part + 1024 && i < width; i++) {
                float gate = load_x(x, bf16, 2 * m * width + i), up = load_x(x, bf16, (2 * m + 1) * width + i);
                float e = exp_below(-fabsf(gate));
                store_y(y, bf16, m * width + i, up * gate * ((gate >= 0 ? 1 : e) / (1 + e)));
            }
}

/* Copies rows of `bytes` bytes, `stride` apart, to those of `places` places that `slots` names; 1 if there is no such. */
int phi4mm_place(const char *from, int64_t rows, int64_t bytes, int64_t stride, const int64_t *slots, char *to,
                 int64_t places) {
    for (int64_t m = 0; m < rows; m++) {
        if (slots[m] < 0 || slots[m] >= places) return 1;
        memcpy(to + slots[m] * bytes, from + m * stride, bytes);
    }
    return 0;
}
