//! Pictures in folders of their classes, as the public code of DREAM-OOD writes them: a folder for each
//! class, called by its number or its name. Beside the folders of an export of ours is a `metadata.csv` that
//! says which class each is of: a name like `T-shirt/top` is none of a folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use dream_schema::Image;

use super::classes::Classes;
use crate::bitmap::Bitmap;
use crate::content::Content;
use crate::dataset::{Pixels, is_litter};
use crate::exchange::{ExchangeError, METADATA, decode_png, encode_png};
use crate::input;
use crate::stage::StageError;
use crate::stop;

/// Bytes of pictures that are held at once.
const HELD: usize = 64 << 20;

/// A folder of pictures, and the classes that they are of.
struct Found {
    /// The files of each class, in the order of their names.
    files: BTreeMap<u32, Vec<PathBuf>>,
    /// What was passed over.
    passed: Vec<String>,
}

pub(super) struct PictureFolder<'a> {
    pub(super) path: &'a Path,
    pub(super) classes: &'a Classes,
}

impl PictureFolder<'_> {
    fn wrong(&self, message: String) -> StageError {
        StageError::File {
            path: self.path.to_owned(),
            message,
        }
    }

    /// Returns the classes of folders by the table beside them, if there is one.
    fn said(&self) -> Result<BTreeMap<String, String>, StageError> {
        let (path, mut said) = (self.path.join(METADATA), BTreeMap::new());
        if !path.is_file() {
            return Ok(said);
        }
        let wrong = |message: String| StageError::File {
            path: path.clone(),
            message,
        };
        let file =
            input::open(&path).and_then(|file| input::check_length(&file, input::LABELS).map(|()| file));
        let mut reader = csv::Reader::from_reader(file.map_err(|error| wrong(error.to_string()))?);
        let head = reader
            .headers()
            .map_err(|error| wrong(error.to_string()))?
            .clone();
        let at = |wanted: &str| head.iter().position(|name| name == wanted);
        let (Some(file), Some(class)) = (at("file_name"), at("class_name")) else {
            return Ok(said);
        };
        for row in reader.records() {
            let row = row.map_err(|error| wrong(error.to_string()))?;
            let (file, class) = (
                row.get(file).unwrap_or_default(),
                row.get(class).unwrap_or_default(),
            );
            let Some((folder, _)) = file.split_once('/') else {
                continue;
            };
            let before = said.insert(folder.to_owned(), class.to_owned());
            if let Some(other) = before.filter(|other| other != class) {
                let message = format!("pictures in the folder `{folder}` are of `{other}` and of `{class}`");
                return Err(wrong(message));
            }
        }
        Ok(said)
    }

    fn files(&self) -> Result<Found, StageError> {
        let said = self.said()?;
        let mut files: BTreeMap<u32, Vec<PathBuf>> = BTreeMap::new();
        let mut passed = Vec::new();
        for folder in sorted(self.path)? {
            let name = folder
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if name == METADATA && !said.is_empty() {
                continue;
            }
            if !folder.is_dir() || is_litter(&name) {
                passed.push(name);
                continue;
            }
            let number = name.parse().ok();
            let class = said.get(&name).unwrap_or(&name);
            let found = self
                .classes
                .find(None, Some(class))
                .or_else(|error| match number {
                    Some(number) => self.classes.find(Some(number), None),
                    None => Err(error),
                });
            let (id, _) = found.map_err(|what| self.wrong(format!("the folder `{name}`: {what}")))?;
            for file in sorted(&folder)? {
                let own = file.file_name().unwrap_or_default().to_string_lossy();
                if is_litter(&own) {
                    passed.push(format!("{name}/{own}"));
                    continue;
                }
                if file.is_dir() {
                    return Err(self.wrong(format!(
                        "{} is a folder within that of a class: pictures are read right in these",
                        file.display()
                    )));
                }
                match Content::at(&file) {
                    Ok(content) if content.is_picture() => files.entry(id).or_default().push(file),
                    Ok(content) if content.stands_in() => {
                        return Err(self.wrong(format!("{}: it is {content}", file.display())));
                    }
                    _ => passed.push(format!("{name}/{own}")),
                }
            }
        }
        if files.is_empty() {
            return Err(self.wrong(
                "there is no picture (PNG, JPEG, WebP, BMP, PNM) in folders of classes (`0/`, or the class's \
                 name) in it"
                    .into(),
            ));
        }
        Ok(Found { files, passed })
    }

    /// Hands over all pictures in pieces, and returns what is to be told of how they were read.
    pub(super) fn each(
        &self,
        take: &mut dyn FnMut(Vec<Image>) -> Result<(), StageError>,
    ) -> Result<Vec<String>, StageError> {
        let Found { files, passed } = self.files()?;
        let mut told = Vec::new();
        if let Some(first) = passed.first() {
            told.push(format!(
                "{} files are no pictures and are passed over: {first}, ...",
                passed.len()
            ));
        }
        let (mut rows, mut held, mut changed) = (Vec::new(), 0, 0);
        for (id, files) in files {
            let (_, name) = self
                .classes
                .find(Some(id), None)
                .map_err(|what| self.wrong(what))?;
            for (index, file) in (0..).zip(files) {
                let (bitmap, png, kept) = read(&file)?;
                changed += usize::from(!kept);
                held += png.len();
                rows.push(Image {
                    class_id: id,
                    class_name: name.to_owned(),
                    index,
                    outlier: None,
                    width: bitmap.width as i32,
                    height: bitmap.height as i32,
                    blake3: blake3::hash(&png).to_hex().to_string(),
                    png,
                });
                if held > HELD {
                    take(std::mem::take(&mut rows))?;
                    held = 0;
                }
            }
        }
        take(rows)?;
        if changed > 0 {
            told.push(format!(
                "{changed} pictures that are no opaque PNG are stored as PNG anew"
            ));
        }
        Ok(told)
    }

    /// BLAKE3 over the names and the bytes of all pictures, in hex.
    pub(super) fn digest(&self, stopped: &dyn Fn() -> bool) -> Result<String, StageError> {
        let mut hasher = blake3::Hasher::new();
        for (id, files) in self.files()?.files {
            for file in files {
                stop::check(stopped).map_err(ExchangeError::io(self.path))?;
                let bytes = input::whole(&file, input::PICTURE).map_err(ExchangeError::io(&file))?;
                hasher.update(&id.to_le_bytes());
                hasher.update(blake3::hash(&bytes).as_bytes());
            }
        }
        Ok(hasher.finalize().to_hex().to_string())
    }
}

/// What is in a folder, in the order of the names; of numbered files, in that of their numbers.
fn sorted(folder: &Path) -> Result<Vec<PathBuf>, StageError> {
    let entries = std::fs::read_dir(folder).map_err(ExchangeError::io(folder))?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    let mut paths = paths
        .collect::<Result<Vec<_>, _>>()
        .map_err(ExchangeError::io(folder))?;
    let number = |path: &PathBuf| {
        path.file_stem()
            .and_then(|stem| stem.to_str()?.parse::<u64>().ok())
    };
    paths.sort_by_cached_key(|path| (number(path), path.clone()));
    Ok(paths)
}

/// A picture, the PNG that is stored of it, and whether that is the file as it was.
fn read(file: &Path) -> Result<(Bitmap, Vec<u8>, bool), StageError> {
    let bytes = input::whole(file, input::PICTURE).map_err(ExchangeError::io(file))?;
    if let Ok(png) = decode_png(&bytes) {
        return Ok((png.bitmap, bytes, true));
    }
    let pixels = Pixels::of_file(&bytes).map_err(|message| StageError::File {
        path: file.to_owned(),
        message,
    })?;
    let (width, height) = (pixels.width, pixels.height);
    let rgb = match pixels.channels {
        1 => pixels.bytes.into_iter().flat_map(|grey| [grey; 3]).collect(),
        _ => pixels.bytes,
    };
    let bitmap = Bitmap { width, height, rgb };
    let png = encode_png(&bitmap, &[])?;
    Ok((bitmap, png, false))
}
