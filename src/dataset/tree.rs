//! Folders, on disk or in an archive, as names and what they lead to.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::archive::Archive;
use super::beside;
use super::error::DatasetError;
use super::files;
use super::item::Stored;
use super::picture;
use crate::content::Content;

/// How deep folders may lie in folders: links may lead in circles.
const DEEPEST: usize = 24;

/// A folder.
#[derive(Clone)]
pub(super) enum Folder {
    Disk(PathBuf),
    /// A folder of an archive, by its path in it.
    Packed(Arc<Archive>, String),
}

/// One entry of a folder.
pub(super) struct Entry {
    pub name: String,
    pub place: Place,
}

/// What a name leads to.
pub(super) enum Place {
    Folder(Folder),
    File(Stored),
}

impl Folder {
    /// Lists it by name (bytes ascending), without what is no part of a set.
    pub fn list(&self) -> Result<Vec<Entry>, DatasetError> {
        match self {
            Self::Packed(archive, inner) => Ok(archive.list(inner)),
            Self::Disk(path) => {
                let entry = |entry: files::Entry| Entry {
                    name: entry.name,
                    place: match entry.is_dir {
                        true => Place::Folder(Self::Disk(entry.path)),
                        false => Place::File(Stored::File(entry.path)),
                    },
                };
                Ok(files::list(path)?.into_iter().map(entry).collect())
            }
        }
    }
}

/// How file names of pictures end that are read.
const READ: [&str; 13] = [
    "png", "jpg", "jpeg", "jpe", "jfif", "pjpeg", "webp", "bmp", "dib", "ppm", "pgm", "pbm", "pnm",
];
/// How those end that are not.
const NOT_READ: [&str; 31] = [
    "gif", "tif", "tiff", "avif", "heic", "heif", "hif", "jp2", "j2k", "jpx", "jxl", "jxr", "tga", "ico",
    "psd", "exr", "hdr", "qoi", "pcx", "dds", "ras", "sgi", "dcm", "svg", "dng", "cr2", "cr3", "nef", "arw",
    "raf", "orf",
];

/// How files end that stand beside pictures and are none.
const NO_PICTURES: [&str; 22] = [
    "txt", "json", "jsonl", "csv", "tsv", "xml", "md", "html", "yaml", "yml", "toml", "ini", "log", "py",
    "m", "mat", "npy", "npz", "pkl", "pdf", "parquet", "db",
];

/// The end of a file's name, in small letters.
pub(super) fn extension(name: &str) -> String {
    let extension = Path::new(name).extension().unwrap_or_default();
    extension.to_string_lossy().to_lowercase()
}

/// Whether a file is called as pictures are that are read.
pub(super) fn has_picture_name(name: &str) -> bool {
    READ.contains(&extension(name).as_str())
}

/// A folder and what is in it, down to the last picture.
pub(super) struct Node {
    pub name: String,
    /// Pictures right in it, by name.
    pub images: Vec<(String, Stored)>,
    /// Its folders, by name.
    pub folders: Vec<Node>,
    /// Files that say labels.
    pub tables: Vec<(String, Stored)>,
    /// Names of the first other files, and of the first that ends as it does.
    pub others: Vec<String>,
    /// Pictures in it and in its folders.
    pub count: usize,
}

/// How a tree is read.
#[derive(Clone, Copy)]
pub(super) struct Walk<'a> {
    /// Where the set lies, for errors.
    pub path: &'a Path,
    /// Takes pictures of formats that are not read, which then cannot be decoded; else they are an error.
    pub skip_bad: bool,
}

impl Walk<'_> {
    /// Reads a whole tree.
    pub fn node(&self, name: &str, folder: &Folder) -> Result<Node, DatasetError> {
        self.descend(name, folder, 0)
    }

    fn descend(&self, name: &str, folder: &Folder, depth: usize) -> Result<Node, DatasetError> {
        if depth > DEEPEST {
            return Err(DatasetError::Layout {
                path: self.path.to_owned(),
                reason: format!("folders lie more than {DEEPEST} deep in it, or a link leads in a circle"),
            });
        }
        let mut node = Node {
            name: name.to_owned(),
            images: Vec::new(),
            folders: Vec::new(),
            tables: Vec::new(),
            others: Vec::new(),
            count: 0,
        };
        for entry in folder.list()? {
            match entry.place {
                Place::Folder(inner) => node.folders.push(self.descend(&entry.name, &inner, depth + 1)?),
                Place::File(stored) if self.is_image(&entry.name, &stored)? => {
                    node.images.push((entry.name, stored));
                }
                Place::File(stored) if beside::is_table(&entry.name) => {
                    node.tables.push((entry.name, stored));
                }
                Place::File(_) => {
                    let end = extension(&entry.name);
                    let is_first = node.others.iter().all(|other| extension(other) != end);
                    if is_first || node.others.len() < 8 {
                        node.others.push(entry.name);
                    }
                }
            }
        }
        node.count = node.images.len() + node.folders.iter().map(|inner| inner.count).sum::<usize>();
        Ok(node)
    }

    fn is_image(&self, name: &str, stored: &Stored) -> Result<bool, DatasetError> {
        let extension = extension(name);
        if READ.contains(&extension.as_str()) {
            return Ok(true);
        }
        if NOT_READ.contains(&extension.as_str()) {
            return match self.skip_bad {
                true => Ok(true),
                false => Err(DatasetError::Layout {
                    path: match stored {
                        Stored::File(path) => path.clone(),
                        Stored::Encoded(..) | Stored::Planes(_) => self.path.join(name),
                    },
                    reason: format!("{} are read, and no others; convert it", picture::READ),
                }),
            };
        }
        // A name that does not say it, as in caches: the file does.
        match stored {
            Stored::File(path) if !NO_PICTURES.contains(&extension.as_str()) => {
                Ok(Content::at(path).is_ok_and(Content::is_picture))
            }
            Stored::File(_) | Stored::Encoded(..) | Stored::Planes(_) => Ok(false),
        }
    }
}

/// How files end that say nothing of pictures.
const SILENT: [&str; 24] = [
    "", "md", "rst", "html", "htm", "css", "js", "log", "py", "ipynb", "sh", "m", "ini", "cfg", "yaml",
    "yml", "toml", "bib", "pdf", "md5", "sha1", "sha256", "url", "db",
];
/// Such files that are told of at most.
const TOLD: usize = 4;

/// Whether a file is called as those are that speak of the whole set.
fn is_about_all(name: &str) -> bool {
    let name = name.to_lowercase();
    ["readme", "license", "licence", "copying", "citation", "changelog"]
        .iter()
        .any(|word| name.starts_with(word))
}

impl Node {
    /// The first files in it and in its folders that are read by nobody and may say something of its
    /// pictures, or be some: by path below it, those in the first folders first, and of every ending one.
    pub fn tables_below(&self) -> Vec<String> {
        let all = self.unread_below();
        let mut ends = BTreeSet::new();
        let (first, again): (Vec<String>, Vec<String>) =
            all.into_iter().partition(|path| ends.insert(extension(path)));
        let most = TOLD.max(first.len());
        first.into_iter().chain(again).take(most).collect()
    }

    fn unread_below(&self) -> Vec<String> {
        let own = self.tables.iter().map(|(name, _)| name).chain(&self.others);
        let tells = |name: &&String| !SILENT.contains(&extension(name).as_str()) && !is_about_all(name);
        let own = own.filter(tells);
        let within = |folder: &Self, path: String| format!("{}/{path}", folder.name);
        let inner = self.folders.iter();
        let inner = inner.flat_map(|folder| {
            let below = folder.unread_below().into_iter();
            below.map(move |path| within(folder, path))
        });
        own.cloned().chain(inner).collect()
    }

    /// Whether there are files below it, and all are such as stand beside pictures and are none.
    pub fn is_of_words(&self) -> bool {
        let ends = self.ends();
        !ends.is_empty()
            && ends
                .iter()
                .all(|end| end.is_empty() || NO_PICTURES.contains(&end.as_str()))
    }

    /// How the files below it end that are no pictures.
    fn ends(&self) -> BTreeSet<String> {
        let names = self.tables.iter().map(|(name, _)| name).chain(&self.others);
        let inner = self.folders.iter().flat_map(Self::ends);
        names.map(|name| extension(name)).chain(inner).collect()
    }

    /// All pictures of it and of its folders, by path below it.
    pub fn into_images(self) -> Vec<(String, Stored)> {
        let mut all = self.images;
        for folder in self.folders {
            let name = folder.name.clone();
            let inner = folder.into_images().into_iter();
            all.extend(inner.map(|(path, stored)| (format!("{name}/{path}"), stored)));
        }
        all
    }
}
