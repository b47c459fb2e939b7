//! What a convolution reads: a tensor as it is, or one whose elementwise tail (batch norm, ReLU, the gradient
//! of batch norm) is computed while it is copied, so that it never exists in memory.

/// A contiguous `[n, channels, h, w]` operand.
#[derive(Clone, Copy)]
pub(in crate::engine::host) enum Source<'a> {
    /// The numbers themselves.
    Plain(&'a [f32]),
    /// `max(0, scale[c] * y + shift[c])`.
    ScaledRelu {
        y: &'a [f32],
        scale: &'a [f32],
        shift: &'a [f32],
    },
    /// `a[c] * dz + b[c] * y + c[c]`: the gradient of a batch norm's input from that of its output.
    Combined {
        dz: &'a [f32],
        y: &'a [f32],
        coefficients: &'a [[f32; 3]],
    },
}

impl Source<'_> {
    /// Copies the `out.len()` numbers from position `start` on, all of them in `channel`.
    #[inline]
    pub(in crate::engine::host) fn copy(&self, start: usize, channel: usize, out: &mut [f32]) {
        let end = start + out.len();
        match self {
            Self::Plain(x) => out.copy_from_slice(&x[start..end]),
            Self::ScaledRelu { y, scale, shift } => {
                let (scale, shift) = (scale[channel], shift[channel]);
                for (out, y) in out.iter_mut().zip(&y[start..end]) {
                    *out = (y * scale + shift).max(0.0);
                }
            }
            Self::Combined { dz, y, coefficients } => {
                let [a, b, c] = coefficients[channel];
                for ((out, dz), y) in out.iter_mut().zip(&dz[start..end]).zip(&y[start..end]) {
                    *out = a * dz + b * y + c;
                }
            }
        }
    }
}
