//! Shapes of a convolution, and how its three products are laid out for the kernels.
//!
//! A picture is copied once into zero-padded planes, split into the `stride * stride` phases of its pixels.
//! In that layout every tap of the kernel is one offset, whatever the stride, and pixels that are neighbours
//! in the output are neighbours in memory. The gradient of the input is the same operation on the padded
//! gradient of the output, once for each phase of the input's pixels, with the taps that reach that phase.

use crate::engine::raw::ConvShape;
use crate::engine::simd::VECTOR;

/// The padded copy of one sample: for each channel `used[0] * used[1]` planes of `h` rows and
/// `w` columns.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine::host) struct Planes {
    pub channels: usize,
    /// Rows and columns of the original.
    pub rows: usize,
    pub columns: usize,
    /// Zero rows above and zero columns before it.
    pub top: usize,
    pub left: usize,
    /// Neighbouring pixels of one plane are this far apart in the picture.
    pub stride: usize,
    /// Phases (positions modulo `stride`) of rows and columns that some tap reads.
    pub used: [usize; 2],
    /// Rows and columns of one plane.
    pub h: usize,
    pub w: usize,
}

impl Planes {
    pub(in crate::engine::host) fn channel_len(&self) -> usize {
        self.used[0] * self.used[1] * self.h * self.w
    }
    /// Numbers of one sample, with room for a vector that starts at the last pixel.
    pub(in crate::engine::host) fn len(&self) -> usize {
        self.channels * self.channel_len() + VECTOR
    }
    /// Position in a channel of the padded picture's pixel (`y`, `x`).
    fn at(&self, y: usize, x: usize) -> usize {
        let phase = y % self.stride * self.used[1] + x % self.stride;
        (phase * self.h + y / self.stride) * self.w + x / self.stride
    }
}

/// Eight neighbouring output pixels, or the last `count` of a row.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine::host) struct Vector {
    pub base: u32,
    pub out: u32,
    pub count: u32,
}

/// One product over padded planes: `out[m][pixel] = sum over k of weight[m][k] * planes[base(pixel) +
/// offsets[k]]`.
#[derive(Clone, Debug)]
pub(in crate::engine::host) struct Correlation {
    /// Position of each term within a group's planes, increasing in blocks of one channel.
    pub offsets: Vec<u32>,
    pub vectors: Vec<Vector>,
    /// The vectors' bases alone.
    pub bases: Vec<u32>,
    /// Distance in the output of two neighbouring pixels.
    pub lane_stride: usize,
    /// For pictures narrower than a vector: position of each output pixel in the planes. The terms are then
    /// gathered into rows of `row_len` first, and `vectors` index these rows.
    pub gather: Option<Vec<u32>>,
    pub row_len: usize,
    /// With `gather`: start of each term's row.
    pub row_starts: Vec<u32>,
    /// With `gather`: position of each pixel in an output plane.
    pub places: Option<Vec<u32>>,
    /// For a gradient of the input: (kernel row, kernel column) of each term within a channel. Otherwise
    /// empty.
    pub tap_of: Vec<[usize; 2]>,
}

impl Correlation {
    /// Lays out a grid of `gh * gw` output pixels; `base` and `out` give a pixel's place in the planes and in
    /// the output.
    fn new(
        offsets: Vec<u32>,
        [gh, gw]: [usize; 2],
        base: impl Fn(usize, usize) -> usize,
        out: impl Fn(usize, usize) -> usize,
        lane_stride: usize,
    ) -> Self {
        let mut vectors = Vec::new();
        let (mut gather, mut places, mut row_len) = (None, None, 0);
        if gw >= VECTOR {
            for y in 0..gh {
                for x in (0..gw).step_by(VECTOR) {
                    let count = (gw - x).min(VECTOR) as u32;
                    vectors.push(Vector {
                        base: base(y, x) as u32,
                        out: out(y, x) as u32,
                        count,
                    });
                }
            }
        } else {
            let pixels: Vec<(usize, usize)> = (0..gh).flat_map(|y| (0..gw).map(move |x| (y, x))).collect();
            gather = Some(pixels.iter().map(|p| base(p.0, p.1) as u32).collect());
            places = Some(pixels.iter().map(|p| out(p.0, p.1) as u32).collect());
            row_len = pixels.len().next_multiple_of(VECTOR);
            for start in (0..pixels.len()).step_by(VECTOR) {
                let count = (pixels.len() - start).min(VECTOR) as u32;
                vectors.push(Vector {
                    base: start as u32,
                    out: start as u32,
                    count,
                });
            }
        }
        let row_starts = (0..offsets.len()).map(|k| (k * row_len) as u32).collect();
        let bases = vectors.iter().map(|v| v.base).collect();
        Self {
            offsets,
            vectors,
            bases,
            lane_stride,
            gather,
            row_starts,
            places,
            row_len,
            tap_of: Vec::new(),
        }
    }

    /// Returns the numbers that the planes (of all groups, `group_len` apart) must hold.
    pub(in crate::engine::host) fn reach(&self, groups: usize, group_len: usize) -> usize {
        let pixel = match &self.gather {
            Some(pixels) => pixels.iter().max().map_or(0, |p| *p as usize + 1),
            None => self.bases.iter().max().map_or(0, |b| *b as usize + VECTOR),
        };
        (groups - 1) * group_len + pixel + self.offsets.iter().max().map_or(0, |o| *o as usize)
    }
}

/// Layout of the forward product (and, with the same planes, of the gradient of the weights).
pub(in crate::engine::host) fn forward(g: &ConvShape) -> (Planes, Correlation) {
    let [oh, ow] = g.out();
    let s = g.stride;
    let planes = Planes {
        channels: g.channels_in,
        rows: g.h,
        columns: g.w,
        top: g.padding,
        left: g.padding,
        stride: s,
        used: g.kernel.map(|k| k.min(s)),
        h: (g.h + 2 * g.padding).div_ceil(s),
        w: (g.w + 2 * g.padding).div_ceil(s),
    };
    let mut offsets = Vec::with_capacity(g.taps());
    for c in 0..g.channels_in / g.groups {
        for y in 0..g.kernel[0] {
            for x in 0..g.kernel[1] {
                offsets.push((c * planes.channel_len() + planes.at(y, x)) as u32);
            }
        }
    }
    let grid = Correlation::new(offsets, [oh, ow], |y, x| y * planes.w + x, |y, x| y * ow + x, 1);
    (planes, grid)
}

/// Layouts of the gradient of the input: planes of the output's gradient, and one product for each phase of
/// the input.
pub(in crate::engine::host) fn input_grad(g: &ConvShape) -> (Planes, Vec<Correlation>) {
    let ([oh, ow], s, p) = (g.out(), g.stride, g.padding);
    let top = g.kernel[0].div_ceil(s);
    let left = g.kernel[1].div_ceil(s);
    let planes = Planes {
        channels: g.channels_out,
        rows: oh,
        columns: ow,
        top,
        left,
        stride: 1,
        used: [1; 2],
        // Pixel q of a phase reads output rows up to q + p.div_ceil(s).
        h: top + oh.max(g.h.div_ceil(s) + p.div_ceil(s)),
        w: left + ow.max(g.w.div_ceil(s) + p.div_ceil(s)),
    };
    // Input row iy = s q + r meets kernel row ky = a + s j at output row q + e - j, with a = (r + p) mod s, e
    // = (r + p) / s.
    let reach = |r: usize, kernel: usize| {
        let (a, e) = ((r + p) % s, (r + p) / s);
        (a..kernel)
            .step_by(s)
            .enumerate()
            .map(move |(j, k)| (k, e, j))
            .collect::<Vec<_>>()
    };
    let mut all = Vec::with_capacity(s * s);
    for ry in 0..s.min(g.h) {
        for rx in 0..s.min(g.w) {
            let (rows, columns) = (reach(ry, g.kernel[0]), reach(rx, g.kernel[1]));
            let mut offsets = Vec::new();
            let mut tap_of = Vec::new();
            for m in 0..g.channels_out / g.groups {
                for (ky, ey, jy) in &rows {
                    for (kx, ex, jx) in &columns {
                        // j <= ceil(kernel / s) = top, so this never goes below zero.
                        let (y, x) = (ey + top - jy, ex + left - jx);
                        offsets.push((m * planes.channel_len() + y * planes.w + x) as u32);
                        if m == 0 {
                            tap_of.push([*ky, *kx]);
                        }
                    }
                }
            }
            let grid = [(g.h - ry).div_ceil(s), (g.w - rx).div_ceil(s)];
            let out = |y: usize, x: usize| (s * y + ry) * g.w + s * x + rx;
            let mut one = Correlation::new(offsets, grid, |y, x| y * planes.w + x, out, s);
            one.tap_of = tap_of;
            all.push(one);
        }
    }
    (planes, all)
}
