//! Groups of test sets, and by whose mean a method is judged.

use std::collections::BTreeMap;

use crate::stage::{Refusals, Role};
use crate::words::words;

words! {
    /// What a test set beside the ID set is to a classifier.
    #[derive(PartialOrd, Ord)]
    pub enum Group {
        /// Other classes that look like those of the ID set: CIFAR-10 to a classifier of CIFAR-100.
        Near = "near",
        /// Images of another kind: digits, textures.
        Far = "far",
        /// The ID classes under a covariate shift: corrupted, drawn, collected anew. No OOD set: its images
        /// have classes, and a classifier should keep them.
        Shifted = "shifted",
    }
}

/// The groups of test sets, by the names of the sets. A set without one is an OOD set.
pub type Groups = BTreeMap<String, Group>;

/// Whether the labels of a role's images are classes of the classifier.
pub(super) fn has_classes(groups: &Groups, role: &Role) -> bool {
    match role {
        Role::Ood(name) => groups.get(name) == Some(&Group::Shifted),
        Role::OodValidation => false,
        _ => true,
    }
}

/// Refuses groups of sets that are not there, and a full spectrum without its two sides.
pub(super) fn check(groups: &Groups, full_spectrum: bool, sets: &[&str], refusals: &mut Refusals) {
    for name in groups.keys() {
        refusals.require_name("groups", "test set", name, sets.iter().copied());
    }
    let shifted = |name: &&&str| groups.get(**name) == Some(&Group::Shifted);
    let count = sets.iter().filter(shifted).count();
    if full_spectrum && count == 0 {
        let found = "there is no set of the group `shifted` to count as in-distribution";
        refusals.refuse("full_spectrum", found);
    }
    if full_spectrum && count == sets.len() {
        let role = Role::Ood(sets.first().copied().unwrap_or_default().to_owned());
        refusals.refuse(
            role,
            "there is no OOD set beside those that count as in-distribution",
        );
    }
}
