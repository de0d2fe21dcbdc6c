/* Every function that Python or another kernel calls; shapes and meaning stand where they are defined. */

#ifndef PHI4MM_KERNELS_H
#define PHI4MM_KERNELS_H

#include "common.h"

/* packed.c */
int64_t phi4mm_packed_scratch(int64_t rows, int64_t in, int bits);
void phi4mm_packed(const void *x, int bf16, int64_t rows, int64_t in, const uint8_t *codes, const uint16_t *scales,
                   int bits, int64_t out, void *y, int64_t y_stride, float factor, void *scratch, int threads);
void phi4mm_unpack(const uint8_t *codes, const uint16_t *scales, int bits, int64_t in, int64_t first, int64_t last,
                   void *out, int bf16, int64_t stride, int threads);

/* bf16.c */
void phi4mm_bf16(const uint16_t *x, int64_t rows, int64_t in, const uint16_t *weight, int64_t out, uint16_t *y,
                 float *scratch, int threads);

/* attention.c */
int64_t phi4mm_decode_scratch(int64_t rows, int64_t heads, int64_t width, int64_t longest);
void phi4mm_decode(const void *q, int q_bf16, int64_t rows, int64_t heads, int64_t width, const void *keys,
                   const void *values, int kind, const float *key_scales, const float *value_scales, int64_t page,
                   int64_t kv_heads, const int32_t *tables, int64_t table, const int32_t *lengths, int64_t longest,
                   void *out, float *scratch, int threads);

/* elementwise.c */
void phi4mm_rms_norm(const void *x, int bf16, int64_t rows, int64_t width, const void *weight, float eps, void *y,
                     int threads);
void phi4mm_rotate(void *x, int bf16, int64_t rows, int64_t all, int64_t heads, int64_t width, const void *cos,
                   const void *sin, int64_t half, int threads);
void phi4mm_swiglu(const void *x, int bf16, int64_t rows, int64_t width, void *y, int threads);
void phi4mm_add(void *x, const void *y, int bf16, int64_t count);
int phi4mm_place(const char *from, int64_t rows, int64_t bytes, int64_t stride, const int64_t *slots, char *to,
                 int64_t places);

#endif
