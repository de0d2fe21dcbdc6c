/* Attention over pages of keys and values, with one query in each row. */

#include "kernels.h"
#include <stddef.h>
#ifdef __AVX2__
#include <immintrin.h>
#endif

enum { WIDTH = 256, GROUPS = 8, BLOCK = 32, SPLIT = 64 /* tokens; fixed, so that sums do not depend on the threads */ };

#define UNROLL _Pragma("GCC unroll 8")

typedef float f32x8 __attribute__((vector_size(32)));

/* Load 8 numbers of a key or value, stored as kind 0 float32, 1 bf16, 2 int8 (whose scale is not applied). */
static inline __attribute__((always_inline)) f32x8 load8(const void *from, int kind, int64_t at) {
    f32x8 v;
    if (kind == 0) memcpy(&v, (const float *)from + at, sizeof v);
#ifdef __AVX2__ /* without intrinsics, GCC 12 converts 4 numbers at a time */
    else if (kind == 1)
        v = (f32x8)_mm256_slli_epi32(
            _mm256_cvtepu16_epi32(_mm_loadu_si128((const void *)((const uint16_t *)from + at))), 16);
    else
        v = (f32x8)_mm256_cvtepi32_ps(
            _mm256_cvtepi8_epi32(_mm_loadl_epi64((const void *)((const int8_t *)from + at))));
#else
    else if (kind == 1)
        for (int i = 0; i < 8; i++) v[i] = from_bf16(((const uint16_t *)from)[at + i]);
    else
        for (int i = 0; i < 8; i++) v[i] = ((const int8_t *)from)[at + i];
#endif
    return v;
}

static inline float sum8(f32x8 v) {
#ifdef __AVX2__
    __m128 h = _mm_add_ps(_mm256_castps256_ps128((__m256)v), _mm256_extractf128_ps((__m256)v, 1));
    h = _mm_add_ps(h, _mm_movehl_ps(h, h));
    return _mm_cvtss_f32(_mm_add_ss(h, _mm_movehdup_ps(h)));
#else
    return ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7]));
#endif
}

/* Prefetch `count` numbers that the next head will read. */
static inline __attribute__((always_inline)) void prefetch(const void *from, int kind, int64_t at, int64_t count) {
    int64_t size = kind == 0 ? 4 : kind == 1 ? 2 : 1;
    for (int64_t byte = 0; byte < count * size; byte += 64) __builtin_prefetch((const char *)from + at * size + byte);
}

/* Add up to BLOCK tokens of one key/value head to the running softmax of `groups` query heads: row_max, sum, and the
   weighted sum of values in `total` (groups, width). */
static inline __attribute__((always_inline)) void attend(int kind, int groups, int width, const float *query,
                                                         const void *keys, const void *values, const float *key_scales,
                                                         const float *value_scales, const int64_t *at, int count,
                                                         float *row_max, float *sum, float *total) {
    float score[GROUPS][BLOCK];
    for (int n = 0; n < count; n += 2) { /* if count is odd, the last token is computed twice */
        int64_t token0 = at[n], token1 = at[n + 1 < count ? n + 1 : n];
        f32x8 dot[GROUPS][2] = {{{0}}};
        prefetch(keys, kind, (token0 + 1) * width, width);
        prefetch(keys, kind, (token1 + 1) * width, width);
        for (int e = 0; e < width; e += 8) {
            f32x8 key0 = load8(keys, kind, token0 * width + e), key1 = load8(keys, kind, token1 * width + e);
            UNROLL for (int g = 0; g < groups; g++) {
                f32x8 q = load8(query, 0, g * width + e);
                dot[g][0] += key0 * q;
                dot[g][1] += key1 * q;
            }
        }
        UNROLL for (int g = 0; g < groups; g++) {
            score[g][n] = sum8(dot[g][0]) * (kind == 2 ? key_scales[token0] : 1);
            score[g][n + 1] = sum8(dot[g][1]) * (kind == 2 ? key_scales[token1] : 1);
        }
    }
    for (int g = 0; g < groups; g++) {
        float old_max = row_max[g], block_sum = 0;
        for (int n = 0; n < count; n++) row_max[g] = score[g][n] > row_max[g] ? score[g][n] : row_max[g];
        float rescale = old_max > -INFINITY ? exp_below(old_max - row_max[g]) : 0;
#pragma omp simd reduction(+ : block_sum)
        for (int n = 0; n < count; n++) {
            score[g][n] = exp_below(score[g][n] - row_max[g]);
            block_sum += score[g][n];
        }
        sum[g] = sum[g] * rescale + block_sum;
        if (rescale != 1)
            for (int e = 0; e < width; e++) total[g * width + e] *= rescale;
        if (kind == 2)
            for (int n = 0; n < count; n++) score[g][n] *= value_scales[at[n]];
    }
    int n = 0;
    for (; n + 4 <= count; n += 4) { /* four tokens in each pass over `total` */
        for (int j = 0; j < 4; j++) prefetch(values, kind, (at[n + j] + 1) * width, width);
        for (int e = 0; e < width; e += 8) {
            f32x8 value[4];
            UNROLL for (int j = 0; j < 4; j++) value[j] = load8(values, kind, at[n + j] * width + e);
            UNROLL for (int g = 0; g < groups; g++) {
                f32x8 t = load8(total, 0, g * width + e);
                UNROLL for (int j = 0; j < 4; j++) t += score[g][n + j] * value[j];
                memcpy(total + g * width + e, &t, sizeof t);
            }
        }
    }
    for (; n < count; n++)
        for (int e = 0; e < width; e += 8) {
            f32x8 value = load8(values, kind, at[n] * width + e);
            UNROLL for (int g = 0; g < groups; g++) {
                f32x8 t = load8(total, 0, g * width + e) + score[g][n] * value;
                memcpy(total + g * width + e, &t, sizeof t);
            }
        }
}

/* Floats of scratch that phi4mm_decode needs. */
int64_t phi4mm_decode_scratch(const PageTables *tables, int64_t heads, int64_t width) {
    return tables->rows * heads * width + tables->rows * ((tables->longest + SPLIT - 1) / SPLIT) * heads * (width + 2);
}

/* Attention of the queries q (rows, heads, width), float32 or bf16 and width a multiple of 8, over the tokens of `of`.
   Tokens are split into parts of SPLIT. A part runs through all heads, in the order of their addresses, with its own
   softmax in float32; then the parts are merged. */
void phi4mm_decode(const Pages *pages, const PageTables *of, const void *q, int bf16, int64_t heads, void *out,
                   float *scratch, int threads) {
    const void *keys = pages->keys, *values = pages->values;
    const float *key_scales = pages->key_scales, *value_scales = pages->value_scales;
    const int32_t *tables = of->tables, *lengths = of->lengths;
    int64_t page = pages->page, kv_heads = pages->kv_heads, width = pages->width;
    int64_t rows = of->rows, table_width = of->width;
    int kind = (int)pages->kind;
    int64_t groups = heads / kv_heads, splits = (of->longest + SPLIT - 1) / SPLIT, size = heads * (width + 2);
    float scale = 1.0f / sqrtf((float)width), *query = scratch, *parts = scratch + rows * heads * width;
    for (int64_t i = 0; i < rows * heads * width; i++) query[i] = scale * load_x(q, bf16, i);
#pragma omp parallel num_threads(threads_for(2 * rows * of->longest * heads * width, threads))
    {
#pragma omp for schedule(dynamic)
        for (int64_t item = 0; item < rows * splits; item++) {
            int64_t row = item / splits, start = item % splits * SPLIT, end = start + SPLIT;
            if (end > lengths[row]) end = lengths[row];
            float *row_max = parts + item * size, *sum = row_max + heads, *total = sum + heads;
            for (int64_t h = 0; h < heads; h++) row_max[h] = -INFINITY;
            memset(sum, 0, heads * (width + 1) * sizeof(float));
            for (; start < end; start += BLOCK) {
                int64_t count = end - start < BLOCK ? end - start : BLOCK, at[BLOCK];
                for (int64_t n = 0; n < count; n++) {
                    int64_t token = start + n;
                    at[n] = (tables[row * table_width + token / page] * page + token % page) * kv_heads;
                }
                for (int64_t head = 0; head < kv_heads; head++) {
                    int64_t h = head * groups;
                    const float *q_heads = query + (row * heads + h) * width;
                    float *t = total + h * width;
                    if (kind == 1 && groups == 3 && width == 128)
                        attend(1, 3, 128, q_heads, keys, values, NULL, NULL, at, count, row_max + h, sum + h, t);
                    else if (kind == 2 && groups == 3 && width == 128)
                        attend(2, 3, 128, q_heads, keys, values, key_scales, value_scales, at, count, row_max + h,
                               sum + h, t);
                    else
                        attend(kind, groups, width, q_heads, keys, values, key_scales, value_scales, at, count,
                               row_max + h, sum + h, t);
                    for (int64_t n = 0; n < count; n++) at[n]++;
                }
            }
        }
#pragma omp for schedule(static)
        for (int64_t item = 0; item < rows * heads; item++) {
            int64_t row = item / heads, h = item % heads, part_count = (lengths[row] + SPLIT - 1) / SPLIT;
            float row_max = -INFINITY, sum = 0, merged[WIDTH] = {0};
            const float *first = parts + row * splits * size;
            for (int64_t p = 0; p < part_count; p++)
                row_max = first[p * size + h] > row_max ? first[p * size + h] : row_max;
            for (int64_t p = 0; p < part_count; p++) {
                const float *part = first + p * size;
                float rescale = exp_below(part[h] - row_max);
                sum += rescale * part[heads + h];
                for (int64_t e = 0; e < width; e++) merged[e] += rescale * part[2 * heads + h * width + e];
            }
            for (int64_t e = 0; e < width; e++) store_y(out, bf16, item * width + e, merged[e] / sum);
        }
    }
}
