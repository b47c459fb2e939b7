// f16 and bf16 as bits, with CUDA's conversions: to nearest, ties to even.
#pragma once

#include <cstdint>
#include <cstring>

namespace emulation {

inline std::uint32_t bits(float x) {
    std::uint32_t b;
    std::memcpy(&b, &x, 4);
    return b;
}
inline float number(std::uint32_t b) {
    float x;
    std::memcpy(&x, &b, 4);
    return x;
}

inline std::uint16_t f16_of(float x) {
    const std::uint32_t b = bits(x), sign = b >> 16 & 0x8000;
    const std::uint32_t size = b & 0x7fffffff;
    if (size > 0x7f800000) return std::uint16_t(sign | 0x7fff); // NaN
    if (size >= 0x477ff000) return std::uint16_t(sign | 0x7c00); // from 65520 on: infinite
    if (size < 0x38800000) { // below 2^-14: a multiple of 2^-24, by the rounding of an f32 sum
        const float rounded = number(size) + 0.5f;
        return std::uint16_t(sign | (bits(rounded) - bits(0.5f)));
    }
    const std::uint32_t odd = size >> 13 & 1;
    return std::uint16_t(sign | ((size + 0xfff + odd - 0x38000000) >> 13));
}

inline float f32_of(std::uint16_t h) {
    const std::uint32_t sign = std::uint32_t(h & 0x8000) << 16, exponent = h >> 10 & 31, rest = h & 1023;
    if (exponent == 31) return number(sign | 0x7f800000 | rest << 13);
    if (exponent == 0) {
        const float small = float(rest) * (1.f / 16777216.f);
        return sign ? -small : small;
    }
    return number(sign | (exponent + 112) << 23 | rest << 13);
}

inline std::uint16_t bf16_of(float x) {
    const std::uint32_t b = bits(x);
    if ((b & 0x7fffffff) > 0x7f800000) return 0x7fff;
    return std::uint16_t((b + 0x7fff + (b >> 16 & 1)) >> 16);
}

} // namespace emulation
