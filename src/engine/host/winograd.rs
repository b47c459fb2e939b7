//! 3x3 convolution by minimal filtering, F(2x2, 3x3) of Lavin and Gray ("Fast Algorithms for Convolutional
//! Neural Networks", arXiv 1509.09308): four pixels of the output take 16 products a channel pair instead of
//! 36.
//!
//! The output is cut into tiles of 2x2 pixels. Each needs 4x4 pixels of the input, `d`; with the kernel `g`,
//! `Y = A^T [(G g G^T) * (B^T d B)] A`, where the 16 elementwise products, summed over the channels, are 16
//! matrix products over all tiles. `G g G^T` is made once, when the model is loaded. A tile's numbers depend
//! on nothing but its own pixels, so where a task begins does not change a bit.

use std::cell::RefCell;

use rayon::prelude::*;

use crate::engine::simd::{LANES, Lanes, ROWS, Tile, VECTOR, accumulate, multiply, vectorized};

/// Products of a tile.
const POINTS: usize = 16;
/// Depth worked on at once, so that a panel's part stays near the processor.
const DEPTH_BLOCK: usize = 640;
/// Tiles that a task takes if there are enough: each reads all weights once, and keeps its points and sums
/// near the processor.
const TASK_TILES: usize = 8 * ROWS;
/// Inputs whose kernels are transformed together for 16 outputs: what that writes stays in the second-level
/// cache.
const INPUTS_TOGETHER: usize = 64;

/// The weights of a 3x3 convolution, transformed and packed: `[panel of 16 outputs][point][input]`.
pub(crate) struct Winograd {
    lanes: Lanes,
    inputs: usize,
    outputs: usize,
}

/// An image batch with the channels last, and how the convolution sees it.
pub(crate) struct Image<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    /// Whether each pixel counts as 2x2 (nearest upsampling).
    pub(crate) double: bool,
}

#[derive(Default)]
struct Scratch {
    /// The transformed input, `[point][tile][channel]`.
    points: Vec<f32>,
    /// Their products, `[point][panel][six tiles]`.
    sums: Vec<Tile>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl Winograd {
    /// Whether a convolution of so many channels gains by it.
    pub(crate) fn suits(inputs: usize, outputs: usize) -> bool {
        inputs.is_multiple_of(VECTOR) && inputs >= 2 * VECTOR && outputs >= LANES
    }

    /// Transforms `weights` `[outputs, inputs, 3, 3]`.
    pub(crate) fn new(weights: &[f32], inputs: usize, outputs: usize) -> Self {
        let mut lanes = Lanes::zeros(outputs.div_ceil(LANES) * POINTS * inputs);
        lanes
            .par_chunks_mut(POINTS * inputs)
            .enumerate()
            .for_each(|(panel, lanes)| {
                let first = panel * LANES;
                for from in (0..inputs).step_by(INPUTS_TOGETHER) {
                    let to = inputs.min(from + INPUTS_TOGETHER);
                    for (n, output) in (first..outputs.min(first + LANES)).enumerate() {
                        let first = output * inputs; // of [outputs, inputs, 9]
                        let kernels = &weights[(first + from) * 9..(first + to) * 9];
                        for (k, kernel) in (from..).zip(kernels.as_chunks::<9>().0) {
                            for (point, value) in transform_kernel(kernel).into_iter().enumerate() {
                                lanes[point * inputs + k].0[n] = value;
                            }
                        }
                    }
                }
            });
        Self {
            lanes,
            inputs,
            outputs,
        }
    }

    /// Convolves into `out` `[batch, height, width, outputs]`, adding `bias` a channel and `residual` of the
    /// same shape.
    pub(crate) fn run(&self, x: &Image, bias: Option<&[f32]>, residual: Option<&[f32]>, out: &mut [f32]) {
        let ([height, width], [even_height, even_width]) = (x.size(), x.even_size());
        if [height, width] == [even_height, even_width] {
            return self.convolve(x, bias, residual, out);
        }
        // An odd side is made up to an even one, and cut off again.
        let row = width * self.outputs;
        let images = out.len() / (height * row);
        let mut whole = vec![0.0; images * even_height * even_width * self.outputs];
        self.convolve(x, bias, None, &mut whole);
        for (i, out) in out.chunks_exact_mut(row).enumerate() {
            let from = (i / height * even_height + i % height) * even_width * self.outputs;
            out.copy_from_slice(&whole[from..from + row]);
        }
        if let Some(residual) = residual {
            for (o, r) in out.iter_mut().zip(residual) {
                *o += r;
            }
        }
    }

    /// As [`Self::run`], with `out` of the even size.
    fn convolve(&self, x: &Image, bias: Option<&[f32]>, residual: Option<&[f32]>, out: &mut [f32]) {
        let [_, width] = x.even_size();
        let row = 2 * width * self.outputs; // numbers of a row of tiles
        let rows = out.len() / row;
        let across = width / 2;
        let share = rows.div_ceil(rayon::current_num_threads());
        let together = TASK_TILES.div_ceil(across).clamp(1, share.max(1));
        out.par_chunks_mut(together * row)
            .enumerate()
            .for_each(|(i, out)| {
                let residual = residual.map(|r| &r[i * together * row..][..out.len()]);
                SCRATCH.with_borrow_mut(|scratch| {
                    self.task(x, i * together, bias, residual, out, scratch);
                });
            });
    }

    /// Rows of tiles from `first` on, as many as `out` holds.
    fn task(
        &self,
        x: &Image,
        first: usize,
        bias: Option<&[f32]>,
        residual: Option<&[f32]>,
        out: &mut [f32],
        scratch: &mut Scratch,
    ) {
        let task = Task::new(self, x, first, out.len());
        let (points, sums) = (POINTS * task.plane, POINTS * task.sum_plane);
        scratch.points.resize(scratch.points.len().max(points), 0.0);
        scratch
            .sums
            .resize(scratch.sums.len().max(sums), [[0.0; LANES]; ROWS]);
        let (points, sums) = (&mut scratch.points[..points], &mut scratch.sums[..sums]);
        task.gather(x, points);
        task.multiply(&self.lanes, points, sums);
        task.scatter(sums, bias, residual, out);
    }
}

/// Some rows of tiles, and where their numbers are in the scratch.
struct Task {
    inputs: usize,
    outputs: usize,
    /// Height and width of the output in whole tiles.
    size: [usize; 2],
    /// The first row of tiles, of all images.
    first: usize,
    /// Tiles in a row, and in all.
    across: usize,
    tiles: usize,
    /// Tiles by six, outputs by sixteen.
    groups: usize,
    panels: usize,
    /// Numbers from one point to the next in the transformed input, and in the sums.
    plane: usize,
    sum_plane: usize,
}

impl Task {
    fn new(weights: &Winograd, x: &Image, first: usize, out: usize) -> Self {
        let (inputs, outputs, size) = (weights.inputs, weights.outputs, x.even_size());
        let tiles = out / (4 * outputs);
        let (groups, panels) = (tiles.div_ceil(ROWS), outputs.div_ceil(LANES));
        Self {
            inputs,
            outputs,
            size,
            first,
            across: size[1] / 2,
            tiles,
            groups,
            panels,
            // The 16 planes are read and written side by side: a little more than their size keeps them from
            // all falling on the same lines of the cache.
            plane: tiles * inputs + LANES,
            sum_plane: panels * groups + 1,
        }
    }

    /// The transformed input, `[point][tile][channel]`.
    fn gather(&self, x: &Image, points: &mut [f32]) {
        let [height, _] = self.size;
        let zeros = vec![0.0; self.inputs];
        for tile in 0..self.tiles {
            let row = self.first + tile / self.across;
            let (image, y, x0) = (row / (height / 2), row % (height / 2) * 2, tile % self.across * 2);
            let mut pixels: [&[f32]; POINTS] = [&zeros; POINTS];
            for (i, pixel) in pixels.iter_mut().enumerate() {
                if let Some(inside) = x.pixel(image, y + i / 4, x0 + i % 4, self.inputs) {
                    *pixel = inside;
                }
            }
            transform_tile(&pixels, self.plane, &mut points[tile * self.inputs..]);
        }
    }

    /// Its products with the weights, `[point][panel][six tiles]`.
    fn multiply(&self, lanes: &Lanes, points: &[f32], sums: &mut [Tile]) {
        let (inputs, groups, tiles) = (self.inputs, self.groups, self.tiles);
        let mut rows: Vec<[&[f32]; ROWS]> = Vec::with_capacity(groups);
        for point in 0..POINTS {
            let left = &points[point * self.plane..][..tiles * inputs];
            // The last group is filled up with copies of the last tile, whose sums are thrown away.
            let row = |tile: usize| &left[tile.min(tiles - 1) * inputs..][..inputs];
            rows.clear();
            for first in (0..groups * ROWS).step_by(ROWS) {
                let mut six = [left; ROWS];
                for (r, slot) in six.iter_mut().enumerate() {
                    *slot = row(first + r);
                }
                rows.push(six);
            }
            for panel in 0..self.panels {
                let lanes = &lanes[(panel * POINTS + point) * inputs..][..inputs];
                let sums = &mut sums[point * self.sum_plane + panel * groups..][..groups];
                for start in (0..inputs).step_by(DEPTH_BLOCK) {
                    let end = inputs.min(start + DEPTH_BLOCK);
                    let add = if start == 0 { multiply } else { accumulate };
                    for (rows, sum) in rows.iter().zip(sums.iter_mut()) {
                        add(std::slice::from_ref(rows), start..end, &lanes[start..end], sum);
                    }
                }
            }
        }
    }

    /// The sums transformed to pixels of the output.
    fn scatter(&self, sums: &[Tile], bias: Option<&[f32]>, residual: Option<&[f32]>, out: &mut [f32]) {
        let [_, width] = self.size;
        for panel in 0..self.panels {
            let column = panel * LANES;
            let columns = LANES.min(self.outputs - column);
            let mut added = [0.0; LANES];
            if let Some(bias) = bias {
                added[..columns].copy_from_slice(&bias[column..column + columns]);
            }
            for tile in 0..self.tiles {
                let mut pixels = [added; 4];
                let of_tile = &sums[panel * self.groups + tile / ROWS..];
                transform_sums(of_tile, self.sum_plane, tile % ROWS, &mut pixels);
                for (i, pixel) in pixels.iter().enumerate() {
                    let (y, x) = (tile / self.across * 2 + i / 2, tile % self.across * 2 + i % 2);
                    let at = (y * width + x) * self.outputs + column;
                    let out = &mut out[at..at + columns];
                    match residual {
                        Some(residual) => {
                            for ((o, p), r) in out.iter_mut().zip(pixel).zip(&residual[at..at + columns]) {
                                *o = p + r;
                            }
                        }
                        None => match <&mut [f32; LANES]>::try_from(&mut *out) {
                            Ok(out) => *out = *pixel,
                            Err(_) => out.copy_from_slice(&pixel[..columns]),
                        },
                    }
                }
            }
        }
    }
}

impl<'a> Image<'a> {
    /// Height and width as the convolution sees them.
    fn size(&self) -> [usize; 2] {
        [self.rows, self.columns].map(|n| n << usize::from(self.double))
    }

    /// Height and width in whole tiles.
    fn even_size(&self) -> [usize; 2] {
        self.size().map(|n| n.next_multiple_of(2))
    }

    /// The pixel at (y - 1, x - 1) of the image as the convolution sees it; nothing outside.
    fn pixel(&self, image: usize, y: usize, x: usize, channels: usize) -> Option<&'a [f32]> {
        let [height, width] = self.size();
        // Minus one wraps to a huge number, which is outside as well.
        let (y, x) = (y.wrapping_sub(1), x.wrapping_sub(1));
        (y < height && x < width).then(|| {
            let half = usize::from(self.double);
            let at = (image * self.rows + (y >> half)) * self.columns + (x >> half);
            &self.data[at * channels..][..channels]
        })
    }
}

/// `G g G^T`, rounded once: sums and halves of a few `f32` are exact in `f64`, but for numbers of very
/// different sizes.
fn transform_kernel(kernel: &[f32; 9]) -> [f32; POINTS] {
    let g = kernel.map(f64::from);
    // `G` times a column of three.
    let four = |a: f64, b: f64, c: f64| [a, 0.5 * (a + b + c), 0.5 * (a - b + c), c];
    let columns: [[f64; 4]; 3] = std::array::from_fn(|x| four(g[x], g[3 + x], g[6 + x]));
    let mut points = [0.0; POINTS];
    for (row, points) in points.as_chunks_mut::<4>().0.iter_mut().enumerate() {
        *points = four(columns[0][row], columns[1][row], columns[2][row]).map(|v| v as f32);
    }
    points
}

type Wide = [f32; VECTOR];

#[inline(always)]
fn sub(a: Wide, b: Wide) -> Wide {
    std::array::from_fn(|i| a[i] - b[i])
}

#[inline(always)]
fn add(a: Wide, b: Wide) -> Wide {
    std::array::from_fn(|i| a[i] + b[i])
}

/// `B^T` times a column of four.
#[inline(always)]
fn before([a, b, c, d]: [Wide; 4]) -> [Wide; 4] {
    [sub(a, c), add(b, c), sub(c, b), sub(b, d)]
}

vectorized! {
    /// Writes `B^T d B` of a tile: point `p` of channel `c` goes to `points[p * plane + c]`.
    ///
    /// # Panics
    /// If the pixels have different numbers of channels, or `points` ends too early.
    #[expect(clippy::needless_range_loop, reason = "four arrays walked side by side")]
    fn transform_tile(pixels: &[&[f32]; POINTS], plane: usize, points: &mut [f32]) {
        let channels = pixels[0].len();
        assert!(channels.is_multiple_of(VECTOR) && pixels.iter().all(|p| p.len() == channels));
        assert!(points.len() >= (POINTS - 1) * plane + channels);
        for c in (0..channels).step_by(VECTOR) {
            // SAFETY: `c + VECTOR <= channels`, which all pixels have; checked above.
            let pixel = |i: usize| unsafe { pixels[i].as_ptr().add(c).cast::<Wide>().read() };
            let columns: [[Wide; 4]; 4] =
                std::array::from_fn(|x| before([pixel(x), pixel(4 + x), pixel(8 + x), pixel(12 + x)]));
            for row in 0..4 {
                let values = before([columns[0][row], columns[1][row], columns[2][row], columns[3][row]]);
                for (column, value) in values.iter().enumerate() {
                    let at = (4 * row + column) * plane + c;
                    // SAFETY: `at + VECTOR` is at most `(POINTS - 1) * plane + channels`; checked above.
                    unsafe { points.as_mut_ptr().add(at).cast::<Wide>().write(*value) };
                }
            }
        }
    }
}

vectorized! {
    /// Adds `A^T m A` of a tile to its four pixels; its point `p` is row `row` of `sums[p * stride]`.
    #[expect(clippy::needless_range_loop, reason = "five arrays walked side by side")]
    fn transform_sums(sums: &[Tile], stride: usize, row: usize, pixels: &mut [[f32; LANES]; 4]) {
        let point = |p: usize| &sums[p * stride][row];
        let mut half = [[[0.0; LANES]; 4]; 2]; // A^T m: [row][column]
        for column in 0..4 {
            let [a, b, c, d] = [point(column), point(4 + column), point(8 + column), point(12 + column)];
            for i in 0..LANES {
                half[0][column][i] = a[i] + b[i] + c[i];
                half[1][column][i] = b[i] - c[i] - d[i];
            }
        }
        for (row, [a, b, c, d]) in half.iter().enumerate() {
            for i in 0..LANES {
                pixels[2 * row][i] += a[i] + b[i] + c[i];
                pixels[2 * row + 1][i] += b[i] - c[i] - d[i];
            }
        }
    }
}
