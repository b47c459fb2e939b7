// Rounds of sampling outliers.
#include "cuda_host.h"

#include "../../src/engine/cuda/sampling/kernels.cu"

static const int known[] = {
    KERNEL(sample_noise), KERNEL(sample_squares), KERNEL(sample_product), KERNEL(sample_search),
};
