// Half precision for any GPU.
#include "../../src/engine/cuda/half/kernels.cu"

static const int known[] = {
    KERNEL(conv_128x160), KERNEL(conv_128x128), KERNEL(conv_64x160), KERNEL(conv_128x16), KERNEL(conv_sum),
    KERNEL(attention_40x128), KERNEL(attention_64x128), KERNEL(attention_80x128), KERNEL(attention_160x64),
    KERNEL(attention_160x32x64),
    KERNEL(group_sums), KERNEL(group_apply), KERNEL(layer_norm), KERNEL(geglu),
};
