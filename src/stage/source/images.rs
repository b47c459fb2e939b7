//! Image sets: registered as they were read, opened split by split.

use std::collections::BTreeMap;
use std::path::Path;

use dream_schema::{Dataset, SkippedImage};

use super::{Source, check_source_name, memo};
use crate::dataset::{self, ClassFolder, Description, Images, Kind, Reading, Skipped};
use crate::error::HasKind as _;
use crate::stage::{Context, Refusals, Role, StageError};
use crate::stop::Stop;
use crate::store::Store;

/// A registered image set.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageSource(Dataset);

impl Source for ImageSource {
    const WHAT: &'static str = "an image set";

    fn is_kind(kind: &str) -> bool {
        Kind::from_name(kind).is_some()
    }

    fn wrap(entry: Dataset) -> Self {
        Self(entry)
    }

    fn entry(&self) -> &Dataset {
        &self.0
    }
}

/// Registers the image set at `path` under `name`, read as `reading` says; registering it again is harmless.
/// The entry keeps how it was read, and which images were left out, so that every run reads the same.
///
/// # Errors
/// If it cannot be read, or the name belongs to a set with other pictures.
pub fn register_images(
    store: &Store,
    name: &str,
    path: &Path,
    reading: &Reading,
) -> Result<ImageSource, StageError> {
    let source = read_images(store, name, path, reading)?;
    store.put_dataset(source.entry())?;
    Ok(source)
}

/// Reads the image set at `path` whole, as [`register_images`] does, and does not register it.
///
/// # Errors
/// If it cannot be read, or cannot have that name.
pub(in crate::stage) fn read_images(
    store: &Store,
    name: &str,
    path: &Path,
    reading: &Reading,
) -> Result<ImageSource, StageError> {
    check_source_name(store, name)?;
    let description = memo::description(path, reading)?;
    dataset::check_class_sets(
        path,
        description.kind,
        reading,
        &description.classes,
        &description.class_sizes,
    )?;
    let count = |(split, n): (&String, &usize)| (split.clone(), *n as u64);
    let source = Dataset {
        name: name.to_owned(),
        kind: description.kind.name().to_owned(),
        path: path.display().to_string(),
        digest: hex(&description.digest),
        splits: description.splits.iter().map(count).collect(),
        skipped: reading.skip_bad.then(|| skipped(&description)),
        class_folders: class_folders(reading, &description.classes),
        lists: lists(reading),
        classes: description.classes.clone(),
        ..Dataset::default()
    };
    Ok(ImageSource(source))
}

/// The directories of a set's classes, where only those of a list are read.
fn class_folders(reading: &Reading, classes: &[String]) -> Vec<String> {
    let there = |class: &&ClassFolder| !reading.partial || classes.contains(&class.name);
    let there = reading.classes.iter().filter(there);
    there.map(|class| class.folder.clone()).collect()
}

/// The lists of a set that is read by them, by split.
fn lists(reading: &Reading) -> BTreeMap<String, String> {
    let lists = reading.lists.iter();
    lists
        .map(|(split, list)| (split.clone(), list.display().to_string()))
        .collect()
}

/// Returns what is to be told of the image set at `path`: splits without images of some classes, and what is
/// not read. A set that this process has just read is not read again.
///
/// # Errors
/// If it cannot be read.
pub fn notes_on_images(path: &Path, reading: &Reading) -> Result<Vec<String>, StageError> {
    Ok(memo::description(path, reading)?.notes())
}

fn skipped(description: &Description) -> BTreeMap<String, Vec<SkippedImage>> {
    let row = |bad: &Skipped| SkippedImage {
        index: bad.index as u64,
        name: bad.name.clone(),
        reason: bad.reason.clone(),
    };
    let splits = description.skipped.iter();
    splits
        .map(|(split, bad)| (split.clone(), bad.iter().map(row).collect()))
        .collect()
}

impl ImageSource {
    /// Returns the image set at `path` as far as the names in it tell, for checks before it is registered: it
    /// has no digest, and where images may be left out the sizes of its splits are not known.
    ///
    /// # Errors
    /// If it is no image set.
    pub fn glance(name: &str, path: &Path, reading: &Reading) -> Result<Self, StageError> {
        let glance = dataset::glance(path, reading)?;
        Ok(Self(Dataset {
            name: name.to_owned(),
            kind: glance.kind.name().to_owned(),
            path: path.display().to_string(),
            splits: glance
                .splits
                .into_iter()
                .map(|(split, count)| (split, count.unwrap_or(0) as u64))
                .collect(),
            class_folders: class_folders(reading, &glance.classes),
            lists: lists(reading),
            classes: glance.classes,
            ..Dataset::default()
        }))
    }

    /// Returns what was glanced at with the numbers of images on record under its name, if the splits
    /// are the same: it is that set at another place, or will be refused.
    pub(in crate::stage) fn counted_as(mut self, known: &Self) -> Self {
        if self.splits().eq(known.splits()) {
            self.0.splits.clone_from(&known.0.splits);
        }
        self
    }

    /// Says whether both are the same images, as far as is known.
    pub(in crate::stage) fn is_same(&self, other: &Self) -> bool {
        super::is_same(&self.0, &other.0)
    }

    /// Returns the names of its classes.
    pub fn classes(&self) -> &[String] {
        &self.0.classes
    }

    /// Returns the names of its splits.
    pub fn splits(&self) -> impl Iterator<Item = &str> {
        self.0.splits.keys().map(String::as_str)
    }

    /// Returns the number of pictures in a split, without those left out; none if there is no such split, or
    /// the set is not registered.
    pub fn count(&self, split: &str) -> Option<u64> {
        self.0.splits.get(split).copied().filter(|count| *count > 0)
    }

    /// Refuses a split that the set does not have.
    pub(in crate::stage) fn require_split(&self, key: &str, split: &str, refusals: &mut Refusals) {
        let found = format!("`{}` has no split `{split}`", self.name());
        refusals.require_known(key, &found, split, self.splits());
    }

    /// Returns the split to test on where none is named: the only one that there is, or "test".
    pub(in crate::stage) fn usual_split(&self) -> &str {
        let mut splits = self.splits();
        match (splits.next(), splits.next()) {
            (Some(only), None) => only,
            _ => "test",
        }
    }

    /// Returns the number of images of each class in a split; none of any class where it has no labels. It is
    /// not known of a set that cannot be read, or of which images may be left out once it is registered.
    pub(in crate::stage) fn class_sizes(&self, split: &str) -> Option<Vec<usize>> {
        let count = || {
            let images = self.open_images(split).ok()?;
            let Some(labels) = images.labels() else {
                return Some(Vec::new());
            };
            let mut sizes = vec![0; self.classes().len()];
            for label in labels {
                *sizes.get_mut(*label as usize)? += 1;
            }
            Some(sizes)
        };
        match self.is_registered() {
            true if self.0.splits.contains_key(split) => memo::class_sizes(self.digest(), split, count),
            true => None,
            // What is glanced at has no digest to be known by.
            false => self.count(split).and_then(|_| count()),
        }
    }

    /// Refuses the set where it is known to have no labels.
    pub(in crate::stage) fn require_labels(&self, role: &Role, refusals: &mut Refusals) {
        if self.is_registered() && self.classes().is_empty() {
            let name = self.name();
            refusals.refuse(role, format!("the image set `{name}` has no labels"));
        }
    }

    /// Checks that the classes may be `others`, which are those of `whose`.
    ///
    /// # Errors
    /// If they are not: both lists are told, or that only the order differs.
    pub(in crate::stage) fn check_classes(&self, others: &[String], whose: &str) -> Result<(), StageError> {
        if self.may_have_classes(others) {
            return Ok(());
        }
        let sorted = |classes: &[String]| {
            let mut sorted = classes.to_vec();
            sorted.sort_unstable();
            sorted
        };
        let order = match sorted(self.classes()) == sorted(others) {
            true => ": they are the same, in another order",
            false if are_numbers(self.classes()) && !are_counted(self.classes()) => {
                ": its classes are numbers that do not follow each other (folders are sorted as text, 10 \
                 before 2)"
            }
            false if dataset::same_but_form(self.classes(), others) => {
                ": they differ in nothing but Unicode's normal form"
            }
            false => "",
        };
        let (name, own, others) = (self.name(), self.classes().join(", "), others.join(", "));
        Err(StageError::Mismatch(format!(
            "the classes of the image set `{name}` ({own}) are not those of {whose} ({others}){order}"
        )))
    }

    /// Returns the place of each class in a classifier's list, for a set of some of its classes, in any
    /// order.
    ///
    /// # Errors
    /// Classes that the classifier does not have: they are named.
    pub(in crate::stage) fn places_among(&self, classifier: &[String]) -> Result<Vec<u32>, StageError> {
        let place = |class: &String| classifier.iter().position(|other| other == class);
        let strange: Vec<&str> = (self.classes().iter())
            .filter(|class| place(class).is_none())
            .map(String::as_str)
            .collect();
        if strange.is_empty() {
            return Ok(self
                .classes()
                .iter()
                .filter_map(place)
                .map(|p| p as u32)
                .collect());
        }
        let more = match strange.len().saturating_sub(5) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        Err(StageError::Mismatch(format!(
            "the image set `{}` has classes that the classifier has not: {}{more}",
            self.name(),
            strange[..strange.len().min(5)].join(", ")
        )))
    }

    /// Says whether the classes may be those of `others`: the same names in the same order, or where the set
    /// numbers its classes and does not name them, as many.
    pub(in crate::stage) fn may_have_classes(&self, others: &[String]) -> bool {
        let own = self.classes();
        let numbered = || own.len() == others.len() && are_counted(own);
        own == others || numbered() || own.is_empty() && !self.is_registered()
    }

    /// Says that the set numbers its classes and which of `others` they are taken for, where it does.
    pub fn say_numbered(&self, others: &[String]) -> Option<String> {
        let (own, [first, .., last]) = (self.classes(), others) else {
            return None;
        };
        let numbered = own != others && !own.is_empty() && self.may_have_classes(others);
        numbered.then(|| {
            format!(
                "`{}` numbers its {} classes and does not name them: {} is taken for {first}, ..., {} for \
                 {last}",
                self.name(),
                own.len(),
                own[0],
                own[own.len() - 1]
            )
        })
    }

    /// Returns the images of a split that are left out because they cannot be decoded.
    pub fn left_out(&self, split: &str) -> &[SkippedImage] {
        let splits = self.0.skipped.as_ref();
        splits
            .and_then(|splits| splits.get(split))
            .map_or(&[], Vec::as_slice)
    }

    /// Returns words on the images of a split that are left out: how many, and the names of the first.
    pub fn say_left_out(&self, split: &str) -> String {
        let bad = self.left_out(split);
        let named = bad
            .iter()
            .take(5)
            .map(|b| b.name.as_str())
            .collect::<Vec<_>>()
            .join(", ");
        let more = if bad.len() > 5 { ", ..." } else { "" };
        let (count, name) = (bad.len(), self.name());
        format!(
            "{count} of the images of `{name}` in the split {split} cannot be decoded and are left out: \
            {named}{more}"
        )
    }

    fn reading(&self) -> Reading {
        let pairs = self.0.class_folders.iter().zip(&self.0.classes);
        let class = |(folder, name): (&String, &String)| ClassFolder {
            folder: folder.clone(),
            name: name.clone(),
        };
        Reading {
            kind: Kind::from_name(&self.0.kind),
            classes: pairs.map(class).collect(),
            lists: {
                let list = |(split, list): (&String, &String)| (split.clone(), list.into());
                self.0.lists.iter().map(list).collect()
            },
            skip_bad: self.0.skipped.is_some(),
            partial: false,
            stop: Stop::default(),
        }
    }

    /// Opens a split; its pictures are decoded when they are asked for.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn open_images(&self, split: &str) -> Result<Images, StageError> {
        let skipped = self.left_out(split).iter().map(|bad| Skipped {
            index: bad.index as usize,
            name: bad.name.clone(),
            reason: bad.reason.clone(),
        });
        let skipped: Vec<Skipped> = skipped.collect();
        Ok(Images::open(
            Path::new(&self.0.path),
            &self.reading(),
            split,
            &skipped,
        )?)
    }

    /// Checks that the pictures are still those that were registered.
    ///
    /// # Errors
    /// If they cannot be read or have changed, or others than those on record cannot be decoded.
    pub(in crate::stage) fn verify_images(&self, ctx: &Context<'_>) -> Result<(), StageError> {
        let stopped = &|| ctx.progress.cancelled();
        let read = memo::description_until(Path::new(&self.0.path), &self.reading(), stopped);
        let description = match read {
            Err(error) if error.kind() == crate::Kind::Interrupted => return Err(StageError::Interrupted),
            read => read?,
        };
        self.check_digest(hex(&description.digest))?;
        if let Some(recorded) = &self.0.skipped
            && *recorded != skipped(&description)
        {
            return Err(StageError::Mismatch(format!(
                "other images of `{}` cannot be decoded than when it was registered; register it again",
                self.0.name
            )));
        }
        Ok(())
    }
}

fn hex(digest: &[u8; 32]) -> String {
    blake3::Hash::from_bytes(*digest).to_hex().to_string()
}

/// Says whether classes have numbers for names.
fn are_numbers(classes: &[String]) -> bool {
    !classes.is_empty() && classes.iter().all(|class| class.parse::<u32>().is_ok())
}

/// Says whether classes are numbered in their order, from 0 or 1 on: then the numbers say nothing beyond the
/// labels.
fn are_counted(classes: &[String]) -> bool {
    let from = |first: usize| {
        let mut numbered = classes.iter().zip(first..);
        numbered.all(|(class, number)| class.parse() == Ok(number))
    };
    from(0) || from(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_for_classes_only_in_their_order() {
        let of = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        for counted in [&["0", "1", "2"][..], &["1", "2", "3"], &["00", "01", "02"]] {
            assert!(are_counted(&of(counted)), "{counted:?}");
        }
        // As folders are sorted, and as somebody chose.
        for other in [
            &["0", "1", "10", "2"][..],
            &["2", "3"],
            &["0", "2"],
            &["zero", "1"],
        ] {
            assert!(!are_counted(&of(other)), "{other:?}");
        }
    }
}
