//! From stored pixels to network input: random flip and crop, normalisation, layout.

use candle_core::{Device, Tensor};
use rayon::prelude::*;

use super::{Error, Result};
use crate::rng::Stream;

/// How pixels become numbers, and how a training picture is varied.
#[derive(Clone, Debug, PartialEq)]
pub struct Augmentation {
    /// Mirrors left and right with probability one half.
    pub flip: bool,
    /// Pads every side by this many pixels of `fill`, and cuts a random window of the original size. 0: no crop.
    pub crop_padding: usize,
    /// Pixel value of the padding.
    pub fill: u8,
    /// Mean of each channel, of pixels in [0, 1].
    pub mean: Vec<f32>,
    /// Standard deviation of each channel, of pixels in [0, 1].
    pub std: Vec<f32>,
}

/// A batch of pictures, `[n, h, w, channels]`.
#[derive(Clone, Copy, Debug)]
pub struct Pixels<'a> {
    /// The bytes of every picture, one after the other.
    pub bytes: &'a [u8],
    /// Height in pixels.
    pub height: usize,
    /// Width in pixels.
    pub width: usize,
    /// Numbers of one pixel.
    pub channels: usize,
}

impl Augmentation {
    /// The same normalisation without random variation: what evaluation uses.
    pub fn still(&self) -> Self {
        Self {
            flip: false,
            crop_padding: 0,
            ..self.clone()
        }
    }

    /// Returns the varied and normalised pictures `(byte / 255 - mean) / std`, `[samples, channels, h, w]`: one for each of
    /// `samples`, which index `pixels`. The variation of a picture depends on (`seed`, `epoch`, its index) alone.
    ///
    /// # Errors
    /// [`Error::Shape`] if the bytes are no whole number of pictures or a channel lacks its mean or deviation;
    /// [`Error::Range`] if a sample does not exist.
    pub fn apply(
        &self,
        pixels: Pixels,
        samples: &[u32],
        seed: u64,
        epoch: u32,
        device: &Device,
    ) -> Result<Tensor> {
        let Pixels {
            bytes,
            height,
            width,
            channels,
        } = pixels;
        let size = height * width * channels;
        let refuse = |what, expected: &str, actual| Error::Shape {
            what,
            expected: expected.into(),
            actual,
        };
        if size == 0 || bytes.len() % size != 0 {
            let shape = vec![bytes.len(), height, width, channels];
            return Err(refuse(
                "pixels (bytes, h, w, channels)",
                "whole pictures of at least one byte",
                shape,
            ));
        }
        if self.mean.len() != channels || self.std.len() != channels {
            let shape = vec![self.mean.len(), self.std.len()];
            return Err(refuse("mean and std", "one number for each channel", shape));
        }
        let count = bytes.len() / size;
        if let Some((index, sample)) = samples.iter().enumerate().find(|(_, s)| **s as usize >= count) {
            return Err(Error::Range {
                what: "sample",
                index,
                value: *sample as usize,
                limit: count,
            });
        }
        // Every byte has one of 256 normalised values.
        let tables: Vec<[f32; 256]> = (self.mean.iter().zip(&self.std))
            .map(|(mean, std)| std::array::from_fn(|byte| (byte as f32 / 255.0 - mean) / std))
            .collect();
        let mut out = vec![0.0; samples.len() * size];
        out.par_chunks_mut(size).zip(samples).for_each(|(out, sample)| {
            let picture = &bytes[*sample as usize * size..][..size];
            let mut stream = Stream::new(seed, "augment", epoch, u64::from(*sample));
            let (pad, span) = (self.crop_padding, 2 * self.crop_padding as u32 + 1);
            let (flip, dy, dx) = (
                stream.next_u32() & 1 == 1,
                stream.below(span) as usize,
                stream.below(span) as usize,
            );
            let flip = flip && self.flip;
            for (c, (plane, table)) in out.chunks_exact_mut(height * width).zip(&tables).enumerate() {
                for (y, row) in plane.chunks_exact_mut(width).enumerate() {
                    // Row and column of the original; out of range is padding (below zero wraps to a huge number).
                    let from_y = (y + dy).wrapping_sub(pad);
                    for (x, out) in row.iter_mut().enumerate() {
                        let x = if flip { width - 1 - x } else { x };
                        let from_x = (x + dx).wrapping_sub(pad);
                        let inside = from_y < height && from_x < width;
                        let byte = if inside {
                            picture[(from_y * width + from_x) * channels + c]
                        } else {
                            self.fill
                        };
                        *out = table[byte as usize];
                    }
                }
            }
        });
        let shape = (samples.len(), channels, height, width);
        Ok(Tensor::from_vec(out, shape, &Device::Cpu)?.to_device(device)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> Augmentation {
        Augmentation {
            flip: true,
            crop_padding: 2,
            fill: 0,
            mean: vec![0.5; 3],
            std: vec![0.25; 3],
        }
    }

    /// Pictures whose every byte tells where it was.
    fn pictures(n: usize) -> Vec<u8> {
        (0..n * 8 * 8 * 3).map(|i| (i * 37 % 251) as u8 + 1).collect()
    }

    fn batch(bytes: &[u8]) -> Pixels<'_> {
        Pixels {
            bytes,
            height: 8,
            width: 8,
            channels: 3,
        }
    }

    #[test]
    fn a_picture_varies_by_epoch_but_not_by_its_place_in_the_batch() {
        let bytes = pictures(40);
        let rows = |samples: &[u32], epoch| {
            let x = spec()
                .apply(batch(&bytes), samples, 7, epoch, &Device::Cpu)
                .unwrap();
            x.flatten_from(1).unwrap().to_vec2::<f32>().unwrap()
        };
        let all = rows(&(0..40).collect::<Vec<_>>(), 3);
        assert_eq!(rows(&[17], 3)[0], all[17]);
        assert!((0..40).filter(|i| rows(&[*i], 4)[0] != all[*i as usize]).count() > 30);
    }

    #[test]
    fn every_picture_is_a_flipped_or_shifted_original() {
        let (bytes, spec) = (pictures(64), spec());
        let samples: Vec<u32> = (0..64).collect();
        let x = spec.apply(batch(&bytes), &samples, 1, 0, &Device::Cpu).unwrap();
        let x = x.flatten_from(1).unwrap().to_vec2::<f32>().unwrap();
        let mut seen = std::collections::BTreeSet::new();
        for (i, found) in x.iter().enumerate() {
            let matches = |flip: bool, dy: isize, dx: isize| {
                (0..192).all(|at| {
                    let (c, y, x) = (at / 64, (at / 8 % 8) as isize, (at % 8) as isize);
                    let (y, x) = (y + dy, if flip { 7 - x } else { x } + dx);
                    let inside = (0..8).contains(&y) && (0..8).contains(&x);
                    let byte = if inside {
                        bytes[i * 192 + (y * 8 + x) as usize * 3 + c]
                    } else {
                        0
                    };
                    (found[at] - (f32::from(byte) / 255.0 - 0.5) / 0.25).abs() < 1e-6
                })
            };
            let all = (0..50).map(|k| (k >= 25, k / 5 % 5 - 2, k % 5 - 2));
            let which = all
                .into_iter()
                .find(|(f, y, x)| matches(*f, *y, *x))
                .expect("no variation matches");
            seen.insert(which);
        }
        assert!(
            seen.len() > 25,
            "only {} of 50 variations in 64 pictures",
            seen.len()
        );
    }

    #[test]
    fn still_pictures_are_the_originals_and_bad_input_is_refused() {
        let bytes = pictures(2);
        let x = spec()
            .still()
            .apply(batch(&bytes), &[1], 0, 0, &Device::Cpu)
            .unwrap();
        let first = x.flatten_all().unwrap().to_vec1::<f32>().unwrap()[0];
        assert!((first - (f32::from(bytes[192]) / 255.0 - 0.5) / 0.25).abs() < 1e-6);
        assert!(matches!(
            spec().apply(batch(&bytes), &[2], 0, 0, &Device::Cpu),
            Err(Error::Range {
                value: 2,
                limit: 2,
                ..
            })
        ));
        assert!(matches!(
            spec().apply(batch(&bytes[1..]), &[0], 0, 0, &Device::Cpu),
            Err(Error::Shape { .. })
        ));
    }
}
