/* All decoder layers for rows of one new token each, in one call: a step is some thousand small calls otherwise. */

#include "kernels.h"
#include <stddef.h>

enum { HEAD = 256 };

/* Bytes of a struct of kernels.h, so that Python can check how it reads that header; -1 for an unknown name. */
int64_t phi4mm_struct_size(const char *name) {
#define SIZE(type)                                                                                                     \
    if (strcmp(name, #type) == 0) return (int64_t)sizeof(type);
    SIZE(Weight) SIZE(Adapter) SIZE(Linear) SIZE(Pages) SIZE(PageTables) SIZE(Layer) SIZE(Decoder) SIZE(AdapterRange)
    SIZE(Step)
#undef SIZE
    return -1;
}

static int64_t max_i64(int64_t a, int64_t b) { return a > b ? a : b; }
static int64_t align64(int64_t bytes) { return (bytes + 63) / 64 * 64; }

/* Where each part of the scratch begins, in bytes; `end` is the size of all. A number takes up to 4 bytes. */
typedef struct {
    int64_t wide, inner, low, delta, product, attention, end;
} Offsets;

static Offsets offsets_of(const Decoder *decoder, const Layer *layers, const PageTables *tables) {
    const Pages *pages = &layers->pages;
    int64_t rows = tables->rows, queries = decoder->heads * pages->width;
    int64_t qkv = (decoder->heads + 2 * pages->kv_heads) * pages->width, wide = max_i64(qkv, 2 * decoder->inner);
    int64_t widest_in = max_i64(decoder->inner, max_i64(decoder->width, queries));
    int64_t product = max_i64(phi4mm_packed_scratch(rows, widest_in, 8), rows * widest_in * (int64_t)sizeof(float));
    Offsets o;
    o.wide = align64(rows * decoder->width * 4);
    o.inner = o.wide + align64(rows * wide * 4);
    o.low = o.inner + align64(rows * max_i64(queries, decoder->inner) * 4);
    o.delta = o.low + align64(rows * decoder->rank * 4);
    o.product = o.delta + align64(rows * max_i64(wide, decoder->width) * 4);
    o.attention = o.product + align64(product);
    o.end = o.attention + 4 * phi4mm_decode_scratch(tables, decoder->heads, pages->width);
    return o;
}

/* Bytes of scratch that phi4mm_decoder needs. */
int64_t phi4mm_decoder_scratch(const Decoder *decoder, const Layer *layers, const PageTables *tables) {
    return offsets_of(decoder, layers, tables).end;
}

typedef struct {
    char *normed, *wide, *inner, *low, *delta;
    void *product;
    float *attention;
} Scratch;

static Scratch parts_of(char *scratch, Offsets o) {
    return (Scratch){scratch, scratch + o.wide, scratch + o.inner, scratch + o.low, scratch + o.delta,
                     scratch + o.product, (float *)(scratch + o.attention)};
}

/* y (rows, outputs) = x @ weight.T, or with `add` y += factor * that; `delta` has room for a product of 16 bits to be
   added. */
static void product(const Weight *w, const void *x, int bf16, int64_t rows, void *y, int add, float factor,
                    const Scratch *s, int threads) {
    if (w->bits < 16) {
        phi4mm_packed(w, x, bf16, rows, y, add, factor, s->product, threads);
        return;
    }
    uint16_t *to = add ? (uint16_t *)s->delta : y, *sum = y;
    phi4mm_bf16(w, x, rows, to, s->product, threads);
    if (add)
        for (int64_t i = 0; i < rows * w->outputs; i++)
            sum[i] = to_bf16(from_bf16(sum[i]) + from_bf16(to_bf16(from_bf16(to[i]) * factor)));
}

/* y (rows, outputs) = x @ base.T, and the adapters of the rows that have one here. */
static void linear(const Linear *l, const void *x, int bf16, const Step *step, void *y, const Scratch *s, int threads) {
    int64_t size = bf16 ? 2 : 4;
    product(&l->base, x, bf16, step->tables.rows, y, 0, 0, s, threads);
    for (const AdapterRange *r = step->ranges; r < step->ranges + step->range_count; r++) {
        const Adapter *adapter = l->adapters + r->adapter;
        const Weight *a = &adapter->a, *b = &adapter->b;
        if (a->values == NULL) continue;
        product(a, (const char *)x + r->first * a->inputs * size, bf16, r->last - r->first, s->low, 0, 0, s, threads);
        product(b, s->low, bf16, r->last - r->first, (char *)y + r->first * b->outputs * size, 1,
                (float)adapter->factor, s, threads);
    }
}

/* One token's heads to their slot, as codes with a scale a head where `scales` is given. */
static void store_heads(const void *from, int bf16, int64_t at, const Pages *pages, void *to, float *scales,
                        int64_t slot) {
    int64_t size = bf16 ? 2 : 4, width = pages->width, count = pages->kv_heads * width;
    if (scales == NULL) {
        memcpy((char *)to + slot * count * size, (const char *)from + at * size, count * size);
        return;
    }
    for (int64_t h = 0; h < pages->kv_heads; h++) {
        float v[HEAD], largest = 0;
        read_floats(from, bf16, at + h * width, width, v);
        for (int64_t i = 0; i < width; i++) largest = fabsf(v[i]) > largest ? fabsf(v[i]) : largest;
        float scale = largest / 127.0f, by = scale > 1.17549435e-38f ? scale : 1.17549435e-38f;
        for (int64_t i = 0; i < width; i++)
            ((int8_t *)to)[slot * count + h * width + i] = (int8_t)nearbyintf(v[i] / by);
        scales[slot * pages->kv_heads + h] = scale;
    }
}

static void attention(const Decoder *decoder, const Pages *pages, int bf16, const Step *step, const Scratch *s,
                      int threads) {
    int64_t rows = step->tables.rows, size = bf16 ? 2 : 4, width = pages->width;
    int64_t all = decoder->heads + 2 * pages->kv_heads, queries = decoder->heads * width;
    phi4mm_rotate(s->wide, bf16, rows, all, decoder->heads + pages->kv_heads, width, step->cos, step->sin,
                  decoder->half, threads);
    for (int64_t m = 0; m < rows; m++) {
        int64_t at = m * all * width;
        store_heads(s->wide, bf16, at + queries, pages, pages->keys, pages->key_scales, step->slots[m]);
        store_heads(s->wide, bf16, at + queries + pages->kv_heads * width, pages, pages->values, pages->value_scales,
                    step->slots[m]);
        memcpy(s->delta + m * queries * size, s->wide + at * size, queries * size);
    }
    phi4mm_decode(pages, &step->tables, s->delta, bf16, decoder->heads, s->inner, s->attention, threads);
}

/* x (rows, width), float32 or bf16, through all layers in place; keys and values go to their pages. 1 if a slot is in
   none of them. */
int phi4mm_decoder(const Decoder *decoder, const Layer *layers, const Step *step, void *x, int bf16, void *scratch,
                   int threads) {
    int64_t rows = step->tables.rows, width = decoder->width;
    float eps = (float)decoder->eps;
    for (int64_t m = 0; m < rows; m++)
        if (step->slots[m] < 0 || step->slots[m] >= layers->pages.count * layers->pages.page) return 1;
    Scratch s = parts_of(scratch, offsets_of(decoder, layers, &step->tables));
    for (const Layer *layer = layers; layer < layers + decoder->layers; layer++) {
        phi4mm_rms_norm(x, bf16, rows, width, layer->norm1, eps, s.normed, threads);
        linear(&layer->qkv, s.normed, bf16, step, s.wide, &s, threads);
        attention(decoder, &layer->pages, bf16, step, &s, threads);
        linear(&layer->o, s.inner, bf16, step, s.normed, &s, threads);
        phi4mm_add(x, s.normed, bf16, rows * width);
        phi4mm_rms_norm(x, bf16, rows, width, layer->norm2, eps, s.normed, threads);
        linear(&layer->gate_up, s.normed, bf16, step, s.wide, &s, threads);
        phi4mm_swiglu(s.wide, bf16, rows, decoder->inner, s.inner, threads);
        linear(&layer->down, s.inner, bf16, step, s.normed, &s, threads);
        phi4mm_add(x, s.normed, bf16, rows * width);
    }
    return 0;
}
