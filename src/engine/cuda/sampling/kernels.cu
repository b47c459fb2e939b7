// Rounds of sampling outliers: what src/outlier/round/ does on the CPU, with the same bits. Noise, products
// and scores are rounded where they are rounded there; how much is looked at exactly is another matter, on
// which no result depends.

#include <stdint.h>

// A number whose sums and products are rounded one by one: nothing is contracted.
struct Exact {
    float value;
};
__device__ __forceinline__ Exact operator+(Exact a, Exact b) { return {__fadd_rn(a.value, b.value)}; }
__device__ __forceinline__ Exact operator-(Exact a, Exact b) { return {__fsub_rn(a.value, b.value)}; }
__device__ __forceinline__ Exact operator*(Exact a, Exact b) { return {__fmul_rn(a.value, b.value)}; }

// The functions of src/rng/normal.rs, which says where the numbers come from.
__device__ __forceinline__ Exact logarithm(Exact x) {
    const uint32_t shifted = __float_as_uint(x.value) - 0x3F3504F3u;
    const Exact exponent = {(float)((int32_t)shifted >> 23)};
    const Exact mantissa = Exact{__uint_as_float((shifted & 0x007FFFFFu) + 0x3F3504F3u)} - Exact{1.f};
    const float rest[8] = {-1.151461e-1f,  1.1676998e-1f, -1.2420141e-1f, 1.4249323e-1f,
                           -1.6668058e-1f, 2.0000714e-1f, -2.4999993e-1f, 3.333333e-1f};
    const Exact square = mantissa * mantissa;
    Exact series = {7.0376836e-2f};
#pragma unroll
    for (int i = 0; i < 8; i++) series = series * mantissa + Exact{rest[i]};
    const Exact tail = series * mantissa * square;
    return tail - Exact{2.1219444e-4f} * exponent - Exact{0.5f} * square + mantissa +
           Exact{0.6933594f} * exponent;
}

__device__ __forceinline__ void two_normals(uint32_t a, uint32_t b, float *out) {
    const Exact u = Exact{(float)((a >> 8) + 1)} * Exact{1.f / 16777216.f};
    const Exact radius = {__fsqrt_rn((Exact{-2.f} * logarithm(u)).value)};
    const uint32_t rotated = b + (1u << 29), quadrant = rotated >> 30;
    const int32_t offset = (int32_t)(rotated & 0x3FFFFFFFu) - (1 << 29);
    const Exact angle = Exact{(float)(offset >> 5)} * Exact{1.57079632679489661923f / (1 << 25)};
    const Exact z = angle * angle;
    const Exact sin =
        ((Exact{-1.9515296e-4f} * z + Exact{8.332161e-3f}) * z - Exact{1.6666655e-1f}) * z * angle + angle;
    const Exact cos =
        ((Exact{2.4433157e-5f} * z - Exact{1.3887316e-3f}) * z + Exact{4.1666646e-2f}) * z * z -
        Exact{0.5f} * z + Exact{1.f};
    const uint32_t sin_sign = (quadrant & 2) << 30, cos_sign = ((quadrant + 1) & 2) << 30;
    const Exact s = quadrant & 1 ? cos : sin, c = quadrant & 1 ? sin : cos;
    out[0] = (radius * Exact{__uint_as_float(__float_as_uint(c.value) ^ cos_sign)}).value;
    out[1] = (radius * Exact{__uint_as_float(__float_as_uint(s.value) ^ sin_sign)}).value;
}

// The noise of rounds, [rounds, count]: a thread draws four numbers, of the Philox block of its number.
extern "C" __global__ void __launch_bounds__(256)
    sample_noise(float *noise, int key0, int key1, int cls, int first, long count) {
    const long at = 4 * ((long)blockIdx.x * 256 + threadIdx.x);
    if (at >= count) return;
    uint32_t c0 = (uint32_t)(at / 4), c1 = cls, c2 = first + blockIdx.y, c3 = 0, k0 = key0, k1 = key1;
    for (int i = 0; i < 10; i++) {
        const uint32_t high0 = __umulhi(0xD2511F53u, c0), low0 = 0xD2511F53u * c0;
        const uint32_t high1 = __umulhi(0xCD9E8D57u, c2), low1 = 0xCD9E8D57u * c2;
        c0 = high1 ^ c1 ^ k0;
        c1 = low1;
        c2 = high0 ^ c3 ^ k1;
        c3 = low0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    float four[4];
    two_normals(c0, c1, four);
    two_normals(c2, c3, four + 2);
    noise += blockIdx.y * count;
    for (int i = 0; i < 4 && at + i < count; i++) noise[at + i] = four[i];
}

// sigma^2 |e|^2 of every noise vector: a thread adds up one, in eight sums, as `square_and_dot` does.
extern "C" __global__ void __launch_bounds__(256)
    sample_squares(const float *noise, double *squares, long rows, int width, float sigma) {
    const long row = (long)blockIdx.x * 256 + threadIdx.x;
    if (row >= rows) return;
    const float *e = noise + row * width;
    Exact sums[8] = {};
    int at = 0;
    for (; at + 8 <= width; at += 8)
#pragma unroll
        for (int i = 0; i < 8; i++) sums[i] = sums[i] + Exact{e[at + i]} * Exact{e[at + i]};
    Exact sum = sums[0];
#pragma unroll
    for (int i = 1; i < 8; i++) sum = sum + sums[i];
    for (; at < width; at++) sum = sum + Exact{e[at]} * Exact{e[at]};
    squares[row] = (Exact{sigma} * Exact{sigma} * sum).value;
}

constexpr int TILE = 128, DEPTH = 8, LINES = 256 / DEPTH, PASSES = TILE / LINES;

// out[row, column] = sum over d of a[row, d] b[column, d], each sum fused and in the order of d, as the CPU's
// `product`. A block makes 128 x 128 of them, a thread 8 x 8, while the next part of the depth is under way.
extern "C" __global__ void __launch_bounds__(256, 2)
    sample_product(const float *a, const float *b, float *out, long rows, int columns, int depth) {
    __align__(16) __shared__ float left[2][DEPTH][TILE + 4], right[2][DEPTH][TILE + 4];
    const int thread = threadIdx.x, d = thread % DEPTH, line = thread / DEPTH;
    const int tx = thread % 16 * 4, ty = thread / 16 * 4;
    const long row = (long)blockIdx.x * TILE;
    const int column = blockIdx.y * TILE, steps = (depth + DEPTH - 1) / DEPTH;
    float sums[8][8] = {}, from_a[PASSES], from_b[PASSES];

    auto fetch = [&](int step) {
        const int at = step * DEPTH + d;
#pragma unroll
        for (int i = 0; i < PASSES; i++) {
            const long r = row + line + LINES * i;
            const int c = column + line + LINES * i;
            from_a[i] = r < rows && at < depth ? a[r * depth + at] : 0.f;
            from_b[i] = c < columns && at < depth ? b[(long)c * depth + at] : 0.f;
        }
    };
    auto put = [&](int half) {
#pragma unroll
        for (int i = 0; i < PASSES; i++) {
            left[half][d][line + LINES * i] = from_a[i];
            right[half][d][line + LINES * i] = from_b[i];
        }
    };
    fetch(0);
    put(0);
    __syncthreads();
    for (int step = 0; step < steps; step++) {
        if (step + 1 < steps) fetch(step + 1);
        const int half = step & 1;
#pragma unroll
        for (int k = 0; k < DEPTH; k++) {
            const float *in_a = left[half][k] + ty, *in_b = right[half][k] + tx;
            const float4 a0 = *(const float4 *)in_a, a1 = *(const float4 *)(in_a + 64);
            const float4 b0 = *(const float4 *)in_b, b1 = *(const float4 *)(in_b + 64);
            const float x[8] = {a0.x, a0.y, a0.z, a0.w, a1.x, a1.y, a1.z, a1.w};
            const float y[8] = {b0.x, b0.y, b0.z, b0.w, b1.x, b1.y, b1.z, b1.w};
#pragma unroll
            for (int i = 0; i < 8; i++)
#pragma unroll
                for (int j = 0; j < 8; j++) sums[i][j] = fmaf(x[i], y[j], sums[i][j]);
        }
        if (step + 1 < steps) put(half ^ 1);
        __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < 8; i++) {
        const long r = row + ty + i % 4 + i / 4 * 64;
#pragma unroll
        for (int j = 0; j < 8; j++) {
            const int c = column + tx + j % 4 + j / 4 * 64;
            if (r < rows && c < columns) out[r * columns + c] = sums[i][j];
        }
    }
}

// In how many columns a + b exceeds the threshold; every lane gets the count of the warp.
__device__ __forceinline__ int above(const float *a, const float *b, int n, float threshold) {
    int count = 0;
#pragma unroll 4
    for (int i = threadIdx.x % 32; i < n; i += 32) count += a[i] + b[i] > threshold;
#pragma unroll
    for (int mask = 16; mask > 0; mask /= 2) count += __shfl_xor_sync(0xffffffffu, count, mask);
    return count;
}

// Numbers as integers of the same order.
__device__ __forceinline__ uint32_t ordered(float x) {
    const uint32_t bits = __float_as_uint(x);
    return bits >> 31 ? ~bits : bits | 0x80000000u;
}
__device__ __forceinline__ float of_ordered(uint32_t key) {
    return __uint_as_float(key >> 31 ? key & 0x7fffffffu : ~key);
}

// The k-th largest a + b, bit by bit from the top: the largest number that k of them reach.
__device__ __forceinline__ float kth_largest(const float *a, const float *b, int n, int k) {
    uint32_t found = 0;
    for (uint32_t bit = 0x80000000u; bit > 0; bit >>= 1) {
        int count = 0;
#pragma unroll 4
        for (int i = threadIdx.x % 32; i < n; i += 32) count += ordered(a[i] + b[i]) >= (found | bit);
#pragma unroll
        for (int mask = 16; mask > 0; mask /= 2) count += __shfl_xor_sync(0xffffffffu, count, mask);
        if (count >= k) found |= bit;
    }
    return of_ordered(found);
}

struct Search {
    const float *moved;    // sigma e . z, [rounds, noise, n]
    const double *squares; // sigma^2 |e|^2, [rounds, noise]
    const float *gram;     // b . z, [boundary, n]
    const double *own;     // |b|^2
    const int *boundary;   // the features that the b are
    const int *ranks;      // the b of each round, [rounds, anchors]
    int *kept;             // noise vectors, and behind them k-th features, each [rounds, anchors, keep]
    int n, k, noise, anchors, keep, nearest, mixed;
};

constexpr int WARPS = 8, MOST = 64;

// A block searches the candidates of a group of a round, a warp every eighth of them. A candidate is counted
// out as soon as `keep` others of any one warp are better, and otherwise measured; so every warp keeps its
// best, and the best of these are the group's.
extern "C" __global__ void __launch_bounds__(256) sample_search(Search s) {
    __shared__ double scores[WARPS][MOST]; // the lower, the better; equal ones by their places
    __shared__ int places[WARPS][MOST], counts[WARPS];
    __shared__ volatile double bounds[WARPS];
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, group = blockIdx.x;
    const long round = blockIdx.y;
    const float *moved = s.moved + round * s.noise * s.n;
    const double *squares = s.squares + round * s.noise;
    const int *ranks = s.ranks + round * s.anchors;
    int *kept = s.kept + (round * s.anchors + group) * s.keep;
    int *kths = kept + (long)gridDim.y * s.anchors * s.keep;
    if (lane == 0) {
        counts[warp] = 0;
        bounds[warp] = INFINITY;
    }
    __syncthreads();

    int count = 0; // of lane 0's warp; only lane 0 counts
    for (int place = warp; place < s.noise; place += WARPS) {
        int anchor = group, noise = place;
        if (s.mixed) {
            const long candidate = group + (long)place * s.anchors;
            anchor = (int)(candidate / s.noise);
            noise = (int)(candidate % s.noise);
        }
        const int rank = ranks[anchor];
        const float *a = s.gram + (long)rank * s.n, *b = moved + (long)noise * s.n;
        const double sum = s.own[rank] + 2.0 * (double)b[s.boundary[rank]] + squares[noise];
        const double norm = sqrt(sum > 1e-12 ? sum : 1e-12);
        double bound = bounds[0];
#pragma unroll
        for (int i = 1; i < WARPS; i++) bound = bounds[i] < bound ? bounds[i] : bound;
        // Outwards by more than all the rounding.
        const float product = (float)((s.nearest ? -bound : bound) * norm);
        const float margin = fabsf(product) * 1.1920929e-7f + 1.17549435e-38f;
        const int nearer = above(a, b, s.n, s.nearest ? product - margin : product + margin);
        if (s.nearest ? nearer < s.k : nearer >= s.k) continue;
        const double cosine = (double)kth_largest(a, b, s.n, s.k) / norm;
        if (lane == 0) {
            const double score = s.nearest ? -cosine : cosine;
            // Later places of a warp are higher: an equal score stands behind.
            int at = count;
            while (at > 0 && scores[warp][at - 1] > score) at--;
            const int most = s.keep < MOST ? s.keep : MOST;
            if (at < most) {
                count = count < most ? count + 1 : most;
                for (int i = count - 1; i > at; i--) {
                    scores[warp][i] = scores[warp][i - 1];
                    places[warp][i] = places[warp][i - 1];
                }
                scores[warp][at] = score;
                places[warp][at] = place;
                counts[warp] = count;
                if (count == s.keep) bounds[warp] = scores[warp][count - 1];
            }
        }
        __syncwarp();
    }
    __syncthreads();

    if (threadIdx.x == 0) {
        int next[WARPS] = {};
        for (int i = 0; i < s.keep; i++) {
            int best = -1;
            for (int w = 0; w < WARPS; w++) {
                if (next[w] == counts[w]) continue;
                if (best < 0) {
                    best = w;
                    continue;
                }
                const double score = scores[w][next[w]], other = scores[best][next[best]];
                const bool before = places[w][next[w]] < places[best][next[best]];
                if (score < other || (score == other && before)) best = w;
            }
            kept[i] = places[best][next[best]++];
        }
    }
    __syncthreads();

    for (int i = warp; i < s.keep; i += WARPS) {
        // Mixed groups have places of which nothing was said before.
        const int rank = ranks[s.mixed && s.keep == 1 ? 0 : group];
        const float *a = s.gram + (long)rank * s.n, *b = moved + (long)kept[i] * s.n;
        const float kth = kth_largest(a, b, s.n, s.k);
        int first = s.n;
        for (int l = lane; l < s.n && first == s.n; l += 32)
            if (a[l] + b[l] == kth) first = l;
#pragma unroll
        for (int mask = 16; mask > 0; mask /= 2) {
            const int other = __shfl_xor_sync(0xffffffffu, first, mask);
            first = other < first ? other : first;
        }
        if (lane == 0) kths[i] = first;
    }
}
