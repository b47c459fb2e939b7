//! The two inner loops of convolution: registers of 4 output channels by up to 3 vectors of 8 pixels.
//!
//! Both read their second operand through a table of offsets, so that the shifted windows of a zero-padded
//! picture serve as the columns of the matrix product without being copied. On x86-64 with AVX2 and FMA they
//! are intrinsics, elsewhere plain loops over arrays of 8; the two round differently (one multiplies and adds
//! at once), each the same way every time.

use crate::engine::simd::{VECTOR, has_fma};

/// Output channels of one tile (rows of a packed weight panel).
pub(in crate::engine::host) const ROWS: usize = 4;
/// Most pixel vectors of one tile of `correlate`, and taps of one tile of `dot`.
pub(in crate::engine::host) const COLUMNS: usize = 3;

/// Sums of one tile: `[row][vector][lane]`.
pub(in crate::engine::host) type Tile = [[[f32; VECTOR]; COLUMNS]; ROWS];

/// Writes `tile[m][v][l] = sum over k of panel[4 k + m] * x[bases[v] + offsets[k] + l]` for the first `count`
/// vectors.
///
/// # Safety
/// `panel` holds `4 * offsets.len()` numbers, `1 <= count <= 3`, and every `bases[v] + offsets[k] + 8 <=
/// x.len()`.
#[inline]
pub(in crate::engine::host) unsafe fn correlate(
    panel: &[f32],
    x: &[f32],
    offsets: &[u32],
    bases: [usize; COLUMNS],
    count: usize,
    tile: &mut Tile,
) {
    debug_assert!(panel.len() >= ROWS * offsets.len() && (1..=COLUMNS).contains(&count));
    debug_assert!(
        offsets
            .iter()
            .all(|o| bases[..count].iter().all(|b| b + *o as usize + VECTOR <= x.len()))
    );
    #[cfg(target_arch = "x86_64")]
    if has_fma() {
        // SAFETY: the features were detected, and the caller's promise is the functions' own.
        unsafe {
            match count {
                1 => avx::correlate::<1>(panel, x, offsets, bases, tile),
                2 => avx::correlate::<2>(panel, x, offsets, bases, tile),
                _ => avx::correlate::<3>(panel, x, offsets, bases, tile),
            }
        }
        return;
    }
    plain_correlate(panel, x, offsets, &bases[..count], tile);
}

/// Where the pixels of `dot` lie: `samples` pictures, each of `bases.len()` vectors.
#[derive(Clone, Copy)]
pub(in crate::engine::host) struct Pixels<'a> {
    /// Offset of each vector's first pixel in a sample of the second operand.
    pub bases: &'a [u32],
    /// Numbers from one row of the first operand to the next.
    pub row_len: usize,
    /// Samples, and the distance between them in the first and the second operand.
    pub samples: usize,
    pub dy_len: usize,
    pub x_len: usize,
}

/// Returns `[m][j] = sum over samples and pixels of dy[m][pixel] * x[base(pixel) + taps[j]]`.
///
/// # Safety
/// `dy` holds 4 rows of `8 * bases.len()` numbers at `row_len` for each sample, and every
/// `sample * x_len + base + tap + 8 <= x.len()`.
#[inline]
pub(in crate::engine::host) unsafe fn dot(
    dy: &[f32],
    x: &[f32],
    taps: [usize; COLUMNS],
    at: Pixels,
) -> [[f32; COLUMNS]; ROWS] {
    debug_assert!(
        dy.len() >= (at.samples - 1) * at.dy_len + (ROWS - 1) * at.row_len + VECTOR * at.bases.len()
    );
    debug_assert!(at.bases.iter().all(|b| {
        taps.iter()
            .all(|t| (at.samples - 1) * at.x_len + *b as usize + t + VECTOR <= x.len())
    }));
    #[cfg(target_arch = "x86_64")]
    if has_fma() {
        // SAFETY: the features were detected, and the caller's promise is the function's own.
        return unsafe { avx::dot(dy, x, taps, at) };
    }
    plain_dot(dy, x, taps, at)
}

fn plain_correlate(panel: &[f32], x: &[f32], offsets: &[u32], bases: &[usize], tile: &mut Tile) {
    for row in tile.iter_mut() {
        row.iter_mut().for_each(|vector| *vector = [0.0; VECTOR]);
    }
    for (weights, offset) in panel.chunks_exact(ROWS).zip(offsets) {
        for (v, base) in bases.iter().enumerate() {
            let pixels = &x[base + *offset as usize..][..VECTOR];
            for (row, weight) in tile.iter_mut().zip(weights) {
                row[v]
                    .iter_mut()
                    .zip(pixels)
                    .for_each(|(sum, pixel)| *sum += weight * pixel);
            }
        }
    }
}

fn plain_dot(dy: &[f32], x: &[f32], taps: [usize; COLUMNS], at: Pixels) -> [[f32; COLUMNS]; ROWS] {
    let mut sums: Tile = [[[0.0; VECTOR]; COLUMNS]; ROWS];
    for sample in 0..at.samples {
        for (v, base) in at.bases.iter().enumerate() {
            for (m, row) in sums.iter_mut().enumerate() {
                let grads = &dy[sample * at.dy_len + m * at.row_len + v * VECTOR..][..VECTOR];
                for (sum, tap) in row.iter_mut().zip(taps) {
                    let pixels = &x[sample * at.x_len + *base as usize + tap..][..VECTOR];
                    (sum.iter_mut().zip(grads).zip(pixels)).for_each(|((s, g), p)| *s += g * p);
                }
            }
        }
    }
    sums.map(|row| row.map(|v| ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7]))))
}

#[cfg(target_arch = "x86_64")]
mod avx {
    use super::{COLUMNS, Pixels, ROWS, Tile, VECTOR};
    use std::arch::x86_64::*;

    /// # Safety
    /// As [`super::correlate`], on a processor with AVX2 and FMA.
    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn correlate<const N: usize>(
        panel: &[f32],
        x: &[f32],
        offsets: &[u32],
        bases: [usize; COLUMNS],
        tile: &mut Tile,
    ) {
        let mut sums = [[_mm256_setzero_ps(); N]; ROWS];
        let mut weights = panel.as_ptr();
        let mut starts = [x.as_ptr(); N];
        // SAFETY: the caller's promise: bases and offsets lie within `x`, `panel` holds four numbers an
        // offset.
        unsafe {
            for v in 0..N {
                starts[v] = x.as_ptr().add(bases[v]);
            }
            if N == COLUMNS {
                // Twelve sums, three vectors and a weight are all sixteen registers: compilers spill one of
                // them.
                wide(panel, offsets, starts, tile);
                return;
            }
            for offset in offsets {
                let mut pixels = [_mm256_setzero_ps(); N];
                for v in 0..N {
                    pixels[v] = _mm256_loadu_ps(starts[v].add(*offset as usize));
                }
                for (m, sums) in sums.iter_mut().enumerate() {
                    let weight = _mm256_broadcast_ss(&*weights.add(m));
                    for (sum, pixels) in sums.iter_mut().zip(pixels) {
                        *sum = _mm256_fmadd_ps(weight, pixels, *sum);
                    }
                }
                weights = weights.add(ROWS);
            }
            for m in 0..ROWS {
                for v in 0..N {
                    _mm256_storeu_ps(tile[m][v].as_mut_ptr(), sums[m][v]);
                }
            }
        }
    }

    /// # Safety
    /// As [`super::correlate`].
    #[target_feature(enable = "avx2,fma")]
    #[inline]
    unsafe fn wide<const N: usize>(panel: &[f32], offsets: &[u32], starts: [*const f32; N], tile: &mut Tile) {
        if offsets.is_empty() {
            *tile = Default::default();
            return;
        }
        // SAFETY: reads four weights and three vectors for each offset, writes the twelve vectors of `tile`.
        unsafe {
            std::arch::asm!(
                "vxorps ymm0, ymm0, ymm0", "vxorps ymm1, ymm1, ymm1", "vxorps ymm2, ymm2, ymm2",
                "vxorps ymm3, ymm3, ymm3", "vxorps ymm4, ymm4, ymm4", "vxorps ymm5, ymm5, ymm5",
                "vxorps ymm6, ymm6, ymm6", "vxorps ymm7, ymm7, ymm7", "vxorps ymm8, ymm8, ymm8",
                "vxorps ymm9, ymm9, ymm9", "vxorps ymm10, ymm10, ymm10", "vxorps ymm11, ymm11, ymm11",
                "2:",
                "mov {o:e}, dword ptr [{offset}]",
                "vmovups ymm12, [{x0} + 4*{o}]",
                "vmovups ymm13, [{x1} + 4*{o}]",
                "vmovups ymm14, [{x2} + 4*{o}]",
                "vbroadcastss ymm15, dword ptr [{w}]",
                "vfmadd231ps ymm0, ymm15, ymm12",
                "vfmadd231ps ymm1, ymm15, ymm13",
                "vfmadd231ps ymm2, ymm15, ymm14",
                "vbroadcastss ymm15, dword ptr [{w} + 4]",
                "vfmadd231ps ymm3, ymm15, ymm12",
                "vfmadd231ps ymm4, ymm15, ymm13",
                "vfmadd231ps ymm5, ymm15, ymm14",
                "vbroadcastss ymm15, dword ptr [{w} + 8]",
                "vfmadd231ps ymm6, ymm15, ymm12",
                "vfmadd231ps ymm7, ymm15, ymm13",
                "vfmadd231ps ymm8, ymm15, ymm14",
                "vbroadcastss ymm15, dword ptr [{w} + 12]",
                "vfmadd231ps ymm9, ymm15, ymm12",
                "vfmadd231ps ymm10, ymm15, ymm13",
                "vfmadd231ps ymm11, ymm15, ymm14",
                "add {offset}, 4",
                "add {w}, 16",
                "cmp {offset}, {end}",
                "jne 2b",
                "vmovups [{tile}], ymm0",
                "vmovups [{tile} + 32], ymm1",
                "vmovups [{tile} + 64], ymm2",
                "vmovups [{tile} + 96], ymm3",
                "vmovups [{tile} + 128], ymm4",
                "vmovups [{tile} + 160], ymm5",
                "vmovups [{tile} + 192], ymm6",
                "vmovups [{tile} + 224], ymm7",
                "vmovups [{tile} + 256], ymm8",
                "vmovups [{tile} + 288], ymm9",
                "vmovups [{tile} + 320], ymm10",
                "vmovups [{tile} + 352], ymm11",
                o = out(reg) _,
                offset = inout(reg) offsets.as_ptr() => _,
                end = in(reg) offsets.as_ptr_range().end,
                w = inout(reg) panel.as_ptr() => _,
                x0 = in(reg) starts[0],
                x1 = in(reg) starts[1],
                x2 = in(reg) starts[2],
                tile = in(reg) tile.as_mut_ptr(),
                out("ymm0") _, out("ymm1") _, out("ymm2") _, out("ymm3") _,
                out("ymm4") _, out("ymm5") _, out("ymm6") _, out("ymm7") _,
                out("ymm8") _, out("ymm9") _, out("ymm10") _, out("ymm11") _,
                out("ymm12") _, out("ymm13") _, out("ymm14") _, out("ymm15") _,
                options(nostack),
            );
        }
    }

    /// # Safety
    /// As [`super::dot`], on a processor with AVX2 and FMA.
    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn dot(
        dy: &[f32],
        x: &[f32],
        taps: [usize; COLUMNS],
        at: Pixels,
    ) -> [[f32; COLUMNS]; ROWS] {
        let mut sums = [[_mm256_setzero_ps(); COLUMNS]; ROWS];
        // SAFETY: the caller's promise: every row of `dy` and every tapped vector of `x` lies within its
        // slice.
        unsafe {
            for sample in 0..at.samples {
                let mut grads = dy.as_ptr().add(sample * at.dy_len);
                let image = x.as_ptr().add(sample * at.x_len);
                let starts = [image.add(taps[0]), image.add(taps[1]), image.add(taps[2])];
                for base in at.bases {
                    let base = *base as usize;
                    let pixels = [
                        _mm256_loadu_ps(starts[0].add(base)),
                        _mm256_loadu_ps(starts[1].add(base)),
                        _mm256_loadu_ps(starts[2].add(base)),
                    ];
                    for (m, sums) in sums.iter_mut().enumerate() {
                        let grad = _mm256_loadu_ps(grads.add(m * at.row_len));
                        for (sum, pixels) in sums.iter_mut().zip(pixels) {
                            *sum = _mm256_fmadd_ps(grad, pixels, *sum);
                        }
                    }
                    grads = grads.add(VECTOR);
                }
            }
        }
        // Loops: closures are slow here unless they happen to be inlined.
        let mut tile = [[0.0; COLUMNS]; ROWS];
        for (row, sums) in tile.iter_mut().zip(&sums) {
            for (sum, lanes) in row.iter_mut().zip(sums) {
                *sum = horizontal_sum(*lanes);
            }
        }
        tile
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn horizontal_sum(v: __m256) -> f32 {
        let four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
        let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
        _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(n: usize, index: u64) -> Vec<f32> {
        crate::rng::Stream::new(1, "test/kernel", 0, index).normals(n)
    }

    #[test]
    fn fast_and_plain_kernels_agree() {
        let (panel, x) = (numbers(ROWS * 50, 0), numbers(400, 1));
        let offsets: Vec<u32> = (0..50).map(|k| k * 7 % 300).collect();
        let bases = [3, 40, 90];
        for count in 1..=COLUMNS {
            let (mut fast, mut plain) = ([[[9.0; VECTOR]; COLUMNS]; ROWS], [[[9.0; VECTOR]; COLUMNS]; ROWS]);
            // SAFETY: 4 * 50 weights; 90 + 299 + 8 <= 400.
            unsafe { correlate(&panel, &x, &offsets, bases, count, &mut fast) };
            plain_correlate(&panel, &x, &offsets, &bases[..count], &mut plain);
            for (m, v, l) in
                (0..ROWS * count * VECTOR).map(|i| (i / VECTOR / count, i / VECTOR % count, i % VECTOR))
            {
                let (fast, plain) = (fast[m][v][l], plain[m][v][l]);
                assert!(
                    (fast - plain).abs() < 1e-4,
                    "count {count}, {m} {v} {l}: {fast} {plain}"
                );
            }
        }
        let dy = numbers(4 * 64 * 2, 2);
        let at = Pixels {
            bases: &[0, 11, 30, 57],
            row_len: 64,
            samples: 2,
            dy_len: 256,
            x_len: 150,
        };
        // SAFETY: rows of 32 numbers at 64, twice; 150 + 57 + 100 + 8 <= 400.
        let fast = unsafe { dot(&dy, &x, [0, 7, 100], at) };
        let plain = plain_dot(&dy, &x, [0, 7, 100], at);
        for (fast, plain) in fast.iter().flatten().zip(plain.iter().flatten()) {
            assert!((fast - plain).abs() < 1e-4, "{fast} {plain}");
        }
    }
}
