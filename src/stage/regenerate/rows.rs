//! Latents and their pictures, side by side, a few at a time: a run may hold more than memory does.

use std::collections::VecDeque;
use std::ops::Range;

use dream_schema::{Image, Latent, RunId, Table};

use crate::stage::StageError;
use crate::stage::rows::stretch;
use crate::store::{Projection, Readable, Snapshot, Store};

/// The chosen rows of a run that are still to be taken.
pub(super) struct Pairs {
    snapshot: Snapshot,
    run: RunId,
    /// Class and indices: stretches without a gap.
    left: VecDeque<(u32, Range<u64>)>,
}

impl Pairs {
    pub(super) fn new(
        store: &Store,
        run: RunId,
        class: Option<u32>,
        index: Option<u64>,
    ) -> Result<Self, StageError> {
        let snapshot = store.snapshot()?;
        let mut left = VecDeque::new();
        for block in snapshot.block_infos(Table::Latents, Some(run), class, &Projection::All)? {
            let indices = block.first..block.first + u64::from(block.rows);
            match index {
                None => left.push_back((block.part, indices)),
                Some(index) if indices.contains(&index) => left.push_back((block.part, index..index + 1)),
                Some(_) => {}
            }
        }
        Ok(Self { snapshot, run, left })
    }

    /// Returns the number of rows left.
    pub(super) fn len(&self) -> u64 {
        self.left
            .iter()
            .map(|(_, indices)| indices.end - indices.start)
            .sum()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    /// Returns the next rows, at most `count`, in the order of class and index; none at the end.
    pub(super) fn take(&mut self, count: usize) -> Result<Vec<(Latent, Image)>, StageError> {
        let mut pairs = Vec::with_capacity(count);
        while pairs.len() < count
            && let Some((class, indices)) = self.left.pop_front()
        {
            let room = (count - pairs.len()) as u64;
            let now = indices.start..indices.end.min(indices.start + room);
            if now.end < indices.end {
                self.left.push_front((class, now.end..indices.end));
            }
            let mut images: VecDeque<Image> = stretch(&self.snapshot, self.run, class, &now)?.into();
            for latent in stretch::<Latent>(&self.snapshot, self.run, class, &now)? {
                let image = images.pop_front().filter(|i| i.index == latent.index);
                let image = image.ok_or_else(|| {
                    let (run, class, index) = (self.run, &latent.class_name, latent.index);
                    StageError::Mismatch(format!(
                        "run {run} has a latent and no picture of {class} {index}"
                    ))
                })?;
                pairs.push((latent, image));
            }
        }
        Ok(pairs)
    }
}
