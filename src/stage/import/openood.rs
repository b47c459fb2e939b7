//! The scores of all sets of an evaluation in one pickle, as OpenOOD v1.5 writes them (`scripts/eval_ood.py
//! --save-score`: the `scores` of `openood/evaluation_api/evaluator.py`).
//!
//! It is a dictionary of `id` (`train`, `val`, `test`), `csid` (sets of the ID classes under a covariate
//! shift, by name) and `ood` (`val`, and in `near` and `far` sets by name). A set is a list of three arrays
//! of NumPy's, class given, score and true class, or None where it was not looked at. Beside them are the
//! classes that the plain classifier gives, in tensors, which are not read.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::Path;

use super::names::in_words;
use crate::content::Content;
use crate::exchange::{ArrayFile, ExchangeError};
use crate::input;
use crate::pickle::numpy::RawArray;
use crate::pickle::torch::TorchFile;
use crate::pickle::{Node, Pickle};
use crate::stage::StageError;
use crate::stage::evaluate::Group;

/// The arrays of a set, called as in OpenOOD's files of one set each.
const ARRAYS: [&str; 3] = ["pred", "conf", "label"];

/// A set that has scores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedSet {
    /// Where it stands in the file: `ood.near.tin`.
    pub member: String,
    /// Its name; the in-distribution test set has none there.
    pub name: Option<String>,
    /// Its group.
    pub group: Option<Group>,
}

/// What is in a file of scores of many sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedSets {
    /// The sets that have scores, the in-distribution test set first.
    pub sets: Vec<SavedSet>,
    /// What is to be told of the others.
    pub told: Vec<String>,
}

/// A value at a place of the file.
type Placed<'p> = (String, Node<'p>);

/// Returns the sets in a file as OpenOOD saves them; none if it is another file.
///
/// # Errors
/// If it cannot be read, has no scores of the in-distribution test set, or a set is not what one should be.
pub fn saved_sets(path: &Path) -> Result<Option<SavedSets>, StageError> {
    let content = Content::at(path).map_err(ExchangeError::io(path))?;
    if content != Content::Pickle || TorchFile::is_legacy(path) {
        return Ok(None);
    }
    with_pickle(path, |pickle| {
        let root = pickle.root();
        let Some(found) = found(root) else {
            return Ok(None);
        };
        let wrong = |message: String| StageError::File {
            path: path.to_owned(),
            message,
        };
        let (mut sets, mut absent) = (Vec::new(), Vec::new());
        let (mut names, mut bytes) = (BTreeSet::new(), 0_usize);
        for (set, value) in found {
            let SavedSet { member, name, .. } = &set;
            if !names.insert(name.clone()) {
                let name = name.as_deref().unwrap_or_default();
                return Err(wrong(format!("there are two sets called {name:?}: rename one")));
            }
            if value.is_none() && name.is_none() {
                let message = "`id.test` is None: scores of the in-distribution test set are missing";
                return Err(wrong(message.to_owned()));
            }
            if value.is_none() {
                absent.push(format!("{member:?}"));
                continue;
            }
            let [_, (_, scores), _] = row(member, value).map_err(wrong)?;
            bytes = bytes.saturating_add(scores.bytes.len());
            sets.push(set);
        }
        // Sets may share their numbers, and are stored apart: no more of them than there is in the file.
        if bytes > pickle.length() {
            return Err(wrong("its sets have more scores than the file has bytes".into()));
        }
        let (none, unread) = others(root);
        absent.extend(none);
        let told = in_words("passed over, for there is None", absent);
        let told = told.into_iter().chain(in_words("not read", unread)).collect();
        Ok(Some(SavedSets { sets, told }))
    })
}

/// Returns the arrays of the set at that place, called by the place and [`ARRAYS`].
pub(super) fn arrays(path: &Path, member: &str) -> Result<ArrayFile, StageError> {
    with_pickle(path, |pickle| {
        let wrong = |message: String| StageError::File {
            path: path.to_owned(),
            message,
        };
        let mut sets = found(pickle.root()).unwrap_or_default().into_iter();
        let set = sets.find(|(set, _)| set.member == member);
        let (_, value) = set.ok_or_else(|| wrong(format!("there is no set {member:?}")))?;
        let arrays = row(member, value).map_err(wrong)?;
        Ok(ArrayFile::of_pickled(path, arrays.into()))
    })
}

fn with_pickle<T>(
    path: &Path,
    read: impl FnOnce(&Pickle<'_>) -> Result<T, StageError>,
) -> Result<T, StageError> {
    let bytes = input::whole(path, input::ANY).map_err(ExchangeError::io(path))?;
    let pickle = Pickle::parse(&bytes)
        .map_err(|error| ExchangeError::format(path, "the file", "a whole pickle", error.to_string()))?;
    read(&pickle)
}

/// The sets with their values, which may be None; none if this is no such file.
fn found(root: Node<'_>) -> Option<Vec<(SavedSet, Node<'_>)>> {
    let (test, ood) = (root.get("id")?.get("test")?, root.get("ood")?);
    let groups = [
        ("ood.near", ood.get("near"), Group::Near),
        ("ood.far", ood.get("far"), Group::Far),
        ("csid", root.get("csid"), Group::Shifted),
    ];
    if groups.iter().all(|(_, sets, _)| sets.is_none()) {
        return None;
    }
    let id = SavedSet {
        member: "id.test".to_owned(),
        name: None,
        group: None,
    };
    let mut found = vec![(id, test)];
    for (place, sets, group) in groups {
        for (name, value) in sets.map(named).unwrap_or_default() {
            let set = SavedSet {
                member: format!("{place}.{name}"),
                name: Some(name),
                group: Some(group),
            };
            found.push((set, value));
        }
    }
    Some(found)
}

/// The places beside those of sets that hold None, and those that hold something.
fn others(root: Node<'_>) -> (Vec<String>, Vec<String>) {
    let within = |place: &'static str, known: &'static [&'static str]| {
        let entries = match place {
            "" => named(root),
            _ => root.get(place).map(named).unwrap_or_default(),
        };
        let others = entries
            .into_iter()
            .filter(move |(key, _)| !known.contains(&key.as_str()));
        others.map(move |(key, value)| match place {
            "" => (format!("{key:?}"), value),
            _ => (format!("{:?}", format!("{place}.{key}")), value),
        })
    };
    let sets = within("id", &["test"]).chain(within("ood", &["near", "far"]));
    let (none, mut held): (Vec<Placed<'_>>, Vec<_>) = sets.partition(|(_, value)| value.is_none());
    let beside = within("", &["id", "csid", "ood"]);
    held.extend(beside.filter(|(_, value)| is_something(*value)));
    let places = |found: Vec<Placed<'_>>| found.into_iter().map(|(place, _)| place).collect();
    (places(none), places(held))
}

/// Whether a value is neither None nor a dictionary of nothing else.
fn is_something(value: Node<'_>) -> bool {
    match value.entries().filter(|_| value.function().is_none()) {
        Some(entries) => entries.iter().any(|(_, value)| !value.is_none()),
        None => !value.is_none(),
    }
}

/// What is in a dictionary. A key that is no text is one that no name may be.
fn named(value: Node<'_>) -> Vec<Placed<'_>> {
    let entries = value.entries().unwrap_or_default().into_iter();
    let name = |key: Node<'_>| key.text().map_or_else(|| "?".to_owned(), Cow::into_owned);
    entries.map(|(key, value)| (name(key), value)).collect()
}

/// The arrays of a set.
fn row<'p>(member: &str, value: Node<'p>) -> Result<[(String, RawArray<'p>); 3], String> {
    let wrong = |what: String| {
        let names = ARRAYS.join(", ");
        format!("{member:?} is no list of the three arrays of NumPy's {names}: {what}")
    };
    let items = value.items().ok_or_else(|| wrong("it is no list".into()))?;
    if items.len() != ARRAYS.len() {
        return Err(wrong(format!("it has {} items", items.len())));
    }
    let array = |(name, item): (&str, Node<'p>)| match RawArray::read(item) {
        Ok(array) => Ok((format!("{member}.{name}"), array)),
        Err(what) => Err(wrong(format!("{name} is {what}"))),
    };
    let arrays = ARRAYS.into_iter().zip(items).map(array);
    let arrays = arrays.collect::<Result<Vec<_>, _>>()?;
    arrays.try_into().map_err(|_| wrong("it is no list".into()))
}
