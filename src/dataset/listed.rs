//! Folders of which a list says the classes: ImageNet-100 is a hundred of ImageNet's thousand directories.
//!
//! The list gives the names of the classes and the order of their labels. Where none of its directories is
//! there, but as many as it names are called 0, 1, 2, ..., these are its classes in their order
//! (ImageNet-V2).

use std::collections::{BTreeMap, BTreeSet};

use super::error::DatasetError;
use super::folder::{ALL, ClassFolder, Content, FolderSet, Split};
use super::names::{is_split, normal};
use super::set::Reading;
use super::tree::{Entry, Folder, Node, Place, Walk};

/// How deep directories are looked for.
const DEPTH: usize = 6;

/// Class directories, with the names of the folders above them.
type Found = Vec<(Vec<String>, Vec<Node>)>;

/// Reads the directories of the classes of a list, in the folder or in its splits; whatever else is there is
/// passed over.
///
/// # Errors
/// If one of them is not there, unless the reading is `partial`, or has no picture.
pub(super) fn read(walk: &Walk<'_>, root: &Folder, reading: &Reading) -> Result<FolderSet, DatasetError> {
    let numbered: Vec<ClassFolder>;
    let mut list = reading.classes.as_slice();
    let (mut found, mut unread) = find(walk, root, list)?;
    if found.is_empty() && are_numbered(root, list.len())? {
        let number = |(number, class): (usize, &ClassFolder)| ClassFolder {
            folder: number.to_string(),
            name: class.name.clone(),
        };
        numbered = list.iter().enumerate().map(number).collect();
        list = &numbered;
        (found, unread) = find(walk, root, list)?;
    }
    let is_there = |class: &&ClassFolder| {
        let mut all = found.iter().flat_map(|(_, classes)| classes);
        all.any(|found| normal(&found.name) == normal(&class.folder))
    };
    let absent = list.iter().find(|class| !is_there(class));
    if let Some(absent) = absent.filter(|_| !reading.partial || found.is_empty()) {
        return Err(DatasetError::Missing {
            path: walk.path.to_owned(),
            expected: format!(
                "directory {} of the class {} (`--partial` takes the classes that are there)",
                absent.folder, absent.name
            ),
        });
    }
    let there: Vec<&ClassFolder> = list.iter().filter(is_there).collect();
    let place = there
        .iter()
        .zip(0..)
        .map(|(class, place)| (normal(&class.folder), place));
    let place: BTreeMap<String, usize> = place.collect();
    let classes = there.iter().map(|class| class.name.clone()).collect();
    // Only directories of the list were taken.
    let label = |folder: &str| place.get(&normal(folder)).copied().unwrap_or_default();
    Ok(FolderSet {
        unread,
        ..FolderSet::of(splits(walk, found)?, classes, label)?
    })
}

/// Finds the class directories that hold pictures; also says which folders of splits hold none of them.
fn find(walk: &Walk<'_>, root: &Folder, list: &[ClassFolder]) -> Result<(Found, Vec<String>), DatasetError> {
    // A Mac's folders have another normal form than most tables.
    let place: BTreeMap<String, usize> = (list.iter().zip(0..))
        .map(|(class, place)| (normal(&class.folder), place))
        .collect();
    let layout = |reason: String| DatasetError::Layout {
        path: walk.path.to_owned(),
        reason,
    };
    if place.len() < list.len() {
        let mut seen = BTreeSet::new();
        let twice = list.iter().find(|class| !seen.insert(normal(&class.folder)));
        let twice = twice.map_or("", |class| class.folder.as_str());
        return Err(layout(format!(
            "the list of classes names the directory `{twice}` twice"
        )));
    }
    let (mut found, mut named) = (Found::new(), Vec::new());
    let mut level = vec![(Vec::new(), root.clone())];
    for _ in 0..DEPTH {
        let mut below = Vec::new();
        for (above, folder) in level {
            let inner = folder.list()?.into_iter().filter_map(directory);
            let (mut classes, others): (Vec<_>, Vec<_>) =
                inner.partition(|(name, _)| place.contains_key(&normal(name)));
            // In the order of the list, and so of the labels.
            classes.sort_by_key(|(name, _)| place.get(&normal(name)).copied());
            if let Some((other, class)) = likened(&others, &classes, list) {
                let within = match above.is_empty() {
                    true => "it".to_owned(),
                    false => above.join("/"),
                };
                return Err(layout(format!(
                    "the list of classes names the directory {class}, and in {within} it is called {other}"
                )));
            }
            if above.last().is_some_and(|name: &String| is_split(name)) {
                named.push((above.clone(), folder));
            }
            if classes.is_empty() {
                let others = others.into_iter();
                below.extend(others.map(|(name, folder)| ([&above[..], &[name]].concat(), folder)));
            } else {
                let nodes = classes
                    .into_iter()
                    .map(|(name, folder)| walk.node(&name, &folder));
                found.push((above, nodes.collect::<Result<Vec<_>, _>>()?));
            }
        }
        level = below;
    }
    // Annotations lie in directories of the classes, too.
    let has_images = |(_, classes): &(_, Vec<Node>)| classes.iter().any(|class| class.count > 0);
    if found.iter().any(has_images) {
        found.retain(has_images);
    }
    let mut unread = Vec::new();
    for (above, folder) in named {
        let has_classes = found.iter().any(|(path, _)| path.starts_with(&above));
        if !has_classes && walk.node("", &folder)?.count > 0 {
            unread.push(format!(
                "the folder {}, which has none of the classes",
                above.join("/")
            ));
        }
    }
    Ok((found, unread))
}

/// Whether the directories of a folder, or of its only one, are called 0, 1, 2, ..., and are so many.
fn are_numbered(folder: &Folder, count: usize) -> Result<bool, DatasetError> {
    let mut inner: BTreeMap<String, Folder> = folder.list()?.into_iter().filter_map(directory).collect();
    if inner.len() == 1
        && count > 1
        && let Some((_, only)) = inner.pop_first()
    {
        inner = only.list()?.into_iter().filter_map(directory).collect();
    }
    Ok(inner.len() == count && (0..count).all(|number| inner.contains_key(&number.to_string())))
}

/// Puts class directories together by the splits that the folders above them name.
fn splits(walk: &Walk<'_>, found: Found) -> Result<Vec<Split>, DatasetError> {
    let mut splits: BTreeMap<String, (String, Split)> = BTreeMap::new();
    for (above, classes) in found {
        let own = above.iter().rev().find(|name| is_split(name)).or(above.last());
        let name = own.map_or(ALL, String::as_str).to_owned();
        let within = above.join("/");
        let mut content = Vec::new();
        for class in classes {
            if class.count == 0 {
                return Err(DatasetError::EmptyClass {
                    path: walk.path.join(&within),
                    class: class.name,
                });
            }
            content.push((class.name.clone(), class.into_images()));
        }
        let content = Content::Classes(content);
        let made = (
            within.clone(),
            Split {
                name: name.clone(),
                content,
            },
        );
        if let Some((other, _)) = splits.insert(name.clone(), made) {
            return Err(DatasetError::Layout {
                path: walk.path.to_owned(),
                reason: format!(
                    "{other} and {within} would both be the split `{name}`: name the folder of one of them"
                ),
            });
        }
    }
    Ok(splits.into_values().map(|(_, split)| split).collect())
}

/// A directory of a folder that is called as an absent class of the list but for the size of letters and
/// spaces around, and that class. It would be passed over.
fn likened<'l>(
    others: &[(String, Folder)],
    classes: &[(String, Folder)],
    list: &'l [ClassFolder],
) -> Option<(String, &'l str)> {
    let plain = |name: &str| normal(name.trim()).to_lowercase();
    let absent = list.iter().map(|class| class.folder.as_str());
    let absent = absent.filter(|class| classes.iter().all(|(name, _)| normal(name) != normal(class)));
    let mut absent: BTreeMap<String, &str> = absent.map(|class| (plain(class), class)).collect();
    others
        .iter()
        .find_map(|(name, _)| Some((name.clone(), absent.remove(&plain(name))?)))
}

/// A directory among the entries of a folder.
fn directory(entry: Entry) -> Option<(String, Folder)> {
    match entry.place {
        Place::Folder(folder) => Some((entry.name, folder)),
        Place::File(_) => None,
    }
}
