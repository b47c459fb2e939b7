//! Which directories of a tree of images are splits, and which are classes.

use std::collections::BTreeMap;
use std::path::Path;

use super::beside::{Labelled, Labels, Pictures};
use super::error::DatasetError;
use super::folder::{ALL, Content, Split};
use super::item::Stored;
use super::names::is_split;
use super::tree::Node;

/// Goes into an only folder, and its only folder, unless that is a split or holds the images itself: it is
/// the folder around a set, as archives have one.
pub(super) fn unwrapped(mut node: Node) -> Node {
    loop {
        let full: Vec<usize> = (0..node.folders.len())
            .filter(|i| node.folders[*i].count > 0)
            .collect();
        let &[only] = full.as_slice() else { return node };
        let inner = &node.folders[only];
        if !node.images.is_empty() || !inner.images.is_empty() || is_split(&inner.name) {
            return node;
        }
        node = node.folders.swap_remove(only);
    }
}

/// Says which directories are splits and which are classes, by where the images are:
///
/// - images right in it, or in its only directory: one split without labels, unless files beside the images
///   say them (`beside`);
/// - directories of images: classes of the split "all", or if all have names of splits, splits without
///   labels;
/// - directories of directories: splits of classes; one with images of its own may stand beside them if it is
///   called as a split is, and has no labels;
/// - what holds nothing but one of these is passed through (`Data/CLS-LOC`, `train/images`), and directories
///   without any image (`labels`, `Annotations`) are passed over beside splits, as are pictures that say
///   something of those in `images` beside them (`annotations/trimaps`, `SegmentationClass`).
///
/// Directories that are not called as splits are taken for splits (the domains `amazon` and `webcam`) only
/// where they are no sets of their own and the images are right in their class directories: deeper ones
/// might be classes, too.
pub(super) fn arrange(path: &Path, node: Node) -> Result<Vec<Split>, DatasetError> {
    let layout = |reason: &str| DatasetError::Layout {
        path: path.to_owned(),
        reason: reason.to_owned(),
    };
    if let Some(labels) = Labels::of(path, &node)? {
        return Ok(by_split(labels.put_on(path, node.into_images())?));
    }
    let (mut full, empty): (Vec<Node>, Vec<Node>) = node.folders.into_iter().partition(|f| f.count > 0);
    if full.iter().any(is_wrapper) {
        full.retain(|folder| !is_annotation(folder));
    }
    if !node.images.is_empty() {
        return match full.is_empty() {
            true => Ok(one(ALL, Content::Unlabelled(node.images))),
            false => {
                let (image, folder) = (&node.images[0].0, &full[0].name);
                Err(layout(&format!(
                    "images and directories side by side, such as {image} and {folder}: move one or the other"
                )))
            }
        };
    }
    let is_named = |f: &Node| is_split(&f.name);
    if let Some(split) = empty.iter().find(|f| is_named(f) && full.iter().any(is_named)) {
        return Err(DatasetError::EmptySplit {
            path: path.to_owned(),
            split: split.name.clone(),
        });
    }
    if full.len() == 1
        && let Some(only) = full.pop()
    {
        check_alone(path, &only, &empty)?;
        return of_one(path, only);
    }
    let flat = full.iter().filter(|f| is_flat(f)).count();
    let flat_are_splits = full.iter().all(|f| !is_flat(f) || is_named(f));
    if flat == full.len() && !flat_are_splits {
        full.extend(empty);
        full.sort_by(|a, b| a.name.cmp(&b.name));
        let content = Content::Classes(classes(path, full)?);
        return Ok(one(ALL, content));
    }
    let letter = |f: &Node| {
        let is_letter = f.name.len() == 1 && f.name.bytes().all(|b| b.is_ascii_lowercase());
        is_letter && full_of(f).all(|inner| inner.name.starts_with(&f.name))
    };
    if flat == 0 && full.iter().all(letter) {
        // Places365 sorts its classes into folders by their first letter.
        let mut found = Vec::new();
        full.into_iter().for_each(|folder| leaves(folder, "", &mut found));
        return Ok(one(ALL, Content::Classes(found)));
    }
    if !flat_are_splits {
        let named = |flat: bool| {
            full.iter()
                .find(|f| is_flat(f) == flat)
                .map_or("", |f| f.name.as_str())
        };
        return Err(layout(&format!(
            "some directories are classes and others splits: `{}` holds images, and `{}` directories of \
             them; of several sets, name one",
            named(true),
            named(false)
        )));
    }
    check_domains(path, &full)?;
    full.into_iter().map(|folder| split(path, folder)).collect()
}

/// Refuses images in one directory beside others without any, which may be classes whose images are missing.
fn check_alone(path: &Path, only: &Node, empty: &[Node]) -> Result<(), DatasetError> {
    let is_set = is_split(&only.name) || is_wrapper(only) || only.images.is_empty();
    match empty
        .iter()
        .find(|folder| !is_annotation(folder) && !folder.is_of_words())
    {
        Some(folder) if !is_set => Err(DatasetError::Layout {
            path: path.to_owned(),
            reason: format!(
                "`{}` holds images and `{}` none: as classes each needs some, and a set without labels is \
                 the folder `{}` itself",
                only.name, folder.name, only.name
            ),
        }),
        _ => Ok(()),
    }
}

/// Refuses directories to be splits that are not called so, where they are sets of their own, or where images
/// lie deeper than in their class directories.
fn check_domains(path: &Path, full: &[Node]) -> Result<(), DatasetError> {
    let domains = || {
        let domains = full.iter().filter(|f| !is_split(&f.name) && !is_flat(f));
        domains.map(unpacked)
    };
    if domains().any(|domain| full_of(domain).any(|f| is_split(&f.name))) {
        return Err(DatasetError::Several {
            path: path.to_owned(),
            sets: full.iter().map(|folder| folder.name.clone()).collect(),
        });
    }
    let deep = domains().find_map(|domain| Some((domain, full_of(domain).find(|f| !is_flat(f))?)));
    match deep {
        Some((domain, class)) => Err(DatasetError::Layout {
            path: path.to_owned(),
            reason: format!(
                "`{}/{}` holds folders of images, and neither is called as a split is: which are the \
                 classes? Name the folder whose folders they are",
                domain.name, class.name
            ),
        }),
        None => Ok(()),
    }
}

/// Whether there are images right in a directory, or in its only folder `images`, as Tiny ImageNet has it.
fn is_flat(folder: &Node) -> bool {
    !folder.images.is_empty() || !unpacked(folder).images.is_empty()
}

/// The folders with images in them.
fn full_of(folder: &Node) -> impl Iterator<Item = &Node> {
    folder.folders.iter().filter(|f| f.count > 0)
}

/// Whether a folder is called as one that merely holds the images, or the class directories, of another.
fn is_wrapper(folder: &Node) -> bool {
    let names = ["images", "image", "imgs", "img", "jpegimages"];
    names.iter().any(|name| folder.name.eq_ignore_ascii_case(name))
}

/// Whether a folder is called as one of pictures that say something of other pictures.
fn is_annotation(folder: &Node) -> bool {
    let words = [
        "annotation",
        "label",
        "mask",
        "trimap",
        "segmentation",
        "groundtruth",
        "ground_truth",
        "depth",
    ];
    let name = folder.name.to_lowercase();
    words.iter().any(|word| name.starts_with(word))
}

/// A folder, or the only one in it where that merely holds what is in it.
fn unpacked(folder: &Node) -> &Node {
    let mut full = full_of(folder);
    match (full.next(), full.next()) {
        (Some(only), None) if folder.images.is_empty() && is_wrapper(only) => only,
        _ => folder,
    }
}

/// A folder whose images are all in one directory.
fn of_one(path: &Path, only: Node) -> Result<Vec<Split>, DatasetError> {
    if !only.images.is_empty() {
        let name = match is_split(&only.name) {
            true => {
                return Ok(vec![split(path, only)?]);
            }
            false => ALL,
        };
        let content = match Labels::of(path, &only)? {
            Some(labels) => Content::Labelled(labels.put_on(path, only.into_images())?),
            None => Content::Unlabelled(only.into_images()),
        };
        return Ok(one(name, content));
    }
    let full: Vec<&Node> = only.folders.iter().filter(|f| f.count > 0).collect();
    let wraps = full.iter().any(|f| is_split(&f.name)) || full.len() == 1 && full[0].images.is_empty();
    let letters = full.iter().all(|f| f.name.len() == 1 && f.images.is_empty());
    if !is_split(&only.name) && (wraps || letters) {
        return arrange(path, only);
    }
    Ok(vec![split(path, only)?])
}

/// Labelled images as the splits whose folders they are in; as one, if they are in no such folders.
fn by_split(labelled: Labelled) -> Vec<Split> {
    let split = |name: &str| {
        let (split, name) = name.split_once('/')?;
        is_split(split).then(|| (split.to_owned(), name.to_owned()))
    };
    let Labelled { pictures, unread } = labelled;
    let known = pictures.iter().all(|(name, ..)| split(name).is_some());
    let mut splits: BTreeMap<String, Pictures> = BTreeMap::new();
    for (name, stored, label) in pictures {
        let place = split(&name).filter(|_| known);
        let (folder, name) = place.unwrap_or_else(|| (ALL.to_owned(), name));
        splits.entry(folder).or_default().push((name, stored, label));
    }
    let split = |(name, pictures)| Split {
        name,
        content: Content::Labelled(Labelled {
            pictures,
            unread: unread.clone(),
        }),
    };
    splits.into_iter().map(split).collect()
}

fn one(name: &str, content: Content) -> Vec<Split> {
    let name = name.to_owned();
    vec![Split { name, content }]
}

/// A directory as a split: of class directories, or of images.
fn split(path: &Path, folder: Node) -> Result<Split, DatasetError> {
    let within = path.join(&folder.name);
    if let Some(labels) = Labels::of(&within, &folder)? {
        let name = folder.name.clone();
        let content = Content::Labelled(labels.put_on(&within, folder.into_images())?);
        return Ok(Split { name, content });
    }
    let inner = folder.folders.iter().any(|f| f.count > 0);
    let content = match (folder.images.is_empty(), inner) {
        (false, true) => {
            return Err(DatasetError::Layout {
                path: within,
                reason: "a split with images beside its class directories".to_owned(),
            });
        }
        (false, false) => Content::Unlabelled(folder.images),
        (true, _) => {
            let mut folders = folder.folders;
            // `train/images/*`: a split whose images, or class directories, lie one folder deeper.
            let only = folders.iter().filter(|f| f.count > 0).count() == 1;
            match folders.iter().position(|f| only && f.count > 0 && is_wrapper(f)) {
                Some(at) => {
                    let inner = split(&within, folders.swap_remove(at))?;
                    return Ok(Split {
                        name: folder.name,
                        ..inner
                    });
                }
                None => Content::Classes(classes(&within, folders)?),
            }
        }
    };
    Ok(Split {
        name: folder.name,
        content,
    })
}

/// Classes by name, each with its images.
type Classes = Vec<(String, Vec<(String, Stored)>)>;

/// Directories as classes, each with all images in it; none may be empty.
fn classes(path: &Path, folders: Vec<Node>) -> Result<Classes, DatasetError> {
    let class = |folder: Node| {
        if folder.count == 0 {
            return Err(DatasetError::EmptyClass {
                path: path.to_owned(),
                class: folder.name,
            });
        }
        let name = folder.name.clone();
        let mut folder = folder;
        // `n01443537/images/*`, as Tiny ImageNet has it.
        if folder.images.is_empty() && folder.folders.len() == 1 && folder.folders[0].name == "images" {
            folder = folder.folders.swap_remove(0);
        }
        Ok((name, folder.into_images()))
    };
    folders.into_iter().map(class).collect()
}

/// The directories with images of their own, by path.
fn leaves(mut folder: Node, above: &str, found: &mut Classes) {
    let name = match above {
        "" => folder.name.clone(),
        _ => format!("{above}/{}", folder.name),
    };
    let images = std::mem::take(&mut folder.images);
    if !images.is_empty() {
        found.push((name.clone(), images));
    }
    for inner in folder.folders {
        leaves(inner, &name, found);
    }
}
