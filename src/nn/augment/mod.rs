//! From stored pixels to network input: random crop, flip and colour jitter, normalisation, layout.
//!
//! Every random draw of a picture is made of (seed, epoch, the picture's number) alone, from a stream of its
//! own for each kind of variation, so that turning one on or off leaves the others' draws as they were.

mod crop;
mod jitter;
mod operation;
mod policy;
#[cfg(test)]
mod tests;

use candle_core::{Device, Tensor};
use rayon::prelude::*;

use super::{Error, Result};
use crate::rng::{Stream, domain};

pub use crop::ResizedCrop;
pub use jitter::ColorJitter;
pub use operation::Operation;
pub use policy::Policy;

/// How pixels become numbers, and how a training picture is varied.
#[derive(Clone, Debug, PartialEq)]
pub struct Augmentation {
    /// Mirrors left and right with probability one half.
    pub flip: bool,
    /// Pads every side by this many pixels of `fill`, and cuts a random window of the original size. 0: no
    /// crop.
    pub crop_padding: usize,
    /// Pixel value of the padding.
    pub fill: u8,
    /// Operations that the picture goes through first. They need pictures of three channels.
    pub policy: Option<Policy>,
    /// Varies the colours, before crop and flip. It needs pictures of three channels.
    pub jitter: Option<ColorJitter>,
    /// Mean of each channel, of pixels in [0, 1].
    pub mean: Vec<f32>,
    /// Standard deviation of each channel, of pixels in [0, 1].
    pub std: Vec<f32>,
}

/// Which draw of a picture's variation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draw {
    /// The seed of the run.
    pub seed: u64,
    /// The epoch, or whatever else tells apart the draws of one picture.
    pub epoch: u32,
    /// Number of the picture in its set.
    pub sample: u32,
}

impl Draw {
    fn stream(&self, domain: &str) -> Stream {
        Stream::new(self.seed, domain, self.epoch, u64::from(self.sample))
    }
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

/// An augmentation made ready for pictures of one size.
pub struct Varied<'a> {
    by: &'a Augmentation,
    height: usize,
    width: usize,
    /// Every byte of a channel has one of 256 normalised values.
    tables: Vec<[f32; 256]>,
}

impl Augmentation {
    /// The same normalisation without random variation: what evaluation uses.
    pub fn still(&self) -> Self {
        Self {
            flip: false,
            crop_padding: 0,
            policy: None,
            jitter: None,
            ..self.clone()
        }
    }

    /// Makes it ready for pictures `[height, width, channels]`.
    ///
    /// # Errors
    /// [`Error::Shape`] if the pictures have no pixels, a channel lacks its mean or deviation, or colours are
    /// to be varied of pictures without three channels.
    pub fn of_size(&self, height: usize, width: usize, channels: usize) -> Result<Varied<'_>> {
        let refuse = |what, expected: &str, actual| Error::Shape {
            what,
            expected: expected.into(),
            actual,
        };
        if height * width * channels == 0 {
            let shape = vec![height, width, channels];
            return Err(refuse("pictures (h, w, channels)", "at least one byte", shape));
        }
        if self.mean.len() != channels || self.std.len() != channels {
            let shape = vec![self.mean.len(), self.std.len()];
            return Err(refuse("mean and std", "one number for each channel", shape));
        }
        if (self.jitter.is_some() || self.policy.is_some()) && channels != 3 {
            let shape = vec![height, width, channels];
            return Err(refuse(
                "pictures (h, w, channels)",
                "three channels to vary the colours of",
                shape,
            ));
        }
        let tables = (self.mean.iter().zip(&self.std))
            .map(|(mean, std)| std::array::from_fn(|byte| (byte as f32 / 255.0 - mean) / std));
        Ok(Varied {
            by: self,
            height,
            width,
            tables: tables.collect(),
        })
    }

    /// Returns the varied and normalised pictures `(byte / 255 - mean) / std`, `[samples, channels, h, w]`:
    /// one for each of `samples`, which index `pixels`. The variation of a picture depends on (`seed`,
    /// `epoch`, its index) alone.
    ///
    /// # Errors
    /// As [`Self::of_size`]; [`Error::Shape`] if the bytes are no whole number of pictures, [`Error::Range`]
    /// if a sample does not exist.
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
        let varied = self.of_size(height, width, channels)?;
        let size = varied.len();
        if bytes.len() % size != 0 {
            return Err(Error::Shape {
                what: "pixels (bytes, h, w, channels)",
                expected: "whole pictures".into(),
                actual: vec![bytes.len(), height, width, channels],
            });
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
        let mut out = vec![0.0; samples.len() * size];
        let jobs = out.par_chunks_mut(size).zip(samples);
        jobs.try_for_each(|(out, sample)| {
            let picture = &bytes[*sample as usize * size..][..size];
            let sample = *sample;
            varied.picture(picture, Draw { seed, epoch, sample }, out)
        })?;
        let shape = (samples.len(), channels, height, width);
        Ok(Tensor::from_vec(out, shape, &Device::Cpu)?.to_device(device)?)
    }
}

impl Varied<'_> {
    /// Numbers of a picture.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.height * self.width * self.tables.len()
    }

    /// Writes the varied and normalised picture as `[channels, h, w]`.
    ///
    /// # Errors
    /// [`Error::Shape`] if `picture` or `out` are not of the size.
    pub fn picture(&self, picture: &[u8], draw: Draw, out: &mut [f32]) -> Result<()> {
        let (height, width, channels) = (self.height, self.width, self.tables.len());
        if picture.len() != self.len() || out.len() != self.len() {
            return Err(Error::Shape {
                what: "a picture (bytes in, numbers out)",
                expected: format!("{} of both", self.len()),
                actual: vec![picture.len(), out.len()],
            });
        }
        let mut varied = None;
        if let Some(policy) = &self.by.policy {
            let bytes = varied.get_or_insert_with(|| picture.to_vec());
            let mut stream = draw.stream(domain::AUGMENT_POLICY);
            policy.vary(bytes, [height, width], &mut stream);
        }
        if let Some(jitter) = &self.by.jitter {
            let bytes = varied.get_or_insert_with(|| picture.to_vec());
            jitter.vary(bytes, &mut draw.stream(domain::AUGMENT_JITTER));
        }
        let picture = varied.as_deref().unwrap_or(picture);
        let mut stream = draw.stream(domain::AUGMENT);
        let (pad, span) = (self.by.crop_padding, 2 * self.by.crop_padding as u32 + 1);
        let (flip, dy, dx) = (
            stream.next_u32() & 1 == 1,
            stream.below(span) as usize,
            stream.below(span) as usize,
        );
        let flip = flip && self.by.flip;
        for (c, (plane, table)) in out.chunks_exact_mut(height * width).zip(&self.tables).enumerate() {
            for (y, row) in plane.chunks_exact_mut(width).enumerate() {
                // Row and column of the original; out of range is padding (below zero wraps to a huge
                // number).
                let from_y = (y + dy).wrapping_sub(pad);
                for (x, out) in row.iter_mut().enumerate() {
                    let x = if flip { width - 1 - x } else { x };
                    let from_x = (x + dx).wrapping_sub(pad);
                    let inside = from_y < height && from_x < width;
                    let byte = if inside {
                        picture[(from_y * width + from_x) * channels + c]
                    } else {
                        self.by.fill
                    };
                    *out = table[byte as usize];
                }
            }
        }
        Ok(())
    }
}
