// The part of CUDA's header of this name that the kernels use.
#pragma once

#include "cuda_host.h"

struct __half {
    std::uint16_t bits;
};
struct alignas(4) __half2 {
    __half x, y;
};
inline float __half2float(__half h) { return emulation::f32_of(h.bits); }
inline __half __float2half(float x) { return {emulation::f16_of(x)}; }
inline __half2 __floats2half2_rn(float x, float y) { return {__float2half(x), __float2half(y)}; }
inline float2 __half22float2(__half2 h) { return {__half2float(h.x), __half2float(h.y)}; }
