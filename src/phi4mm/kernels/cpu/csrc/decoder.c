/* The fused decoder: all layers for tokens that are decoded, in one call instead of some thousand small ones. */

#include "kernels.h"
#include <stddef.h>

enum { HEAD = 256 };

/* Size in bytes of a struct of kernels.h, by which Python checks that it read the header right; -1 if unknown. */
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

/* Where each buffer of Scratch begins, in bytes; `end` is the size of all. A number takes up to 4 bytes. */
typedef struct {
    int64_t projected, inner, lora_hidden, temporary, product, attention, end;
} Offsets;

static Offsets offsets_of(const Decoder *decoder, const Layer *layers, const PageTables *tables) {
    const Pages *pages = &layers->pages;
    int64_t rows = tables->rows, queries = decoder->heads * pages->width;
    int64_t qkv = (decoder->heads + 2 * pages->kv_heads) * pages->width, projected = max_i64(qkv, 2 * decoder->inner);
    int64_t max_inputs = max_i64(decoder->inner, max_i64(decoder->width, queries));
    int64_t product = max_i64(phi4mm_packed_scratch(rows, max_inputs, 8), rows * max_inputs * (int64_t)sizeof(float));
    Offsets o;
    o.projected = align64(rows * decoder->width * 4);
    o.inner = o.projected + align64(rows * projected * 4);
    o.lora_hidden = o.inner + align64(rows * max_i64(queries, decoder->inner) * 4);
    o.temporary = o.lora_hidden + align64(rows * decoder->rank * 4);
    o.product = o.temporary + align64(rows * max_i64(projected, decoder->width) * 4);
    o.attention = o.product + align64(product);
    o.end = o.attention + 4 * phi4mm_decode_scratch(tables, decoder->heads, pages->width);
    return o;
}

/* Bytes of scratch that phi4mm_decoder needs. */
int64_t phi4mm_decoder_scratch(const Decoder *decoder, const Layer *layers, const PageTables *tables) {
    return offsets_of(decoder, layers, tables).end;
}

typedef struct {
    char *normed;      /* output of a norm, later of o or down */
    char *projected;   /* qkv, or gate and up */
    char *inner;       /* output of attention or SwiGLU */
    char *lora_hidden; /* output of an adapter's A */
    char *temporary;   /* queries, or a product that is added to another */
    void *product;     /* scratch of the product kernels */
    float *attention;  /* scratch of phi4mm_decode */
} Scratch;

static Scratch buffers_of(char *scratch, Offsets o) {
    return (Scratch){scratch, scratch + o.projected, scratch + o.inner, scratch + o.lora_hidden, scratch + o.temporary,
                     scratch + o.product, (float *)(scratch + o.attention)};
}

/* y (rows, outputs) = x @ weight.T, or with `add` y += factor * x @ weight.T. A bf16 product is computed in
   s->temporary before it is added. */
static void product(const Weight *w, const void *x, int bf16, int64_t rows, void *y, int add, float factor,
                    const Scratch *s, int threads) {
    if (w->bits < 16) {
        phi4mm_packed(w, x, bf16, rows, y, add, factor, s->product, threads);
        return;
    }
    uint16_t *to = add ? (uint16_t *)s->temporary : y, *sum = y;
    phi4mm_bf16(w, x, rows, to, s->product, threads);
    if (add)
        for (int64_t i = 0; i < rows * w->outputs; i++)
            sum[i] = to_bf16(from_bf16(sum[i]) + from_bf16(to_bf16(from_bf16(to[i]) * factor)));
}

/* y (rows, outputs) = x @ base.T, plus the adapter's product in the rows that run with one. */
static void linear(const Linear *l, const void *x, int bf16, const Step *step, void *y, const Scratch *s, int threads) {
    int64_t size = bf16 ? 2 : 4;
    product(&l->base, x, bf16, step->tables.rows, y, 0, 0, s, threads);
    for (const AdapterRange *r = step->ranges; r < step->ranges + step->range_count; r++) {
        const Adapter *adapter = l->adapters + r->adapter;
        const Weight *a = &adapter->a, *b = &adapter->b;
        if (a->values == NULL) continue;
        product(a, (const char *)x + r->first * a->inputs * size, bf16, r->last - r->first, s->lora_hidden, 0, 0, s,
                threads);
        product(b, s->lora_hidden, bf16, r->last - r->first, (char *)y + r->first * b->outputs * size, 1,
                (float)adapter->factor, s, threads);
    }
}

/* Copy one token's heads to their slot; where `scales` is not NULL, as int8 codes with a scale for each head. */
static void store_heads(const void *from, int bf16, int64_t at, const Pages *pages, void *to, float *scales,
                        int64_t slot) {
    int64_t size = bf16 ? 2 : 4, width = pages->width, count = pages->kv_heads * width;
    if (scales == NULL) {
        memcpy((char *)to + slot * count * size, (const char *)from + at * size, count * size);
        return;
    }
    for (int64_t h = 0; h < pages->kv_heads; h++) {
        float v[HEAD], max_abs = 0;
        read_floats(from, bf16, at + h * width, width, v);
        for (int64_t i = 0; i < width; i++) max_abs = fabsf(v[i]) > max_abs ? fabsf(v[i]) : max_abs;
        float scale = max_abs / 127.0f, divisor = scale > 1.17549435e-38f ? scale : 1.17549435e-38f;
        for (int64_t i = 0; i < width; i++)
            ((int8_t *)to)[slot * count + h * width + i] = (int8_t)nearbyintf(v[i] / divisor);
        scales[slot * pages->kv_heads + h] = scale;
    }
}

static void attention(const Decoder *decoder, const Pages *pages, int bf16, const Step *step, const Scratch *s,
                      int threads) {
    int64_t rows = step->tables.rows, size = bf16 ? 2 : 4, width = pages->width;
    int64_t total_heads = decoder->heads + 2 * pages->kv_heads, queries = decoder->heads * width;
    phi4mm_rotate(s->projected, bf16, rows, total_heads, decoder->heads + pages->kv_heads, width, step->cos, step->sin,
                  decoder->half, threads);
    for (int64_t m = 0; m < rows; m++) {
        int64_t at = m * total_heads * width;
        store_heads(s->projected, bf16, at + queries, pages, pages->keys, pages->key_scales, step->slots[m]);
        store_heads(s->projected, bf16, at + queries + pages->kv_heads * width, pages, pages->values,
                    pages->value_scales, step->slots[m]);
        memcpy(s->temporary + m * queries * size, s->projected + at * size, queries * size);
    }
    phi4mm_decode(pages, &step->tables, s->temporary, bf16, decoder->heads, s->inner, s->attention, threads);
}

/* Run x (rows, width), float32 or bf16, through all layers in place, and write keys and values to their pages. Returns
   1 if a slot is outside the pages, else 0. */
int phi4mm_decoder(const Decoder *decoder, const Layer *layers, const Step *step, void *x, int bf16, void *scratch,
                   int threads) {
    int64_t rows = step->tables.rows, width = decoder->width;
    float eps = (float)decoder->eps;
    for (int64_t m = 0; m < rows; m++)
        if (step->slots[m] < 0 || step->slots[m] >= layers->pages.count * layers->pages.page) return 1;
    Scratch s = buffers_of(scratch, offsets_of(decoder, layers, &step->tables));
    for (const Layer *layer = layers; layer < layers + decoder->layers; layer++) {
        phi4mm_rms_norm(x, bf16, rows, width, layer->norm1, eps, s.normed, threads);
        linear(&layer->qkv, s.normed, bf16, step, s.projected, &s, threads);
        attention(decoder, &layer->pages, bf16, step, &s, threads);
        linear(&layer->o, s.inner, bf16, step, s.normed, &s, threads);
        phi4mm_add(x, s.normed, bf16, rows * width);
        phi4mm_rms_norm(x, bf16, rows, width, layer->norm2, eps, s.normed, threads);
        linear(&layer->gate_up, s.normed, bf16, step, s.projected, &s, threads);
        phi4mm_swiglu(s.projected, bf16, rows, decoder->inner, s.inner, threads);
        linear(&layer->down, s.inner, bf16, step, s.normed, &s, threads);
        phi4mm_add(x, s.normed, bf16, rows * width);
    }
    return 0;
}
