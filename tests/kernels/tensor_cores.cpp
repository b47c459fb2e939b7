// Matrix instructions, as the PTX ISA has them. This file is nearly all the work, and uses no address of a
// kernel's unchecked: it is compiled without sanitizers, and optimised.
#include "tensor_cores.h"

#include <cstring>

#include "numbers.h"

namespace emulation {

static float f32(std::uint16_t bits) {
    struct Table {
        float of[1 << 16];
        Table() {
            for (int i = 0; i < 1 << 16; i++) of[i] = f32_of(std::uint16_t(i));
        }
    };
    static const Table *const table = new Table;
    return table->of[bits];
}
static void spread(std::uint32_t pair, float &low, float &high) {
    low = f32(std::uint16_t(pair)), high = f32(std::uint16_t(pair >> 16));
}

// ---- ldmatrix: lanes 8 i to 8 i + 7 bring the addresses of the rows of matrix i (8 rows of 8 numbers of 16
// bits); lane l gets numbers 2 (l % 4) and the next of row l / 4, or, transposed, of column l / 4.

template <int MATRICES, bool TURNED> static void load_matrices(void *const *brought) {
    for (int i = 0; i < MATRICES; i++) {
        std::uint16_t matrix[8][8];
        for (int row = 0; row < 8; row++)
            std::memcpy(matrix[row], shared_bytes(static_cast<Rows *>(brought[8 * i + row])->at, 16, 16), 16);
        for (int lane = 0; lane < 32; lane++) {
            const int g = lane / 4, t = 2 * (lane % 4);
            const std::uint16_t low = TURNED ? matrix[t][g] : matrix[g][t];
            const std::uint16_t high = TURNED ? matrix[t + 1][g] : matrix[g][t + 1];
            *static_cast<Rows *>(brought[lane])->registers[i] = low | std::uint32_t(high) << 16;
        }
    }
}
void load_4(void *const *brought) { load_matrices<4, false>(brought); }
void load_4_turned(void *const *brought) { load_matrices<4, true>(brought); }
void load_2_turned(void *const *brought) { load_matrices<2, true>(brought); }

// ---- mma.m16n8k16 over f16 with sums in f32. With g = lane / 4 and t = 2 (lane % 4), a lane holds of
// A (16x16): rows g, g + 8, g, g + 8 at columns t, t, t + 8, t + 8 (and the next column each);
// B (16x8): rows t, t + 8 (and the next row each) at column g;
// C (16x8): rows g (c0, c1) and g + 8 (c2, c3) at columns t and t + 1.

/// c += a b
template <int ROWS, int COLUMNS>
static void multiply(float (&c)[ROWS][COLUMNS], const float (&a)[ROWS][16], const float (&b)[16][COLUMNS]) {
    for (int row = 0; row < ROWS; row++)
        for (int k = 0; k < 16; k++)
            for (int column = 0; column < COLUMNS; column++) c[row][column] += a[row][k] * b[k][column];
}

void multiply_tiles(void *const *brought) {
    float a[16][16], b[16][8], c[16][8] = {};
    for (int lane = 0; lane < 32; lane++) {
        const Tile &tile = *static_cast<Tile *>(brought[lane]);
        const int g = lane / 4, t = 2 * (lane % 4);
        for (int i = 0; i < 4; i++) {
            const int row = g + i % 2 * 8, column = t + i / 2 * 8;
            spread(tile.a[i], a[row][column], a[row][column + 1]);
        }
        for (int i = 0; i < 2; i++) spread(tile.b[i], b[t + i * 8][g], b[t + i * 8 + 1][g]);
    }
    multiply(c, a, b);
    for (int lane = 0; lane < 32; lane++)
        for (int i = 0; i < 4; i++)
            static_cast<Tile *>(brought[lane])->c[i] += c[lane / 4 + i / 2 * 8][2 * (lane % 4) + i % 2];
}

// ---- wgmma.m64nNk16 over f16 with sums in f32

/// A matrix descriptor: bits 0-13 the start, 16-29 the leading and 32-45 the stride offset, all in units of
/// 16 bytes; 49-51 a base offset; 62-63 the swizzle, of which 1 is that of 128 bytes.
struct Descriptor {
    std::uint32_t start, leading, stride;
    explicit Descriptor(std::uint64_t d)
        : start((d & 0x3fff) << 4), leading((d >> 16 & 0x3fff) << 4), stride((d >> 32 & 0x3fff) << 4) {
        if (d >> 62 != 1 || (d >> 49 & 7) != 0) fail("a descriptor of another swizzle: %llx", (long long)d);
    }
    /// The number at a byte that is so far from the start: bits 4-6 of an address are XORed by bits 7-9.
    float at(std::uint32_t offset) const {
        const std::uint32_t plain = start + offset, address = plain ^ (plain >> 7 & 7) << 4;
        std::uint16_t bits;
        std::memcpy(&bits, shared_bytes(address, 2, 2), 2);
        return f32(bits);
    }
    /// Rows of 64 numbers along the sum, 8 of them a kilobyte ("K-major").
    float straight(int row, int k) const { return at(row / 8 * stride + row % 8 * 128 + k * 2); }
    /// Rows of 64 numbers across the sum ("MN-major").
    float turned(int k, int column) const {
        return at(column / 64 * leading + k / 8 * stride + k % 8 * 128 + column % 64 * 2);
    }
};

/// Warp w of the warpgroup has rows 16 w to 16 w + 15, and of these and of each 8 columns what a warp has in
/// mma.m16n8k16.
void run_product(Product *const (&of)[128]) {
    constexpr int MOST = 160;
    const int columns = of[0]->columns;
    float a[64][16], b[16][MOST] = {};
    static float c[64][MOST];
    const Descriptor right(of[0]->right_at);
    for (int n = 0; n < columns; n++)
        for (int k = 0; k < 16; k++)
            b[k][n] = of[0]->right_turned ? right.turned(k, n) : right.straight(n, k);
    for (int i = 0; i < 128; i++) {
        const Product &mine = *of[i];
        const int row = i / 32 * 16 + i % 32 / 4, t = 2 * (i % 4);
        if (mine.right_at != of[0]->right_at || mine.left_at != of[0]->left_at || mine.columns != columns)
            fail("the threads of a warpgroup ask for different products");
        if (!mine.left_in_memory)
            for (int e = 0; e < 4; e++) {
                float *to = &a[row + e % 2 * 8][t + e / 2 * 8];
                spread(mine.left[e], to[0], to[1]);
            }
    }
    if (of[0]->left_in_memory) {
        const Descriptor left(of[0]->left_at);
        for (int row = 0; row < 64; row++)
            for (int k = 0; k < 16; k++) a[row][k] = left.straight(row, k);
    }
    std::memset(c, 0, sizeof c);
    multiply(c, a, b);
    for (int i = 0; i < 128; i++)
        for (int e = 0; e < columns / 2; e++) {
            const int row = i / 32 * 16 + i % 32 / 4 + e / 2 % 2 * 8;
            of[i]->sums[e] += c[row][e / 4 * 8 + 2 * (i % 4) + e % 2];
        }
}

} // namespace emulation
