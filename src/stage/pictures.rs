//! Where the pictures of a batch come from: memory, where they fit, else files or the store, decoded for each
//! batch; and the next batch, made on another thread while the present one is used.
//!
//! Which of them it is decides nothing but speed and memory: a picture's numbers depend on its bytes and its
//! draw alone.

use std::borrow::Cow;
use std::path::Path;
use std::sync::mpsc::sync_channel;

use dream_schema::{Image, RunId, Table};
use rayon::prelude::*;

use super::{ImageSource, StageError, select};
use crate::dataset::{self, ImageSet, Images, Preparation, Window};
use crate::nn::augment::{Augmentation, Draw, ResizedCrop};
use crate::store::{Readable, Store};

/// Prepared pictures of a split are held in memory up to so many bytes; a larger split is decoded batch by
/// batch.
pub const HELD_BYTES: usize = 1 << 30;
/// Batches that are ready before they are asked for.
const AHEAD: usize = 1;

/// How a picture is looked at: the part of it, and the variation of its pixels.
pub(super) struct Look {
    pub augmentation: Augmentation,
    pub resized_crop: Option<ResizedCrop>,
}

/// The pictures of a split of a set, or of an `imagine` run.
pub(super) struct Pictures<'a> {
    preparation: Preparation,
    origin: Origin<'a>,
    labels: Option<Vec<u32>>,
}

enum Origin<'a> {
    /// Prepared, in memory.
    Held(ImageSet),
    /// Decoded when they are asked for.
    Decoded(Images),
    /// Pictures of a run, by (class, index).
    Stored(&'a Store, RunId, Vec<(u32, u64)>),
}

impl<'a> Pictures<'a> {
    /// Opens a split of a set. `whole` pictures are always seen by this preparation and held if they take
    /// `limit` bytes at most; others are seen in part.
    pub fn of_set(
        source: &ImageSource,
        split: &str,
        preparation: Preparation,
        whole: bool,
        limit: usize,
    ) -> Result<Self, StageError> {
        let images = source.open_images(split)?;
        let labels = images.labels().map(<[u32]>::to_vec);
        let origin = match whole && fits(images.len(), &preparation, limit) {
            true => Origin::Held(images.load(&preparation)?),
            false => Origin::Decoded(images),
        };
        Ok(Self {
            preparation,
            origin,
            labels,
        })
    }

    /// Opens the pictures of an `imagine` run, or those that a `select` run chose; their labels are their
    /// classes. There must be one.
    pub fn of_run(
        store: &'a Store,
        run: RunId,
        preparation: Preparation,
        whole: bool,
        limit: usize,
    ) -> Result<Self, StageError> {
        let (run, chosen) = select::behind(store, run)?;
        let keys = match chosen {
            Some(keys) => keys,
            None => keys(store, run)?,
        };
        if keys.is_empty() {
            return Err(StageError::Mismatch(format!("run {run} has no picture")));
        }
        let held = whole && fits(keys.len(), &preparation, limit);
        let labels = Some(keys.iter().map(|(class, _)| *class).collect());
        let mut pictures = Self {
            preparation,
            origin: Origin::Stored(store, run, keys),
            labels,
        };
        if held {
            let all: Vec<u32> = (0..pictures.len() as u32).collect();
            let pixels = all
                .par_iter()
                .map(|sample| pictures.pixels(*sample, None).map(Cow::into_owned));
            pictures.origin = Origin::Held(ImageSet {
                height: preparation.height,
                width: preparation.width,
                channels: 3,
                pixels: pixels.collect::<Result<Vec<_>, _>>()?.concat(),
                labels: None,
                names: all.iter().map(u32::to_string).collect(),
            });
        }
        Ok(pictures)
    }

    /// Number of pictures.
    pub fn len(&self) -> usize {
        match &self.origin {
            Origin::Held(images) => images.len(),
            Origin::Decoded(images) => images.len(),
            Origin::Stored(_, _, keys) => keys.len(),
        }
    }

    /// The labels, if the set has them.
    pub fn labels(&self) -> Option<&[u32]> {
        self.labels.as_deref()
    }

    /// Shape of a batch of `n`.
    pub fn shape(&self, n: usize) -> [usize; 4] {
        [n, 3, self.preparation.height, self.preparation.width]
    }

    /// One picture `[size, size, 3]`: the part that a draw of `crop` chooses, or the whole, prepared.
    fn pixels(&self, sample: u32, crop: Option<(&ResizedCrop, Draw)>) -> Result<Cow<'_, [u8]>, StageError> {
        let number = sample as usize;
        let (picture, name) = match &self.origin {
            Origin::Held(images) => {
                let beyond = || StageError::Mismatch(format!("there is no picture {sample}"));
                return images.image(number).map(Cow::Borrowed).ok_or_else(beyond);
            }
            Origin::Decoded(images) => (
                images.decode(number)?,
                images.name(number).unwrap_or_default().to_owned(),
            ),
            Origin::Stored(store, run, keys) => {
                let key = keys.get(number).copied();
                let row = match key {
                    Some((class, index)) => store.row::<Image>(*run, class, index)?,
                    None => None,
                };
                let row =
                    row.ok_or_else(|| StageError::Mismatch(format!("run {run} has no picture {sample}")))?;
                let name = format!("{} {}", row.class_name, row.index);
                let set = format!("run {run}");
                (dataset::Pixels::decode(&row.png, Path::new(&set), &name)?, name)
            }
        };
        let bytes = match crop {
            Some((crop, draw)) => {
                let [x, y, width, height] = crop.window(picture.width, picture.height, draw);
                self.preparation.cut(picture, Window { x, y, width, height })?
            }
            None => self.preparation.apply(picture, &name)?,
        };
        Ok(Cow::Owned(bytes))
    }

    /// Returns the chosen pictures as they are looked at, `[samples, 3, size, size]`, flat. `stream` tells
    /// apart draws that share an epoch.
    pub fn batch(
        &self,
        look: &Look,
        samples: &[u32],
        seed: u64,
        stream: u32,
    ) -> Result<Vec<f32>, StageError> {
        let varied = look
            .augmentation
            .of_size(self.preparation.height, self.preparation.width, 3)?;
        let mut out = vec![0.0; samples.len() * varied.len()];
        out.par_chunks_mut(varied.len())
            .zip(samples)
            .try_for_each(|(out, sample)| {
                let draw = Draw {
                    seed,
                    epoch: stream,
                    sample: *sample,
                };
                let crop = look.resized_crop.as_ref().map(|crop| (crop, draw));
                Ok::<_, StageError>(varied.picture(&self.pixels(*sample, crop)?, draw, out)?)
            })?;
        Ok(out)
    }
}

/// The pictures of a run, class by class.
fn keys(store: &Store, run: RunId) -> Result<select::Keys, StageError> {
    let mut keys = Vec::new();
    for class in store.parts(run, Table::Images)? {
        let indices = store.indices(run, Table::Images, class)?;
        keys.extend(indices.iter().map(|index| (class, *index)));
    }
    Ok(keys)
}

fn fits(count: usize, preparation: &Preparation, limit: usize) -> bool {
    let size = preparation
        .width
        .saturating_mul(preparation.height)
        .saturating_mul(3);
    count.saturating_mul(size) <= limit
}

/// Hands what `make` makes of every job to `take`, in order; the next one is made on another thread in the
/// meantime.
///
/// # Errors
/// The first error of either; the rest is not made.
pub(super) fn ahead<J: Send, T: Send>(
    jobs: impl Iterator<Item = J> + Send,
    make: impl Fn(J) -> Result<T, StageError> + Send,
    mut take: impl FnMut(T) -> Result<(), StageError>,
) -> Result<(), StageError> {
    std::thread::scope(|scope| {
        let (sender, receiver) = sync_channel(AHEAD);
        scope.spawn(move || {
            for job in jobs {
                let made = make(job);
                let failed = made.is_err();
                // The receiver is gone once `take` has failed.
                if sender.send(made).is_err() || failed {
                    break;
                }
            }
        });
        receiver.into_iter().try_for_each(|made| take(made?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_ahead_comes_in_order_and_stops_at_an_error() {
        let made = std::sync::atomic::AtomicUsize::new(0);
        let make = |job: usize| {
            made.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            match job {
                7 => Err(StageError::Mismatch("seven".into())),
                job => Ok(job * 2),
            }
        };
        let mut taken = Vec::new();
        let error = ahead(0..100, make, |item| {
            taken.push(item);
            Ok(())
        });
        assert_eq!(error.unwrap_err().to_string(), "seven");
        assert_eq!(taken, (0..7).map(|i| i * 2).collect::<Vec<_>>());
        assert_eq!(made.load(std::sync::atomic::Ordering::SeqCst), 8);
        let refused = ahead(0..100, Ok, |item: usize| match item {
            3 => Err(StageError::Interrupted),
            _ => Ok(()),
        });
        assert!(matches!(refused, Err(StageError::Interrupted)));
        let mut all = 0;
        ahead(0..100, Ok, |item: usize| {
            all += item;
            Ok(())
        })
        .unwrap();
        assert_eq!(all, 4950);
    }
}
