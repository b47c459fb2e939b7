// What both files of kernels have: numbers in pairs, and the arguments of kernels that are there twice. The
// structs are those of arguments.rs.
#pragma once

#include <cuda_fp16.h>
#include <stdint.h>

#include "instructions.cuh"

static __device__ __forceinline__ uint32_t pack(float low, float high) {
    __half2 h = __floats2half2_rn(low, high);
    return *reinterpret_cast<uint32_t *>(&h);
}
static __device__ __forceinline__ float2 unpack(uint32_t v) {
    return __half22float2(*reinterpret_cast<__half2 *>(&v)); }

/// `y[m, n] = sum over (chunk of 64 channels, tap, channel) x * w + bias[n] + extra[n] + residual[m, n]`.
struct Conv {
    const __half *x;        // [batch, height, width, channels]; channels a multiple of 64
    const __half *w;        // [outputs, channels / 64, taps, 64]
    __half *y;              // [rows, outputs]
    float *parts;           // [splits, rows, outputs], where splits > 1
    const float *bias;      // [outputs] or null
    const __half *extra;    // [outputs] or null
    const __half *residual; // [rows, outputs] or null
    int rows, outputs, channels;
    int height, width;         // of x
    int out_height, out_width; // of y
    int kernel, stride, before, twice; // `twice`: x is read as if each pixel were doubled both ways
    int splits;
};

struct Attention {
    const __half *q, *k, *v; // first number of the first head
    __half *out;             // [batch, tokens, heads * D]
    int tokens, others;      // queries and keys of an image
    int q_stride, kv_stride; // numbers from one token to the next
    int channels;            // heads * D
    float scale;             // log2(e) / sqrt(D)
};
