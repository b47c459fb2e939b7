// What warps and warpgroups do together with matrices in shared memory.
#pragma once

#include "block.h"

namespace emulation {

/// What a lane brings to ldmatrix: the address of a row, and where its numbers go.
struct Rows {
    std::uint32_t at;
    std::uint32_t *registers[4];
};
void load_4(void *const *brought);
void load_4_turned(void *const *brought);
void load_2_turned(void *const *brought);

/// What a lane brings to mma.m16n8k16.
struct Tile {
    float *c;
    const std::uint32_t *a;
    std::uint32_t b[2];
};
void multiply_tiles(void *const *brought);

/// A product of a warpgroup, of which each thread has noted its part.
void run_product(Product *const (&of)[128]);

} // namespace emulation
