//! SGD with momentum as one kernel over a variable.

#[cfg(feature = "cuda")]
pub(super) mod gpu;

use super::launch::{Arg, Launch};
use crate::engine::raw::SgdRule;

/// The update of `len` weights; `at`: addresses of weights, velocity and gradient. In the `first` step there
/// is no velocity yet.
pub(super) fn update(
    [weights, velocity, grad]: [u64; 3],
    len: usize,
    rule: &SgdRule,
    first: bool,
) -> (Launch, [Arg; 9]) {
    let launch = Launch {
        kernel: "sgd",
        grid: [1056, 1, 1],
        block: [256, 1, 1],
        memory: 0,
    };
    let args = [
        weights.into(),
        velocity.into(),
        grad.into(),
        (len as i64).into(),
        (rule.lr as f32).into(),
        (rule.momentum as f32).into(),
        (rule.weight_decay as f32).into(),
        i32::from(rule.nesterov).into(),
        i32::from(first).into(),
    ];
    (launch, args)
}
