// Residual networks and their training.
#include "../../src/engine/cuda/residual/kernels.cu"

#define BOTH(name) KERNEL(name##_f32), KERNEL(name##_bf16)
static const int known[] = {
    BOTH(pack_picture), BOTH(pack_weights), BOTH(unpack_gradients), BOTH(moments), BOTH(normalize),
    BOTH(normalize_add), BOTH(normalize_two), BOTH(normalize_pool), BOTH(mean_area), BOTH(sums_inner),
    BOTH(sums_block), BOTH(sums_block_two), BOTH(sums_top), BOTH(sums_top_two), BOTH(sums_pool),
    BOTH(norm_gradient), BOTH(norm_gradient_masked), KERNEL(moments_join), KERNEL(norm_of_running),
    KERNEL(bias_rows), KERNEL(bias_gradient), KERNEL(gradient_join), KERNEL(sgd),
};
