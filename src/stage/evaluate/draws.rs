//! Metrics of subsets of the OOD images, drawn by a seed, as the public code of DREAM-OOD measures: a fifth
//! as many as there are ID images, shuffled, a few times over.

use serde::{Deserialize, Serialize};

use crate::rng::{Stream, domain};
use crate::stage::Refusals;

/// How subsets are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Draws {
    /// Subsets of each OOD set; a metric is the mean over them.
    pub repeats: u32,
    /// One OOD image is drawn for so many ID images: 5 in the public code. Of a smaller set, all are.
    pub id_per_ood: u32,
    /// The seed that they are drawn by.
    pub seed: u64,
}

impl Draws {
    pub(super) fn check(&self, refusals: &mut Refusals) {
        refusals.require(self.repeats >= 1, "draws.repeats", self.repeats, "at least 1");
        refusals.require(
            self.id_per_ood >= 1,
            "draws.id_per_ood",
            self.id_per_ood,
            "at least 1",
        );
    }

    /// Returns the images of each subset of a set of `count` beside `ids` ID images. `set` is its place among
    /// the test sets. At least one image is drawn.
    pub(super) fn of(&self, set: usize, count: usize, ids: usize) -> Vec<Vec<usize>> {
        let wanted = (ids / self.id_per_ood.max(1) as usize).clamp(1, count.max(1));
        let draw = |repeat: u32| {
            let mut order: Vec<usize> = (0..count).collect();
            Stream::new(self.seed, domain::EVALUATE_DRAW, set as u32, u64::from(repeat)).shuffle(&mut order);
            order.truncate(wanted);
            order
        };
        (0..self.repeats).map(draw).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_of_their_seed_and_as_large_as_the_id_set_says() {
        let draws = Draws {
            repeats: 3,
            id_per_ood: 5,
            seed: 1,
        };
        let drawn = draws.of(2, 100, 101);
        assert!(drawn.len() == 3 && drawn.iter().all(|images| images.len() == 20));
        assert_eq!(drawn, draws.of(2, 100, 101));
        assert_ne!(drawn[0], drawn[1]);
        assert_ne!(drawn, Draws { seed: 2, ..draws }.of(2, 100, 101));
        let mut once = drawn[0].clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), 20);
        assert_eq!(draws.of(0, 7, 100)[0].len(), 7);
        assert_eq!(draws.of(0, 7, 3)[0].len(), 1);
    }
}
