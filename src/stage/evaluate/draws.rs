//! Metrics of subsets of the OOD images, drawn by a seed, as the public code of DREAM-OOD measures: a fifth
//! as many as there are ID images, shuffled, a few times over.

use dream_schema::Run;
use serde::{Deserialize, Serialize};

use super::group::Group;
use super::{draws, full_spectrum, groups, sets};
use crate::rng::{Stream, domain};
use crate::stage::{Refusals, Role, StageError};
use crate::store::Store;

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

/// The most subsets of a set. The standard error of a mean over them is a hundredth of their spread.
pub const MOST_DRAWS: u32 = 10_000;

impl Draws {
    pub(super) fn check(&self, refusals: &mut Refusals) {
        let in_range = (1..=MOST_DRAWS).contains(&self.repeats);
        let expected = format!("1 to {MOST_DRAWS}");
        refusals.require(in_range, "draws.repeats", self.repeats, &expected);
        refusals.require(
            self.id_per_ood >= 1,
            "draws.id_per_ood",
            self.id_per_ood,
            "at least 1",
        );
    }

    /// Returns the images of each subset of a set of `count` beside `ids` ID images, one subset after the
    /// other. `set` is its place among the test sets. At least one image is drawn, of an empty set none.
    pub(super) fn of(self, set: usize, count: usize, ids: usize) -> impl Iterator<Item = Vec<usize>> {
        let wanted = self.size(ids).min(count);
        let draw = move |repeat: u32| {
            let mut order: Vec<usize> = (0..count).collect();
            Stream::new(self.seed, domain::EVALUATE_DRAW, set as u32, u64::from(repeat)).shuffle(&mut order);
            order.truncate(wanted);
            order
        };
        (0..self.repeats).map(draw)
    }

    /// Returns how many images are drawn beside `ids` ID images where there are so many.
    fn size(self, ids: usize) -> usize {
        (ids / self.id_per_ood.max(1) as usize).max(1)
    }

    /// Says whether every draw from a set of `count` images beside `ids` ID images is all of them, so that
    /// neither seed nor number of draws changes anything.
    pub(super) fn takes_all(self, count: usize, ids: usize) -> bool {
        count <= self.size(ids)
    }
}

/// Returns the test sets of which every draw of an evaluation is all images.
///
/// # Errors
/// If the store fails.
pub fn drawn_whole(store: &Store, evaluation: &Run) -> Result<Vec<String>, StageError> {
    let Some(draws) = draws(evaluation)? else {
        return Ok(Vec::new());
    };
    let (groups, full_spectrum) = (groups(evaluation)?, full_spectrum(evaluation)?);
    let counts_as_id = |role: &str| match Role::ood_name(role) {
        Some(set) => full_spectrum && groups.get(set) == Some(&Group::Shifted),
        None => true,
    };
    let sets = sets(store, evaluation)?;
    let (id, others): (Vec<_>, Vec<_>) = sets.iter().partition(|(role, _)| counts_as_id(role));
    let ids = id.iter().map(|(_, set)| set.images).sum::<u64>() as usize;
    let whole = others
        .into_iter()
        .filter(|(_, set)| draws.takes_all(set.images as usize, ids));
    Ok(whole
        .filter_map(|(role, _)| Role::ood_name(role))
        .map(str::to_owned)
        .collect())
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
        let of = |draws: Draws, set, count, ids| draws.of(set, count, ids).collect::<Vec<_>>();
        let drawn = of(draws, 2, 100, 101);
        assert!(drawn.len() == 3 && drawn.iter().all(|images| images.len() == 20));
        assert_eq!(drawn, of(draws, 2, 100, 101));
        assert_ne!(drawn[0], drawn[1]);
        assert_ne!(drawn, of(Draws { seed: 2, ..draws }, 2, 100, 101));
        let mut once = drawn[0].clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), 20);
        assert_eq!(of(draws, 0, 7, 100)[0].len(), 7);
        let whole = [19, 20, 21, 1].map(|count| draws.takes_all(count, 101));
        assert_eq!(whole, [true, true, false, true]);
        assert!(!draws.takes_all(2, 3));
        assert_eq!(of(draws, 0, 7, 3)[0].len(), 1);
    }

    #[test]
    fn so_many_subsets_as_nobody_can_wait_for_are_refused() {
        let said = |repeats: u32| {
            let mut refusals = Refusals::of("evaluate");
            let draws = Draws {
                repeats,
                id_per_ood: 5,
                seed: 1,
            };
            draws.check(&mut refusals);
            let all = refusals.into_inner();
            all.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        };
        assert_eq!(said(MOST_DRAWS), "");
        let expected = "evaluate: draws.repeats: 1000000000; expected 1 to 10000";
        assert_eq!(said(1_000_000_000), expected);
        assert!(said(0).contains("draws.repeats"));
    }
}
