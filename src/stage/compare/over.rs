//! What a number of an evaluation is over.

use std::cmp::Ordering;
use std::fmt;

use dream_schema::Metric;

use crate::stage::evaluate::Group;

/// What a detection metric is over: a test set, or the mean over those of a group, or over all OOD sets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Over {
    /// The group of the set or of the mean.
    pub group: Option<Group>,
    /// The set; none of a mean.
    pub set: Option<String>,
}

impl Over {
    /// Returns what a row of the table `metrics` is over.
    pub(super) fn of(row: &Metric) -> Self {
        Self {
            group: row.ood_group.as_deref().and_then(Group::from_name),
            set: row.dataset.clone(),
        }
    }

    /// Sets stand by their groups, those without one last; behind the sets of a group their mean, and the
    /// mean over all OOD sets last.
    fn order(&self) -> (bool, bool, Option<Group>, bool, Option<&str>) {
        let is_all = *self == Self::default();
        (
            is_all,
            self.group.is_none(),
            self.group,
            self.set.is_none(),
            self.set.as_deref(),
        )
    }
}

impl PartialOrd for Over {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Over {
    fn cmp(&self, other: &Self) -> Ordering {
        self.order().cmp(&other.order())
    }
}

/// The set, or `near average` of a group, `average` of all.
impl fmt::Display for Over {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.set, self.group) {
            (Some(set), _) => f.pad(set),
            (None, Some(group)) => f.pad(&format!("{group} average")),
            (None, None) => f.pad("average"),
        }
    }
}
