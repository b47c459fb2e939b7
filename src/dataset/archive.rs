//! Archives of images: tar, tar.gz and zip. What is in them is listed once and read where it lies; a gzip
//! stream around a tar is unpacked first, because one cannot read it at any place.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::bulk::{Bulk, Part};
use super::error::DatasetError;
use super::item::{Encoded, Stored};
use super::tree::{self, Entry, Place};
use super::{end_of_tar, files};
use crate::input;

/// By folder (`""`, `train`, `train/cat`), the names in it: a folder, or the number of a member.
type Folders = BTreeMap<String, BTreeMap<String, Option<usize>>>;

/// The files in an archive.
pub(super) struct Archive {
    folders: Folders,
    members: Arc<Members>,
}

struct Members(Vec<Member>);

struct Member {
    part: Part,
    /// What a zip says of it; a tar has no checksums of contents.
    zipped: Option<Zipped>,
}

#[derive(Clone, Copy)]
struct Zipped {
    deflated: bool,
    /// Bytes when unpacked, and their CRC-32.
    size: u64,
    sum: u32,
}

impl Archive {
    /// The folders of an archive without a member.
    fn root() -> Folders {
        BTreeMap::from([(String::new(), BTreeMap::new())])
    }

    /// Opens a tar, plain or gzip.
    pub fn tar(path: &Path) -> Result<Self, DatasetError> {
        let bulk = Bulk::open(path)?;
        let damaged = |reason: String| DatasetError::Corrupt {
            path: path.to_owned(),
            reason: format!("tar: {reason}"),
        };
        let (mut folders, mut members, mut links) = (Self::root(), Vec::new(), Vec::new());
        let mut archive = tar::Archive::new(bulk.between(0, bulk.len));
        let mut end = Some(0);
        for entry in archive.entries_with_seek().map_err(|e| damaged(e.to_string()))? {
            let entry = entry.map_err(|e| damaged(e.to_string()))?;
            let name = entry.path().map_err(|e| damaged(e.to_string()))?.into_owned();
            let kind = entry.header().entry_type();
            // A sparse file has more in the archive than its size says.
            end = match kind.is_gnu_sparse() {
                true => None,
                false => Some(end_of_tar::behind(entry.raw_file_position(), entry.size())),
            };
            if kind.is_hard_link() || kind.is_symlink() {
                let target = entry.link_name().map_err(|e| damaged(e.to_string()))?;
                let target = target.unwrap_or_default().into_owned();
                // A hard link's target is a path in the archive, a symbolic one's begins where the link is.
                let target = match (kind.is_symlink(), name.parent()) {
                    (true, Some(folder)) => folder.join(target),
                    _ => target,
                };
                links.push((name, target));
                continue;
            }
            if !kind.is_file() {
                continue;
            }
            let (offset, size) = (entry.raw_file_position(), entry.size());
            if size > bulk.len.saturating_sub(offset) {
                return Err(damaged(format!("it ends within its member {}", name.display())));
            }
            if put(&mut folders, &name, members.len()) {
                let part = Part {
                    bulk: bulk.clone(),
                    offset,
                    len: size as usize,
                };
                members.push(Member { part, zipped: None });
            }
        }
        if let Some(end) = end {
            end_of_tar::check(bulk.between(end, bulk.len))
                .map_err(files::io(path))?
                .map_err(damaged)?;
        }
        follow(path, &mut folders, links)?;
        Ok(Self {
            folders,
            members: Arc::new(Members(members)),
        })
    }

    /// Opens a zip.
    pub fn zip(path: &Path) -> Result<Self, DatasetError> {
        let file = input::open(path).map_err(files::io(path))?;
        let damaged = |reason: String| DatasetError::Corrupt {
            path: path.to_owned(),
            reason: format!("zip: {reason}"),
        };
        let bulk = Bulk::open(path)?;
        let reader = std::io::BufReader::new(file);
        let mut archive = zip::ZipArchive::new(reader).map_err(|e| damaged(e.to_string()))?;
        let (mut folders, mut members) = (Self::root(), Vec::new());
        for number in 0..archive.len() {
            let entry = archive.by_index_raw(number).map_err(|e| damaged(e.to_string()))?;
            let name = entry.name().map_err(|e| damaged(e.to_string()))?.into_owned();
            if entry.is_symlink() && tree::has_picture_name(&name) {
                return Err(DatasetError::Foreign {
                    path: path.to_owned(),
                    what: "a zip archive".to_owned(),
                    reason: format!("its member {name} is a link, which is not followed: unpack it"),
                });
            }
            if !entry.is_file() {
                continue;
            }
            let deflated = match entry.compression() {
                zip::CompressionMethod::Stored => false,
                zip::CompressionMethod::DEFLATE => true,
                other => {
                    return Err(DatasetError::Foreign {
                        path: path.to_owned(),
                        what: "a zip archive".to_owned(),
                        reason: format!("its member {name} is compressed by {other}, which is not read"),
                    });
                }
            };
            if entry.encrypted() {
                return Err(DatasetError::Foreign {
                    path: path.to_owned(),
                    what: "a zip archive".to_owned(),
                    reason: format!("its member {name} is encrypted"),
                });
            }
            let offset = entry.data_start().unwrap_or(u64::MAX);
            let size = entry.compressed_size();
            if size > bulk.len.saturating_sub(offset) {
                return Err(damaged(format!("it ends within its member {name}")));
            }
            if put(&mut folders, Path::new(&name.replace('\\', "/")), members.len()) {
                let part = Part {
                    bulk: bulk.clone(),
                    offset,
                    len: size as usize,
                };
                let zipped = Some(Zipped {
                    deflated,
                    size: entry.size(),
                    sum: entry.crc32(),
                });
                members.push(Member { part, zipped });
            }
        }
        Ok(Self {
            folders,
            members: Arc::new(Members(members)),
        })
    }

    /// Lists one of its folders, by name.
    pub fn list(self: &Arc<Self>, folder: &str) -> Vec<Entry> {
        let names = self.folders.get(folder).into_iter().flatten();
        let entry = |(name, member): (&String, &Option<usize>)| Entry {
            name: name.clone(),
            place: match member {
                Some(number) => Place::File(Stored::Encoded(self.members.clone(), *number)),
                None => {
                    let inner = match folder {
                        "" => name.clone(),
                        _ => format!("{folder}/{name}"),
                    };
                    Place::Folder(tree::Folder::Packed(self.clone(), inner))
                }
            },
        };
        names.map(entry).collect()
    }
}

/// Puts links to members where they stand. A link to a folder, or to a picture that is not in the archive, is
/// refused: what it stands for would be missing.
fn follow(
    path: &Path,
    folders: &mut Folders,
    mut links: Vec<(PathBuf, PathBuf)>,
) -> Result<(), DatasetError> {
    loop {
        let before = links.len();
        // A link may lead to one that comes later.
        links.retain(|(name, target)| match member(folders, target) {
            Some(number) => {
                put(folders, name, number);
                false
            }
            None => true,
        });
        if links.len() == before {
            break;
        }
    }
    for (name, target) in links {
        let is_folder = names(&target).is_some_and(|names| folders.contains_key(&names.join("/")));
        if is_folder || tree::has_picture_name(&name.to_string_lossy()) {
            let (name, target) = (name.display(), target.display());
            return Err(DatasetError::Foreign {
                path: path.to_owned(),
                what: "a tar archive".to_owned(),
                reason: match is_folder {
                    true => format!("its member {name} is a link to the folder {target}: unpack it"),
                    false => format!("its member {name} is a link to {target}, which is not in it"),
                },
            });
        }
    }
    Ok(())
}

/// The number of the member at a path.
fn member(folders: &Folders, path: &Path) -> Option<usize> {
    let mut names = names(path)?;
    let name = names.pop()?;
    *folders.get(&names.join("/"))?.get(&name)?
}

/// The names on a path within the archive; none where it leads out of it.
fn names(path: &Path) -> Option<Vec<String>> {
    let mut names = Vec::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => names.push(files::readable(name)),
            Component::CurDir => {}
            Component::ParentDir => drop(names.pop()?),
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(names)
}

/// Puts a member into its folder, unless it is no part of a set, or its path leads out of the archive.
fn put(folders: &mut Folders, path: &Path, number: usize) -> bool {
    // As tar itself, which takes the first slash away, and what leads out of the archive.
    let mut inner = path.components().peekable();
    while inner
        .next_if(|part| matches!(part, Component::RootDir | Component::ParentDir))
        .is_some()
    {}
    let Some(mut names) = names(&inner.collect::<PathBuf>()) else {
        return false;
    };
    if names.iter().any(|name| files::is_litter(name)) {
        return false;
    }
    let Some(name) = names.pop() else { return false };
    let mut folder = String::new();
    for inner in names {
        folders
            .entry(folder.clone())
            .or_default()
            .insert(inner.clone(), None);
        if !folder.is_empty() {
            folder.push('/');
        }
        folder.push_str(&inner);
    }
    // Of two members of one name the later one counts, as for tar itself.
    folders.entry(folder).or_default().insert(name, Some(number));
    true
}

impl Encoded for Members {
    fn bytes(&self, number: usize) -> Result<Option<Vec<u8>>, DatasetError> {
        let Some(member) = self.0.get(number) else {
            return Ok(None);
        };
        let damaged = |reason: String| DatasetError::Corrupt {
            path: member.part.bulk.path.clone(),
            reason,
        };
        let size = member.zipped.map_or(member.part.len as u64, |zipped| zipped.size);
        if size > input::PICTURE {
            return Err(damaged(format!(
                "a picture of {size} bytes, more than {}",
                input::PICTURE
            )));
        }
        let packed = member.part.read()?;
        let Some(Zipped { deflated, size, sum }) = member.zipped else {
            return Ok(Some(packed));
        };
        let bytes = match deflated {
            false => packed,
            true => {
                let mut bytes = Vec::new();
                let mut unpacked = flate2::read::DeflateDecoder::new(&packed[..]).take(size + 1);
                unpacked
                    .read_to_end(&mut bytes)
                    .map_err(|e| damaged(format!("zip: {e}")))?;
                bytes
            }
        };
        let mut check = flate2::Crc::new();
        check.update(&bytes);
        if bytes.len() as u64 != size || check.sum() != sum {
            return Err(damaged("zip: a member is not what its checksum says".to_owned()));
        }
        Ok(Some(bytes))
    }
}
