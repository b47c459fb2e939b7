// What nvcc gives a file of kernels without being asked: qualifiers, vector types, thread numbers, barriers,
// shuffles, and the functions that the kernels use.
#pragma once

#include <cmath>
#include <cstdint>

#include "block.h"
#include "numbers.h"

#define __global__
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __align__(n) alignas(n)
// The blocks run one after another, so that one place is enough.
#define __shared__ static

struct alignas(8) int2 {
    int x, y;
};
struct alignas(8) uint2 {
    unsigned x, y;
};
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};
struct alignas(8) float2 {
    float x, y;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
struct alignas(4) uchar4 {
    unsigned char x, y, z, w;
};
inline int2 make_int2(int x, int y) { return {x, y}; }
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline uchar4 make_uchar4(int x, int y, int z, int w) {
    return {(unsigned char)x, (unsigned char)y, (unsigned char)z, (unsigned char)w};
}

using std::fmaxf;
inline int min(int a, int b) { return a < b ? a : b; }
inline float rsqrtf(float x) { return 1.f / std::sqrt(x); }
inline float __expf(float x) { return std::exp(x); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __uint_as_float(unsigned x) { return emulation::number(x); }
inline unsigned __float_as_uint(float x) { return emulation::bits(x); }
inline unsigned __umulhi(unsigned a, unsigned b) { return unsigned(std::uint64_t(a) * b >> 32); }
// Compiled without contraction (program.rs).
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fsqrt_rn(float x) { return std::sqrt(x); }

inline void __syncthreads() { emulation::meet(emulation::Scope::Block, nullptr, nullptr); }
inline void __syncwarp() { emulation::meet(emulation::Scope::Warp, nullptr, nullptr); }

/// PTX ISA, "shfl.sync", mode .bfly: each lane gets the value of the lane whose number differs in `mask`.
template <typename T> T __shfl_xor_sync(unsigned lanes, T value, int mask) {
    static_assert(sizeof(T) == 4);
    struct Exchange {
        T value, found;
        int mask;
    } mine = {value, {}, mask};
    if (lanes != 0xffffffffu) emulation::fail("a shuffle of some lanes");
    emulation::meet(emulation::Scope::Warp, [](void *const *brought) {
        for (int i = 0; i < 32; i++) {
            auto *here = static_cast<Exchange *>(brought[i]);
            here->found = static_cast<Exchange *>(brought[i ^ here->mask])->value;
        }
    }, &mine);
    return mine.found;
}

// How a file of kernels tells their names: `static const int known[] = {KERNEL(one), KERNEL(other)};`.
namespace emulation {
template <typename T> T argument(const std::vector<unsigned char> &bytes) {
    if (bytes.size() != sizeof(T)) fail("an argument of %zu bytes for one of %zu", bytes.size(), sizeof(T));
    T value;
    std::memcpy(&value, bytes.data(), sizeof(T));
    return value;
}
template <typename... T, std::size_t... I>
std::function<void()> bound(void (*kernel)(T...), const Arguments &arguments, std::index_sequence<I...>) {
    if (arguments.size() != sizeof...(T))
        fail("%zu arguments for a kernel of %zu", arguments.size(), sizeof...(T));
    auto values = std::make_tuple(argument<T>(arguments[I])...);
    return [=] { kernel(std::get<I>(values)...); };
}
template <typename... T> int known(const char *name, void (*kernel)(T...)) {
    know(name, [=](const Arguments &arguments) {
        return bound(kernel, arguments, std::index_sequence_for<T...>());
    });
    return 0;
}
} // namespace emulation
#define KERNEL(name) emulation::known(#name, name)
