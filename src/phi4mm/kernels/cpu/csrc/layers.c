/* All decoder layers for rows of one new token each, in one call: a step is some thousand small calls otherwise. */

#include "kernels.h"
#include <stddef.h>

enum { ADAPTERS = 2, HEAD = 256 };

/* bits: 4 or 8 for packed weights, 16 for bf16 ones without scales. */
typedef struct {
    const void *weight;
    const uint16_t *scales;
    int64_t bits, outputs, inputs;
} Weight;

typedef struct {
    Weight base, a[ADAPTERS], b[ADAPTERS];
    double factor[ADAPTERS];
} Linear;

/* Its keys and values: (pages, page, kv_heads, head), scales (pages, page, kv_heads) of int8 ones. */
typedef struct {
    Linear qkv, o, gate_up, down;
    const void *norm1, *norm2;
    void *keys, *values;
    float *key_scales, *value_scales;
} Layer;

/* kind: of keys and values, as attention.c counts; places: tokens that all pages hold. */
typedef struct {
    int64_t layers, width, heads, kv_heads, head, half, inner, rank, kind, page, places;
    double eps;
} Shape;

/* Tokens [first, last) run with an adapter. */
typedef struct {
    int64_t adapter, first, last;
} Range;

typedef struct {
    int64_t rows, table, longest, ranges;
    const void *cos, *sin;
    const int64_t *slots;
    const int32_t *tables, *lengths;
    const Range *range;
} Step;

static int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }
static int64_t lines(int64_t bytes) { return (bytes + 63) / 64 * 64; }

static int64_t product_scratch(const Shape *shape, int64_t rows) {
    int64_t widest = most(shape->inner, most(shape->width, shape->heads * shape->head));
    return most(phi4mm_packed_scratch(rows, widest, 8), rows * widest * (int64_t)sizeof(float));
}

/* Bytes of scratch that phi4mm_layers needs for numbers of 4 bytes. */
int64_t phi4mm_layers_scratch(const Shape *shape, int64_t rows, int64_t longest) {
    int64_t all = (shape->heads + 2 * shape->kv_heads) * shape->head;
    int64_t numbers = 2 * shape->width + most(all, 2 * shape->inner) + most(shape->heads * shape->head, shape->inner) +
                      shape->rank + most(most(all, shape->width), 2 * shape->inner);
    return 8 * 64 + rows * numbers * 4 + lines(product_scratch(shape, rows)) +
           4 * phi4mm_decode_scratch(rows, shape->heads, shape->head, longest);
}

typedef struct {
    char *normed, *wide, *inner, *low, *added;
    void *product;
    float *attention;
} Scratch;

/* y (rows, outputs) = x @ weight.T, or y += factor * that; `added` has room for a product of 16 bits to be added. */
static void product(const Weight *w, const void *x, int bf16, int64_t rows, void *y, float factor, const Scratch *s,
                    int threads) {
    if (w->bits < 16) {
        phi4mm_packed(x, bf16, rows, w->inputs, w->weight, w->scales, (int)w->bits, w->outputs, y, w->outputs, factor,
                      s->product, threads);
        return;
    }
    uint16_t *to = factor == 0 ? y : (uint16_t *)s->added, *sum = y;
    phi4mm_bf16(x, rows, w->inputs, w->weight, w->outputs, to, s->product, threads);
    if (factor != 0)
        for (int64_t i = 0; i < rows * w->outputs; i++)
            sum[i] = to_bf16(from_bf16(sum[i]) + from_bf16(to_bf16(from_bf16(to[i]) * factor)));
}

/* y (rows, outputs) = x @ base.T, and the adapters of the rows that have one. */
static void linear(const Linear *l, const void *x, int bf16, const Step *step, void *y, const Scratch *s, int threads) {
    int64_t size = bf16 ? 2 : 4;
    product(&l->base, x, bf16, step->rows, y, 0, s, threads);
    for (const Range *r = step->range; r < step->range + step->ranges; r++) {
        const Weight *a = &l->a[r->adapter], *b = &l->b[r->adapter];
        product(a, (const char *)x + r->first * a->inputs * size, bf16, r->last - r->first, s->low, 0, s, threads);
        product(b, s->low, bf16, r->last - r->first, (char *)y + r->first * b->outputs * size,
                (float)l->factor[r->adapter], s, threads);
    }
}

/* One token's heads to their place, as codes with a scale a head where `scales` is given. */
static void store_heads(const void *from, int bf16, int64_t at, const Shape *shape, void *to, float *scales,
                        int64_t slot) {
    int64_t size = bf16 ? 2 : 4, count = shape->kv_heads * shape->head;
    if (scales == NULL) {
        memcpy((char *)to + slot * count * size, (const char *)from + at * size, count * size);
        return;
    }
    for (int64_t h = 0; h < shape->kv_heads; h++) {
        float v[HEAD], top = 0;
        read_floats(from, bf16, at + h * shape->head, shape->head, v);
        for (int64_t i = 0; i < shape->head; i++) top = fabsf(v[i]) > top ? fabsf(v[i]) : top;
        float scale = top / 127.0f, by = scale > 1.17549435e-38f ? scale : 1.17549435e-38f;
        for (int64_t i = 0; i < shape->head; i++)
            ((int8_t *)to)[slot * count + h * shape->head + i] = (int8_t)nearbyintf(v[i] / by);
        scales[slot * shape->kv_heads + h] = scale;
    }
}

static void attention(const Shape *shape, const Layer *layer, int bf16, const Step *step, const Scratch *s,
                      int threads) {
    int64_t size = bf16 ? 2 : 4, all = shape->heads + 2 * shape->kv_heads, queries = shape->heads * shape->head;
    phi4mm_rotate(s->wide, bf16, step->rows, all, shape->heads + shape->kv_heads, shape->head, step->cos, step->sin,
                  shape->half, threads);
    for (int64_t m = 0; m < step->rows; m++) {
        int64_t at = m * all * shape->head;
        store_heads(s->wide, bf16, at + queries, shape, layer->keys, layer->key_scales, step->slots[m]);
        store_heads(s->wide, bf16, at + queries + shape->kv_heads * shape->head, shape, layer->values,
                    layer->value_scales, step->slots[m]);
        memcpy(s->added + m * queries * size, s->wide + at * size, queries * size);
    }
    phi4mm_decode(s->added, bf16, step->rows, shape->heads, shape->head, layer->keys, layer->values, (int)shape->kind,
                  layer->key_scales, layer->value_scales, shape->page, shape->kv_heads, step->tables, step->table,
                  step->lengths, step->longest, s->inner, s->attention, threads);
}

/* x (rows, width), float32 or bf16, through all layers in place; keys and values go to their pages. 1 if a slot is in
   none of them. */
int phi4mm_layers(const Shape *shape, const Layer *layers, const Step *step, void *x, int bf16, char *scratch,
                  int threads) {
    int64_t rows = step->rows, all = (shape->heads + 2 * shape->kv_heads) * shape->head;
    for (int64_t m = 0; m < rows; m++)
        if (step->slots[m] < 0 || step->slots[m] >= shape->places) return 1;
    Scratch s;
    s.normed = scratch;
    s.wide = s.normed + lines(rows * shape->width * 4);
    s.inner = s.wide + lines(rows * most(all, 2 * shape->inner) * 4);
    s.low = s.inner + lines(rows * most(shape->heads * shape->head, shape->inner) * 4);
    s.added = s.low + lines(rows * shape->rank * 4);
    s.product = s.added + lines(rows * most(most(all, shape->width), 2 * shape->inner) * 4);
    s.attention = (float *)((char *)s.product + lines(product_scratch(shape, rows)));
    for (const Layer *layer = layers; layer < layers + shape->layers; layer++) {
        phi4mm_rms_norm(x, bf16, rows, shape->width, layer->norm1, (float)shape->eps, s.normed, threads);
        linear(&layer->qkv, s.normed, bf16, step, s.wide, &s, threads);
        attention(shape, layer, bf16, step, &s, threads);
        linear(&layer->o, s.inner, bf16, step, s.normed, &s, threads);
        phi4mm_add(x, s.normed, bf16, rows * shape->width);
        phi4mm_rms_norm(x, bf16, rows, shape->width, layer->norm2, (float)shape->eps, s.normed, threads);
        linear(&layer->gate_up, s.normed, bf16, step, s.wide, &s, threads);
        phi4mm_swiglu(s.wide, bf16, rows, shape->inner, s.inner, threads);
        linear(&layer->down, s.inner, bf16, step, s.normed, &s, threads);
        phi4mm_add(x, s.normed, bf16, rows * shape->width);
    }
    return 0;
}
