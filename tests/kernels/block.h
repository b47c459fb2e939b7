// A block of CUDA threads on one thread of the CPU. Every thread of the block is a coroutine on a stack of
// its own, which runs until it must meet others: at a barrier of the block, or in an instruction of a warp or
// a warpgroup. A warp runs as far ahead of the others as it may, so that a missing barrier shows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <vector>

struct dim3 {
    unsigned x, y, z;
};
extern dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace emulation {

/// Ends the program with a message that names the kernel and the thread.
[[noreturn, gnu::format(printf, 1, 2)]] void fail(const char *message, ...);

enum class Scope { Warp, Warpgroup, Block };
constexpr int members(Scope scope) { return scope == Scope::Warp ? 32 : 128; }

/// What the threads of a warp or warpgroup do together, given what each has brought.
typedef void (*Action)(void *const *brought);

/// 16 bytes on their way from global to shared memory.
struct Copy {
    unsigned char *to;
    unsigned char bytes[16];
};

/// What a warpgroup has asked the tensor cores for and not waited for; every thread notes its own part.
struct Product;

struct Thread {
    void *stack_pointer;
    dim3 index;
    enum { Ready, Waiting, Done } state;
    Scope scope;
    Action action;
    void *brought;
    /// Groups of copies that were committed, the oldest first, and the copies since.
    std::deque<std::vector<Copy>> groups;
    std::vector<Copy> copies;
    /// Whether it has written shared memory that the tensor cores' own way to it may not see yet.
    bool unfenced;
    std::deque<std::vector<Product>> products_under_way;
    std::vector<Product> products;
};

struct Product {
    float *sums;
    int columns;
    std::uint32_t left[4]; // a fragment of the left side, where `left_at` is none
    std::uint64_t left_at, right_at;
    bool left_in_memory, right_turned;
};

/// The thread that runs, and all of its block.
extern Thread *running;
extern std::vector<Thread> block;

/// Waits until all threads of the scope have come here, and `action` (none for a barrier) is done.
void meet(Scope scope, Action action, void *brought);

/// The dynamic shared memory of the block: its start, and the address of that as instructions count.
unsigned char *dynamic_memory();
std::uint32_t shared_address(const void *of);
/// The bytes at a shared address, which must be aligned and inside.
unsigned char *shared_bytes(std::uint32_t at, std::size_t count, std::size_t alignment);

struct Launch {
    const char *kernel;
    dim3 grid, block;
    std::size_t memory;
    std::function<void()> body;
};
/// Runs all blocks; `backwards`: the last block, warp and lane first.
void run(const Launch &launch, bool backwards);

/// Kernels by their names; a kernel takes its arguments as bytes.
typedef std::vector<std::vector<unsigned char>> Arguments;
typedef std::function<std::function<void()>(const Arguments &)> Kernel;
void know(const char *name, Kernel kernel);

} // namespace emulation
