// CUDA's libraries, loaded when they are first called.
//
// candle has cudarc linked with CUDA's libraries, so that a program with them in it would not start where one
// is missing. Here is a function for each of theirs that is called (functions.h); the linker finds these, and
// needs the libraries no more. At its first call such a function looks up the one that it stands for, and
// from then on jumps there, with registers and stack as the caller left them.
//
// Whether a library can be loaded is for `dream_cuda_library` to say, before anything of it is called. A call
// in vain ends the program; only what nvcc's code does before `main` and after it passes without the runtime.

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "functions.h"

#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)
// The libraries of the toolkit that this is compiled with: another major version has other functions.
#define FILE_OF(name) "lib" name ".so." TEXT(__CUDACC_VER_MAJOR__)

// Those first that others need.
enum { driver, cublaslt, cublas, curand, nvrtc, runtime, libraries };
static const char *const files[libraries] = {
    "libcuda.so.1",    FILE_OF("cublasLt"), FILE_OF("cublas"),
    "libcurand.so.10", FILE_OF("nvrtc"),    FILE_OF("cudart"),
};
static void *handles[libraries];

struct Function {
    void *address;  // null until the first call
    const char *name;
    int library;
};

static void *load(int library) {
    void *handle = __atomic_load_n(&handles[library], __ATOMIC_ACQUIRE);
    if (!handle) {
        handle = dlopen(files[library], RTLD_LAZY | RTLD_LOCAL);
        __atomic_store_n(&handles[library], handle, __ATOMIC_RELEASE);
    }
    return handle;
}

// Loads library number `library` and puts its name in `file`. Returns what is in the way of it, or null.
__attribute__((visibility("hidden"))) const char *dream_cuda_library(int library, const char **file) {
    *file = files[library];
    return load(library) ? NULL : dlerror();
}

static long nothing(void) { return 0; }

// The function that `function` stands for; called by what is below.
__attribute__((visibility("hidden"), used)) void *dream_cuda_find(struct Function *function) {
    void *handle = load(function->library), *address = handle ? dlsym(handle, function->name) : NULL;
    if (!handle && function->library == runtime && strstr(function->name, "egister")) return (void *)nothing;
    if (!address) {
        const char *why = dlerror();
        fprintf(stderr, "%s was called in vain: %s\n", function->name, why ? why : files[function->library]);
        abort();
    }
    __atomic_store_n(&function->address, address, __ATOMIC_RELEASE);
    return address;
}

// A function `name`: jumps to the address that it has, or else by way of `dream_cuda_first`, which gets one.
#if defined(__x86_64__)
#define JUMP(name)                                      \
    "mov dream_cuda_" #name "(%rip), %r11\n"            \
    "test %r11, %r11\n"                                 \
    "jz 1f\n"                                           \
    "jmp *%r11\n"                                       \
    "1: lea dream_cuda_" #name "(%rip), %r11\n"         \
    "jmp dream_cuda_first\n"
__asm__(
    ".text\n"
    ".type dream_cuda_first, %function\n"
    "dream_cuda_first:\n"
    "push %rbp\n"
    "mov %rsp, %rbp\n"
    "sub $192, %rsp\n"
    "mov %rdi, (%rsp)\n mov %rsi, 8(%rsp)\n mov %rdx, 16(%rsp)\n mov %rcx, 24(%rsp)\n"
    "mov %r8, 32(%rsp)\n mov %r9, 40(%rsp)\n mov %rax, 48(%rsp)\n"
    "movups %xmm0, 64(%rsp)\n movups %xmm1, 80(%rsp)\n movups %xmm2, 96(%rsp)\n movups %xmm3, 112(%rsp)\n"
    "movups %xmm4, 128(%rsp)\n movups %xmm5, 144(%rsp)\n movups %xmm6, 160(%rsp)\n movups %xmm7, 176(%rsp)\n"
    "mov %r11, %rdi\n"
    "call dream_cuda_find\n"
    "mov %rax, %r11\n"
    "mov (%rsp), %rdi\n mov 8(%rsp), %rsi\n mov 16(%rsp), %rdx\n mov 24(%rsp), %rcx\n"
    "mov 32(%rsp), %r8\n mov 40(%rsp), %r9\n mov 48(%rsp), %rax\n"
    "movups 64(%rsp), %xmm0\n movups 80(%rsp), %xmm1\n movups 96(%rsp), %xmm2\n movups 112(%rsp), %xmm3\n"
    "movups 128(%rsp), %xmm4\n movups 144(%rsp), %xmm5\n movups 160(%rsp), %xmm6\n movups 176(%rsp), %xmm7\n"
    "leave\n"
    "jmp *%r11\n");
#elif defined(__aarch64__)
#define JUMP(name)                                      \
    "adrp x16, dream_cuda_" #name "\n"                  \
    "add x16, x16, :lo12:dream_cuda_" #name "\n"        \
    "ldr x17, [x16]\n"                                  \
    "cbz x17, 1f\n"                                     \
    "br x17\n"                                          \
    "1: b dream_cuda_first\n"
__asm__(
    ".text\n"
    ".type dream_cuda_first, %function\n"
    "dream_cuda_first:\n"
    "stp x29, x30, [sp, #-224]!\n"
    "mov x29, sp\n"
    "stp x0, x1, [sp, #16]\n stp x2, x3, [sp, #32]\n stp x4, x5, [sp, #48]\n stp x6, x7, [sp, #64]\n"
    "str x8, [sp, #80]\n"
    "stp q0, q1, [sp, #96]\n stp q2, q3, [sp, #128]\n stp q4, q5, [sp, #160]\n stp q6, q7, [sp, #192]\n"
    "mov x0, x16\n"
    "bl dream_cuda_find\n"
    "mov x17, x0\n"
    "ldp x0, x1, [sp, #16]\n ldp x2, x3, [sp, #32]\n ldp x4, x5, [sp, #48]\n ldp x6, x7, [sp, #64]\n"
    "ldr x8, [sp, #80]\n"
    "ldp q0, q1, [sp, #96]\n ldp q2, q3, [sp, #128]\n ldp q4, q5, [sp, #160]\n ldp q6, q7, [sp, #192]\n"
    "ldp x29, x30, [sp], #224\n"
    "br x17\n");
#else
#error "CUDA is for x86-64 and AArch64"
#endif

#define FUNCTION(of, name)                                                                             \
    __attribute__((visibility("hidden"))) struct Function dream_cuda_##name = {0, #name, of};          \
    __asm__(".globl " #name "\n.type " #name ", %function\n" #name ":\n" JUMP(name));
#define OF_DRIVER(name) FUNCTION(driver, name)
#define OF_CUBLASLT(name) FUNCTION(cublaslt, name)
#define OF_CUBLAS(name) FUNCTION(cublas, name)
#define OF_CURAND(name) FUNCTION(curand, name)
#define OF_NVRTC(name) FUNCTION(nvrtc, name)
#define OF_RUNTIME(name) FUNCTION(runtime, name)
DRIVER(OF_DRIVER)
CUBLASLT(OF_CUBLASLT)
CUBLAS(OF_CUBLAS)
CURAND(OF_CURAND)
NVRTC(OF_NVRTC)
RUNTIME(OF_RUNTIME)
