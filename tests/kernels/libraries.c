// CUDA's libraries by their names alone, and a program that calls some of their functions through
// src/engine/cuda/libraries/shim.c. `LIBRARY` compiles the libraries: one file stands for them all.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    double numbers[3];
} Struct;
#define ARGUMENTS                                                                                            \
    void *a, int b, long c, char d, const void *e, float f, unsigned long g, void *h, double i, Struct j,    \
        short k, float l, double m, float n, float o, float p, double q, float r, double s, void *t

#ifdef LIBRARY
static int calls = 0;

// More arguments of every class than there are registers for.
double cublasGemmEx(ARGUMENTS) {
    calls++;
    int right = a == &calls + 1 && b == -2 && c == -3 && d == 'd' && e == 0 && f == 6.5f && g == ~0ul &&
                h == 0 && i == 9.25 && j.numbers[0] == 10 && j.numbers[2] == 12 && k == -11 && l == 12 &&
                m == 13 && n == 14 && o == 15 && p == 16 && q == 17 && r == 18 && s == 19 && t == &calls;
    return right ? 1000 + calls : 0;
}
void *cublasCreate_v2(void) { return &calls; }
int cuInit(unsigned flags) { return flags == 7 ? 100 : -1; }
#else
double cublasGemmEx(ARGUMENTS);
char *cublasCreate_v2(void);
int cuInit(unsigned);
int cuCtxSynchronize(void);
void *__cudaRegisterFatBinary(void *);
const char *dream_cuda_library(int, const char **);

// "missing": tells of the libraries. "call": calls them. "none": calls a function that is not there.
int main(int count, char **words) {
    const char *word = count > 1 ? words[1] : "", *file, *reason;
    if (__cudaRegisterFatBinary(0) != 0) return 2;  // the runtime is not there
    if (!strcmp(word, "missing")) {
        for (int library = 0; library < 4; library++) {
            reason = dream_cuda_library(library, &file);
            printf("%s %s\n", file, reason ? "missing" : "there");
            if (reason && !strstr(reason, file)) return 3;
        }
        return 0;
    }
    if (!strcmp(word, "none")) return cuCtxSynchronize();
    if (cuInit(7) != 100) return 4;
    char *at = cublasCreate_v2();
    Struct s = {{10, 11, 12}};
    for (int call = 1; call <= 3; call++) {
        double found = cublasGemmEx(at + sizeof(int), -2, -3, 'd', 0, 6.5f, ~0ul, 0, 9.25, s, -11, 12, 13, 14,
                                    15, 16, 17, 18, 19, at);
        if (found != 1000 + call) return 5;
    }
    return 0;
}
#endif
