/* The structs and functions that Python or another C file uses. Python reads this header (../header.py), so it has only
   plain structs and prototypes: no macros, no arrays in a struct, a semicolon after each declaration.

   `bf16`: activations are bfloat16 (1) or float32 (0). `threads`: number of OpenMP threads. */

#ifndef PHI4MM_KERNELS_H
#define PHI4MM_KERNELS_H

#include "common.h"

/* A weight (outputs, inputs). bits: 4 or 8 for packed codes and their scales, 16 for bfloat16 without scales. */
typedef struct {
    const void *values;
    const uint16_t *scales;
    int64_t bits, outputs, inputs;
} Weight;

/* An adapter's matrices in a linear layer: y += factor * b(a(x)). a.values is NULL where it has none. */
typedef struct {
    Weight a, b;
    double factor;
} Adapter;

/* A linear layer and its adapters, in one order for all layers. */
typedef struct {
    Weight base;
    const Adapter *adapters;
} Linear;

/* One layer's keys and values (count, page, kv_heads, width). kind: 0 float32, 1 bfloat16, 2 int8 with float32 scales
   (count, page, kv_heads). */
typedef struct {
    void *keys, *values;
    float *key_scales, *value_scales;
    int64_t kind, count, page, kv_heads, width;
} Pages;

/* The tokens that each of `rows` queries attends to: the first lengths[row] of the pages in tables[row], which has
   `width` page numbers. `longest` is at least the largest length. */
typedef struct {
    const int32_t *tables, *lengths;
    int64_t rows, width, longest;
} PageTables;

/* One decoder layer. */
typedef struct {
    Linear qkv, o, gate_up, down;
    const void *norm1, *norm2;
    Pages pages;
} Layer;

/* What all decoder layers share. half: pairs of dims of a head that are rotated; rank: the largest of all adapters. */
typedef struct {
    int64_t layers, width, heads, half, inner, rank;
    double eps;
} Decoder;

/* Rows [first, last) run with an adapter, given by its index in each linear layer's `adapters`. */
typedef struct {
    int64_t adapter, first, last;
} AdapterRange;

/* One step: cos and sin (rows, 2 * half), slots (rows,) of the new keys and values. */
typedef struct {
    PageTables tables;
    const void *cos, *sin;
    const int64_t *slots;
    const AdapterRange *ranges;
    int64_t range_count;
} Step;

/* decoder.c */
int64_t phi4mm_struct_size(const char *name);
int64_t phi4mm_decoder_scratch(const Decoder *decoder, const Layer *layers, const PageTables *tables);
int phi4mm_decoder(const Decoder *decoder, const Layer *layers, const Step *step, void *x, int bf16, void *scratch,
                   int threads);

/* packed.c */
int64_t phi4mm_packed_scratch(int64_t rows, int64_t inputs, int64_t bits);
void phi4mm_packed(const Weight *weight, const void *x, int bf16, int64_t rows, void *y, int add, float factor,
                   void *scratch, int threads);
void phi4mm_unpack(const Weight *weight, int64_t first, int64_t last, void *out, int bf16, int threads);

/* bf16.c */
void phi4mm_bf16(const Weight *weight, const uint16_t *x, int64_t rows, uint16_t *y, float *scratch, int threads);

/* attention.c */
int64_t phi4mm_decode_scratch(const PageTables *tables, int64_t heads, int64_t width);
void phi4mm_decode(const Pages *pages, const PageTables *tables, const void *q, int bf16, int64_t heads, void *out,
                   float *scratch, int threads);

/* elementwise.c */
void phi4mm_rms_norm(const void *x, int bf16, int64_t rows, int64_t width, const void *weight, float eps, void *y,
                     int threads);
void phi4mm_rotate(void *x, int bf16, int64_t rows, int64_t total_heads, int64_t heads, int64_t width, const void *cos,
                   const void *sin, int64_t half, int threads);
void phi4mm_swiglu(const void *x, int bf16, int64_t rows, int64_t width, void *y, int threads);
void phi4mm_add(void *x, const void *y, int bf16, int64_t count);
int phi4mm_scatter(const void *from, int64_t rows, int64_t bytes, int64_t stride, const int64_t *slots, void *to,
                   int64_t slot_count);

#endif
