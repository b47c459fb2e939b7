// What the CPU does for the instructions of src/engine/cuda/half/instructions.cuh, as the PTX ISA has them:
// "Data Movement and Conversion Instructions: Asynchronous copy" (cp.async), "Warp-level matrix load
// instruction: ldmatrix", "Matrix Fragments for mma.m16n8k16 with floating point type". Where the manual
// leaves a time open the worst one is taken: a copy lands when it is waited for, and its place holds NaN
// until then.
#pragma once

#include <cstring>

#include "cuda_host.h"
#include "tensor_cores.h"

#define SHARED_MEMORY(type, name, alignment) \
    type *const name = reinterpret_cast<type *>(emulation::dynamic_memory())

inline std::uint32_t shared_address(const void *p) { return emulation::shared_address(p); }

// ---- cp.async

inline void copy16(std::uint32_t to, const void *from, bool valid) {
    using namespace emulation;
    if (reinterpret_cast<std::uintptr_t>(from) % 16 != 0) fail("a copy of 16 bytes from %p", from);
    Copy copy = {shared_bytes(to, 16, 16), {}};
    if (valid) std::memcpy(copy.bytes, from, 16);
    std::memset(copy.to, 0xff, 16);
    running->copies.push_back(copy);
}
inline void copy16_cached(std::uint32_t to, const void *from, bool valid) { copy16(to, from, valid); }
inline void commit() {
    emulation::running->groups.push_back(std::move(emulation::running->copies));
    emulation::running->copies.clear();
}
/// All but the last N groups have landed for this thread; for others after a barrier.
template <int N> inline void wait() {
    auto &groups = emulation::running->groups;
    while (groups.size() > N) {
        for (const emulation::Copy &copy : groups.front()) {
            std::memcpy(copy.to, copy.bytes, 16);
            emulation::running->unfenced = true;
        }
        groups.pop_front();
    }
}

// ---- ldmatrix

inline void load4(std::uint32_t (&r)[4], std::uint32_t at) {
    emulation::Rows mine = {at, {&r[0], &r[1], &r[2], &r[3]}};
    emulation::meet(emulation::Scope::Warp, emulation::load_4, &mine);
}
inline void load4_turned(std::uint32_t (&r)[4], std::uint32_t at) {
    emulation::Rows mine = {at, {&r[0], &r[1], &r[2], &r[3]}};
    emulation::meet(emulation::Scope::Warp, emulation::load_4_turned, &mine);
}
inline void load2_turned(std::uint32_t &a, std::uint32_t &b, std::uint32_t at) {
    emulation::Rows mine = {at, {&a, &b}};
    emulation::meet(emulation::Scope::Warp, emulation::load_2_turned, &mine);
}

// ---- mma

inline void multiply(float (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1) {
    emulation::Tile mine = {c, a, {b0, b1}};
    emulation::meet(emulation::Scope::Warp, emulation::multiply_tiles, &mine);
}

/// ex2.approx.ftz
inline float power2(float x) { return std::exp2(x); }
