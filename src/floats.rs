//! Floating-point numbers of files, in whatever format, as f32: the one place that npy, safetensors and
//! PyTorch's files are read by.

use std::borrow::Cow;
use std::io::{self, Read};

/// The formats that floating-point numbers have in files, little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    F64,
    F32,
    F16,
    Bf16,
}

impl Format {
    /// Bytes of a number.
    pub(crate) fn size(self) -> usize {
        match self {
            Self::F64 => 8,
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }

    /// The format that a safetensors file names, if it is one of floating-point numbers.
    pub(crate) fn of(dtype: safetensors::Dtype) -> Option<Self> {
        match dtype {
            safetensors::Dtype::F64 => Some(Self::F64),
            safetensors::Dtype::F32 => Some(Self::F32),
            safetensors::Dtype::F16 => Some(Self::F16),
            safetensors::Dtype::BF16 => Some(Self::Bf16),
            _ => None,
        }
    }

    /// Fills `out` with numbers: 16-bit ones are widened exactly, 64-bit ones rounded to the nearest f32.
    fn decode(self, bytes: &[u8], out: &mut [f32]) {
        match self {
            Self::F64 => fill(out, bytes, |b| f64::from_le_bytes(b) as f32),
            Self::F32 => fill(out, bytes, f32::from_le_bytes),
            Self::F16 => fill(out, bytes, |b| half::f16::from_le_bytes(b).to_f32()),
            Self::Bf16 => fill(out, bytes, |b| half::bf16::from_le_bytes(b).to_f32()),
        }
    }
}

/// Bytes converted at once: a multiple of every format's size.
const BUFFER: usize = 1 << 17;

/// Fills `out` with the next numbers of `reader`.
pub(crate) fn read(reader: &mut impl Read, format: Format, out: &mut [f32]) -> io::Result<()> {
    let size = format.size();
    let mut buffer = vec![0; BUFFER.min(out.len() * size)];
    for out in out.chunks_mut(BUFFER / size) {
        let part = &mut buffer[..out.len() * size]; // no longer than the buffer by construction
        reader.read_exact(part)?;
        format.decode(part, out);
    }
    Ok(())
}

/// Numbers of `SIZE` bytes with the first byte last, and so little-endian where they were big-endian.
#[derive(Debug)]
pub(crate) struct Swapped<R> {
    reader: R,
    size: usize,
    held: Vec<u8>,
    /// Bytes of `held` that are given out.
    given: usize,
}

impl<R: Read> Swapped<R> {
    /// `size`: bytes of a number, at least 1.
    pub(crate) fn new(reader: R, size: usize) -> Self {
        Self {
            reader,
            size: size.max(1),
            held: Vec::new(),
            given: 0,
        }
    }
}

impl<R: Read> Read for Swapped<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.given == self.held.len() {
            self.held.clear();
            self.given = 0;
            let length = BUFFER / self.size * self.size;
            (&mut self.reader)
                .take(length as u64)
                .read_to_end(&mut self.held)?;
            swap(&mut self.held, self.size);
        }
        let count = out.len().min(self.held.len() - self.given);
        out[..count].copy_from_slice(&self.held[self.given..][..count]);
        self.given += count;
        Ok(count)
    }
}

/// Puts the first byte of each number of `size` bytes last.
pub(crate) fn swap(bytes: &mut [u8], size: usize) {
    bytes.chunks_exact_mut(size.max(1)).for_each(<[u8]>::reverse);
}

/// Returns all whole numbers in `bytes`.
pub(crate) fn from_bytes(format: Format, bytes: &[u8]) -> Vec<f32> {
    let mut out = vec![0.0; bytes.len() / format.size()];
    format.decode(bytes, &mut out);
    out
}

/// Returns the integers of `size` bytes each, 1 to 8, little-endian.
pub(crate) fn integers(bytes: &[u8], size: usize, signed: bool) -> Vec<i64> {
    let integer = |bytes: &[u8]| {
        let negative = signed && bytes.last().is_some_and(|byte| *byte >= 0x80);
        let mut word = [if negative { 0xff } else { 0 }; 8];
        word[..bytes.len()].copy_from_slice(bytes); // at most 8
        i64::from_le_bytes(word)
    };
    bytes.chunks_exact(size.clamp(1, 8)).map(integer).collect()
}

/// Returns the numbers as they lie in files, little-endian: on most processors as they lie in memory.
pub(crate) fn as_bytes(numbers: &[f32]) -> Cow<'_, [u8]> {
    if cfg!(target_endian = "little") {
        return Cow::Borrowed(bytemuck::cast_slice(numbers));
    }
    Cow::Owned(numbers.iter().flat_map(|number| number.to_le_bytes()).collect())
}

/// Returns the numbers as they lie in files.
pub(crate) fn to_bytes(numbers: &[f32]) -> Vec<u8> {
    as_bytes(numbers).into_owned()
}

fn fill<const SIZE: usize>(out: &mut [f32], bytes: &[u8], number: impl Fn([u8; SIZE]) -> f32) {
    for (out, bytes) in out.iter_mut().zip(bytes.as_chunks().0) {
        *out = number(*bytes);
    }
}

/// The class that a number is; NaN, as tables with missing numbers have it, is none.
pub(crate) fn whole(value: f64) -> Option<i64> {
    match value {
        value if value.is_nan() => Some(-1),
        value if value.fract() == 0.0 && value.abs() < 1e15 => Some(value as i64),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_is_read_alike_from_a_file_and_from_memory() {
        let values = [0.0, -1.5, 2.0_f32.powi(-14), 65504.0, f32::INFINITY];
        let bytes = |format| -> Vec<u8> {
            let one = |v: &f32| match format {
                Format::F64 => f64::from(*v).to_le_bytes().to_vec(),
                Format::F32 => v.to_le_bytes().to_vec(),
                Format::F16 => half::f16::from_f32(*v).to_le_bytes().to_vec(),
                Format::Bf16 => half::bf16::from_f32(*v).to_le_bytes().to_vec(),
            };
            values.iter().flat_map(one).collect()
        };
        for format in [Format::F64, Format::F32, Format::F16, Format::Bf16] {
            let bytes = bytes(format);
            let mut read_back = [0.0; 5];
            read(&mut &bytes[..], format, &mut read_back).unwrap();
            assert_eq!(from_bytes(format, &bytes), read_back, "{format:?}");
            // 65504 has too many digits for bfloat16 alone.
            let expected = if format == Format::Bf16 { 65536.0 } else { 65504.0 };
            assert_eq!(
                read_back,
                [0.0, -1.5, 2.0_f32.powi(-14), expected, f32::INFINITY],
                "{format:?}"
            );
            assert!(read(&mut &bytes[..bytes.len() - 1], format, &mut read_back).is_err());
        }
        assert_eq!(to_bytes(&values), bytes(Format::F32));
    }

    #[test]
    fn big_endian_numbers_are_turned_around() {
        let numbers: Vec<f32> = (0..40_000).map(|i| i as f32 - 0.5).collect();
        let bytes: Vec<u8> = numbers.iter().flat_map(|v| v.to_be_bytes()).collect();
        let mut read_back = vec![0.0; numbers.len()];
        let mut swapped = Swapped::new(&bytes[..], 4);
        for part in read_back.chunks_mut(7001) {
            read(&mut swapped, Format::F32, part).unwrap();
        }
        assert_eq!(read_back, numbers);
        assert!(read(&mut swapped, Format::F32, &mut [0.0]).is_err());
    }

    #[test]
    fn integers_of_every_size_are_read() {
        assert_eq!(integers(&[1, 255], 1, false), [1, 255]);
        assert_eq!(integers(&[1, 255], 1, true), [1, -1]);
        assert_eq!(integers(&[0xfe, 0xff, 1, 0, 9], 2, true), [-2, 1]);
        assert_eq!(integers(&(-3_i64).to_le_bytes(), 8, true), [-3]);
    }
}
