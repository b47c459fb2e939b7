// The part of CUDA's header of this name that the kernels use.
#pragma once

#include "cuda_host.h"

struct __nv_bfloat16 {
    std::uint16_t bits;
    __nv_bfloat16() = default;
    explicit __nv_bfloat16(float x) : bits(emulation::bf16_of(x)) {}
    operator float() const { return emulation::number(std::uint32_t(bits) << 16); }
};
struct alignas(4) __nv_bfloat162 {
    __nv_bfloat16 x, y;
};
inline __nv_bfloat162 __floats2bfloat162_rn(float x, float y) {
    return {__nv_bfloat16(x), __nv_bfloat16(y)};
}
