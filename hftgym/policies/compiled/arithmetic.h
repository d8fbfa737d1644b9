/* What a generated net is made of: short vectors, their functions, linear layers, an LSTM's gates.

Arithmetic is IEEE: no flag lets the compiler assume that numbers are finite or reorder sums. Sums are ordered by hand,
so that they run in vectors anyway, and a NaN stays a NaN. Buffers hold whole vectors: their sizes are multiples of
WIDEST floats, and what lies beyond the last element is finite and means nothing. */

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__)
#define LANES 16
#elif defined(__AVX__)
#define LANES 8
#else
#define LANES 4
#endif
#define WIDEST 16 /* buffers are padded to this, whatever the machine */
#define BLOCK 64  /* sums that a linear layer keeps in registers */
#define PADDED(n) (((n) + WIDEST - 1) / WIDEST * WIDEST)

#define INLINE static inline __attribute__((always_inline, unused))
#define TABLE static const __attribute__((aligned(64), unused))
#define BUFFER __attribute__((aligned(64)))

typedef float lanes __attribute__((vector_size(4 * LANES)));
typedef int32_t integers __attribute__((vector_size(4 * LANES)));

INLINE lanes load(const float *x) {
    lanes v;
    memcpy(&v, x, sizeof v);
    return v;
}

INLINE void store(float *y, lanes v) { memcpy(y, &v, sizeof v); }

INLINE lanes all(float x) { return x - (lanes){0}; }

INLINE lanes choose(integers mask, lanes yes, lanes no) {
    return (lanes)((mask & (integers)yes) | (~mask & (integers)no));
}

/* Return 2^x, to 2e-7 of itself; beyond +-126 that of +-126. */
INLINE lanes exp2_of(lanes x) {
    x = choose(x > all(126.0f), all(126.0f), x);
    x = choose(x < all(-126.0f), all(-126.0f), x);
    /* The sum with 1.5 * 2^23 has the integer next to x in its low bits. */
    lanes shifted = x + all(0x1.8p23f);
    lanes f = x - (shifted - all(0x1.8p23f));
    /* 2^f for |f| <= 1/2 with the least relative error, 9e-8. */
    lanes p = all(0x1.5bba14p-10f);
    p = p * f + all(0x1.3cea88p-7f);
    p = p * f + all(0x1.c6b752p-5f);
    p = p * f + all(0x1.ebf9bcp-3f);
    p = p * f + all(0x1.62e42ap-1f);
    p = p * f + all(1.0f);
    /* 2^integer has the integer + 127 in its exponent. A product, unlike a sum of bits, leaves a NaN one. */
    return p * (lanes)(((integers)shifted - (0x4b400000 - 127)) << 23);
}

INLINE lanes sigmoid_of(lanes x) { return all(1.0f) / (all(1.0f) + exp2_of(x * all(-0x1.715476p0f))); }

INLINE lanes tanh_of(lanes x) { return all(1.0f) - all(2.0f) / (all(1.0f) + exp2_of(x * all(0x1.715476p1f))); }

INLINE void sigmoid_each(const float *x, float *y, int n) {
    for (int i = 0; i < n; i += LANES) store(y + i, sigmoid_of(load(x + i)));
}

INLINE void tanh_each(const float *x, float *y, int n) {
    for (int i = 0; i < n; i += LANES) store(y + i, tanh_of(load(x + i)));
}

/* Write width sums of weights [inputs][width], each begun with its bias, to y; width divides BLOCK or is 48.
A narrow block adds up several inputs side by side, so that one addition need not wait for the other. */
INLINE void linear_block(const float *x, int inputs, const float *weights, const float *bias, float *y, int width) {
    const int vectors = width / LANES, parts = BLOCK / width;
    lanes sum[BLOCK / LANES];
    for (int v = 0; v < vectors * parts; v++) sum[v] = v < vectors ? load(bias + v * LANES) : all(0.0f);
    for (int k = 0; k < inputs; k += parts)
        for (int v = 0; v < vectors * parts; v++)
            sum[v] += all(x[k + v / vectors]) * load(weights + k * width + v * LANES);
    for (int v = vectors; v < vectors * parts; v++) sum[v % vectors] += sum[v];
    for (int v = 0; v < vectors; v++) store(y + v * LANES, sum[v]);
}

/* Write bias + weights x to y, both of whole vectors. Weights come as blocks of outputs, each [inputs][outputs], and
inputs is a multiple of 4. */
INLINE void linear(const float *x, int inputs, const float *weights, const float *bias, float *y, int outputs) {
    const int blocks = outputs / BLOCK, rest = outputs % BLOCK;
    for (int b = 0; b < blocks; b++)
        linear_block(x, inputs, weights + b * BLOCK * inputs, bias + b * BLOCK, y + b * BLOCK, BLOCK);
    if (rest) linear_block(x, inputs, weights + blocks * BLOCK * inputs, bias + blocks * BLOCK, y + blocks * BLOCK, rest);
}

/* The same for few outputs: weights [outputs][inputs], inputs of whole vectors. */
INLINE void linear_few(const float *x, int inputs, const float *weights, const float *bias, float *y, int outputs) {
    for (int n = 0; n < outputs; n++) {
        lanes sum = all(0.0f);
        for (int k = 0; k < inputs; k += LANES) sum += load(x + k) * load(weights + n * inputs + k);
        float total[LANES];
        store(total, sum);
        for (int half = LANES / 2; half; half /= 2)
            for (int i = 0; i < half; i++) total[i] += total[i + half];
        y[n] = bias[n] + total[0];
    }
}

/* From an LSTM's four sums (input, output, forget, cell; each of width floats, whole vectors) and its cell to the new
state (Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000). */
INLINE void lstm_gates(const float *sums, const float *cell, float *hidden_out, float *cell_out, int width) {
    for (int i = 0; i < width; i += LANES) {
        lanes forget = sigmoid_of(load(sums + 2 * width + i)), candidate = tanh_of(load(sums + 3 * width + i));
        lanes next = forget * load(cell + i) + sigmoid_of(load(sums + i)) * candidate;
        store(cell_out + i, next);
        store(hidden_out + i, sigmoid_of(load(sums + width + i)) * tanh_of(next));
    }
}
