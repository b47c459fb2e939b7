// Half precision for compute capability 9.0.
#include "../../src/engine/cuda/half/hopper.cu"

static const int known[] = {
    KERNEL(hopper_128x160), KERNEL(hopper_256x160), KERNEL(hopper_128x128), KERNEL(hopper_256x128),
    KERNEL(hopper_attention_40x128x128), KERNEL(hopper_attention_80x64x128),
};
