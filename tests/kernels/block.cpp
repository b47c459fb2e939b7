#include "block.h"

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include <sanitizer/asan_interface.h>

dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace emulation {

Thread *running = nullptr;
std::vector<Thread> block;

static const Launch *launched = nullptr;
static void *scheduler;
static constexpr std::size_t STACK = 64 << 10;
/// The most that a GPU gives a block, and where it begins: aligned to 16 bytes and no more, which is all that
/// a kernel may count on.
static constexpr std::size_t MOST = 227 << 10;
static constexpr std::uint32_t FIRST = 1024 + 16;
alignas(1024) static unsigned char memory[1024 + MOST + 1024];

void fail(const char *message, ...) {
    std::fflush(stdout);
    va_list arguments;
    va_start(arguments, message);
    std::fprintf(stderr, "emulated CUDA: ");
    std::vfprintf(stderr, message, arguments);
    va_end(arguments);
    if (launched)
        std::fprintf(stderr, " (kernel %s, block %u %u %u, thread %u %u)", launched->kernel, blockIdx.x,
            blockIdx.y, blockIdx.z, threadIdx.x, threadIdx.y);
    std::fprintf(stderr, "\n");
    std::_Exit(1);
}

// ---- coroutines

/// Saves the registers that a function must keep and the stack pointer to `*from`, and goes on at `to`.
extern "C" void emulation_switch(void **from, void *to);
#if defined(__x86_64__)
asm(R"(
.text
.globl emulation_switch
emulation_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
)");
static constexpr int SAVED = 6;
#elif defined(__aarch64__)
asm(R"(
.text
.globl emulation_switch
emulation_switch:
    sub sp, sp, #160
    stp d8, d9, [sp, #0]
    stp d10, d11, [sp, #16]
    stp d12, d13, [sp, #32]
    stp d14, d15, [sp, #48]
    stp x19, x20, [sp, #64]
    stp x21, x22, [sp, #80]
    stp x23, x24, [sp, #96]
    stp x25, x26, [sp, #112]
    stp x27, x28, [sp, #128]
    stp x29, x30, [sp, #144]
    mov x9, sp
    str x9, [x0]
    mov sp, x1
    ldp d8, d9, [sp, #0]
    ldp d10, d11, [sp, #16]
    ldp d12, d13, [sp, #32]
    ldp d14, d15, [sp, #48]
    ldp x19, x20, [sp, #64]
    ldp x21, x22, [sp, #80]
    ldp x23, x24, [sp, #96]
    ldp x25, x26, [sp, #112]
    ldp x27, x28, [sp, #128]
    ldp x29, x30, [sp, #144]
    add sp, sp, #160
    ret
)");
static constexpr int SAVED = 19;
#else
#error "threads can be switched on x86-64 and AArch64 alone"
#endif

static void begin() {
    launched->body();
    if (!running->copies.empty()) fail("ends with copies that are under way");
    for (const auto &group : running->groups)
        if (!group.empty()) fail("ends with copies that are under way");
    if (!running->products.empty() || !running->products_under_way.empty())
        fail("ends with products that are under way");
    running->state = Thread::Done;
    void *gone;
    emulation_switch(&gone, scheduler);
    std::abort();
}

/// Makes the stack of a thread of the block as if it had just called `emulation_switch`.
static void *fresh_stack(std::size_t thread) {
    static unsigned char *stacks[1024];
    unsigned char *&stack = stacks[thread];
    if (!stack) stack = static_cast<unsigned char *>(std::malloc(STACK));
    ASAN_UNPOISON_MEMORY_REGION(stack, STACK); // what the last thread there has not returned from
    auto top = reinterpret_cast<std::uintptr_t>(stack + STACK) & ~std::uintptr_t(15);
    void **at = reinterpret_cast<void **>(top) - 1;
    *at = nullptr;
    *--at = reinterpret_cast<void *>(&begin);
    for (int i = 0; i < SAVED; i++) *--at = nullptr;
    return at;
}

void meet(Scope scope, Action action, void *brought) {
    running->state = Thread::Waiting;
    running->scope = scope, running->action = action, running->brought = brought;
    emulation_switch(&running->stack_pointer, scheduler);
}

// ---- a block

static void go_on(Thread &thread) {
    running = &thread;
    threadIdx = thread.index;
    emulation_switch(&scheduler, thread.stack_pointer);
}

/// Whether all of a scope that begins with thread `first` wait for each other there, and it is done.
static bool perform(std::size_t first, Scope scope) {
    void *brought[128];
    const std::size_t count = members(scope);
    if (first + count > block.size()) return false;
    for (std::size_t i = 0; i < count; i++) {
        const Thread &thread = block[first + i];
        if (thread.state != Thread::Waiting || thread.scope != scope || thread.action != block[first].action)
            return false;
        brought[i] = thread.brought;
    }
    running = &block[first];
    threadIdx = running->index;
    if (block[first].action) block[first].action(brought);
    for (std::size_t i = 0; i < count; i++) block[first + i].state = Thread::Ready;
    return true;
}

/// Runs a warp until it waits for other warps or has ended. Returns whether anything was done.
static bool run_warp(std::size_t first, bool backwards) {
    bool moved = false;
    const std::size_t count = block.size() - first < 32 ? block.size() - first : 32;
    do {
        for (std::size_t i = 0; i < count; i++) {
            Thread &thread = block[first + (backwards ? count - 1 - i : i)];
            if (thread.state != Thread::Ready) continue;
            go_on(thread);
            moved = true;
        }
    } while (perform(first, Scope::Warp));
    return moved;
}

static bool all_done() {
    for (const Thread &thread : block)
        if (thread.state != Thread::Done) return false;
    return true;
}

/// Lets all go on that wait at the block's barrier, if all are there that have not ended.
static bool release() {
    for (const Thread &thread : block) {
        const bool waits = thread.state == Thread::Waiting && thread.scope == Scope::Block;
        if (thread.state != Thread::Done && !waits) return false;
    }
    for (Thread &thread : block)
        if (thread.state == Thread::Waiting) thread.state = Thread::Ready;
    return true;
}

static void run_block(bool backwards) {
    for (std::size_t i = 0; i < block.size(); i++) {
        Thread &thread = block[i];
        const unsigned at = unsigned(i);
        thread.index = {at % blockDim.x, at / blockDim.x % blockDim.y, at / blockDim.x / blockDim.y};
        thread.stack_pointer = fresh_stack(i);
        thread.state = Thread::Ready;
        thread.groups.clear();
        thread.unfenced = false;
    }
    std::memset(memory + FIRST, 0xff, launched->memory); // NaN
    const std::size_t warps = (block.size() + 31) / 32;
    while (!all_done()) {
        bool moved = false;
        for (std::size_t w = 0; w < warps; w++)
            moved |= run_warp((backwards ? warps - 1 - w : w) * 32, backwards);
        for (std::size_t first = 0; first < block.size(); first += 128)
            moved |= perform(first, Scope::Warpgroup);
        if (!moved && !release()) {
            for (const Thread &thread : block)
                if (thread.state == Thread::Waiting && thread.scope != Scope::Block) {
                    threadIdx = thread.index;
                    break;
                }
            fail("threads wait for others that do not come");
        }
    }
}

void run(const Launch &launch, bool backwards) {
    if (launch.memory > MOST) fail("%s asks for %zu bytes of shared memory", launch.kernel, launch.memory);
    launched = &launch;
    gridDim = launch.grid, blockDim = launch.block;
    block.resize(std::size_t(blockDim.x) * blockDim.y * blockDim.z);
    ASAN_POISON_MEMORY_REGION(memory, sizeof memory);
    ASAN_UNPOISON_MEMORY_REGION(memory + FIRST, launch.memory);
    const std::size_t blocks = std::size_t(gridDim.x) * gridDim.y * gridDim.z;
    for (std::size_t i = 0; i < blocks; i++) {
        const std::size_t at = backwards ? blocks - 1 - i : i;
        blockIdx = {unsigned(at % gridDim.x), unsigned(at / gridDim.x % gridDim.y),
            unsigned(at / gridDim.x / gridDim.y)};
        run_block(backwards);
    }
    launched = nullptr;
}

// ---- shared memory

unsigned char *dynamic_memory() { return memory + FIRST; }

std::uint32_t shared_address(const void *of) {
    return std::uint32_t(static_cast<const unsigned char *>(of) - memory);
}

unsigned char *shared_bytes(std::uint32_t at, std::size_t count, std::size_t alignment) {
    if (at % alignment != 0) fail("the shared address %u is not aligned to %zu bytes", at, alignment);
    if (at < FIRST || at + count > FIRST + launched->memory)
        fail("the shared address %u is outside of %zu bytes", at - FIRST, launched->memory);
    return memory + at;
}

} // namespace emulation
