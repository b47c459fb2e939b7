// What the CPU does for the instructions of src/engine/cuda/half/warpgroup.cuh, as the PTX ISA has them:
// "Asynchronous Warpgroup Level Matrix Multiply-Accumulate Instructions", with its matrix descriptors and the
// 128-byte swizzle. Operands are read, and sums changed, when the products are waited for: as late as may be.
#pragma once

#include "instructions_host.h"

namespace emulation {

inline void ask(const Product &product) {
    // A thread's own writes to shared memory are seen by the tensor cores after a fence and a barrier.
    for (const Thread &thread : block)
        if (thread.unfenced) fail("products of what was written without a fence");
    running->products.push_back(product);
}
template <int N> void wait_for_products(void *const *brought) {
    auto thread = [&](int i) { return static_cast<Thread *>(brought[i]); };
    while (thread(0)->products_under_way.size() > N) {
        const std::size_t count = thread(0)->products_under_way.front().size();
        for (std::size_t j = 0; j < count; j++) {
            Product *of[128];
            for (int i = 0; i < 128; i++) of[i] = &thread(i)->products_under_way.front().at(j);
            run_product(of);
        }
        for (int i = 0; i < 128; i++) thread(i)->products_under_way.pop_front();
    }
}

} // namespace emulation

inline void proxy_fence() { emulation::running->unfenced = false; }
inline void warpgroup_fence() {}
inline void warpgroup_commit() {
    emulation::running->products_under_way.push_back(std::move(emulation::running->products));
    emulation::running->products.clear();
}
template <int N> inline void warpgroup_wait() {
    emulation::meet(emulation::Scope::Warpgroup, emulation::wait_for_products<N>, emulation::running);
}
inline void pin(float &) {}
inline void pin(std::uint32_t &) {}
inline void zero16(std::uint32_t at) {
    std::memset(emulation::shared_bytes(at, 16, 16), 0, 16);
    emulation::running->unfenced = true;
}

template <int N> struct Product {
    static void run(float (&d)[N / 2], std::uint64_t a, std::uint64_t b, int add) {
        if (!add) emulation::fail("a product that is not added");
        emulation::ask({d, N, {}, a, b, true, false});
    }
};
template <int N> struct Mixed {
    static void run(float (&d)[N / 2], const std::uint32_t (&a)[4], std::uint64_t b) {
        emulation::ask({d, N, {a[0], a[1], a[2], a[3]}, 0, b, false, true});
    }
};
