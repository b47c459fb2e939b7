//! Arrays of NumPy's: a file by itself, or files in a zip archive, stored or deflated.

use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use flate2::read::DeflateDecoder;
use zip::{CompressionMethod, ZipArchive};

use super::super::ExchangeError;
use super::super::npy::decode_any;
use super::checked::Checked;
use super::{Array, Held, Kind, Numbers, Source, turned};
use crate::floats::{self, Format};
use crate::input;
use crate::npy::Header;

/// How many times as long as its bytes what they decompress to can be: deflate makes 258 bytes of two bits.
const MOST: u64 = 1032;

/// Where an array lies in a file.
#[derive(Clone, Debug)]
struct Place {
    name: String,
    /// The first byte, and how many there are.
    start: u64,
    length: u64,
    /// What an archive says of it.
    member: Option<Member>,
    header: u64,
    fortran: bool,
    big_endian: bool,
}

/// An array in an archive.
#[derive(Clone, Copy, Debug)]
struct Member {
    deflated: bool,
    /// Bytes when unpacked, and their CRC-32.
    size: u64,
    sum: u32,
}

impl Place {
    fn is_deflated(&self) -> bool {
        self.member.is_some_and(|member| member.deflated)
    }
}

/// The arrays of a file.
pub(super) struct Npy {
    path: PathBuf,
    places: Vec<Place>,
}

/// Opens a file that is an array.
pub(super) fn single(path: &Path) -> Result<(Vec<Array>, Npy), ExchangeError> {
    let length = input::open(path)
        .and_then(|file| file.metadata())
        .map_err(ExchangeError::io(path))?
        .len();
    let place = Place {
        name: String::new(),
        start: 0,
        length,
        member: None,
        header: 0,
        fortran: false,
        big_endian: false,
    };
    of_places(path, vec![place])
}

/// Opens an archive of arrays.
pub(super) fn archive(path: &Path) -> Result<(Vec<Array>, Npy), ExchangeError> {
    let wrong = |error: zip::result::ZipError| {
        ExchangeError::format(path, "the file", "a whole zip archive", error.to_string())
    };
    let file = input::open(path).map_err(ExchangeError::io(path))?;
    let length = file.metadata().map_err(ExchangeError::io(path))?.len();
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(wrong)?;
    let mut places = Vec::new();
    for number in 0..archive.len() {
        let entry = archive.by_index_raw(number).map_err(wrong)?;
        let Ok(full) = entry.name().map(|name| name.into_owned()) else {
            continue;
        };
        let Some(name) = full.strip_suffix(".npy") else {
            continue;
        };
        let (start, size) = (entry.data_start(), entry.compressed_size());
        let deflated = match entry.compression() {
            CompressionMethod::Stored => false,
            CompressionMethod::DEFLATE => true,
            other => {
                let what = format!("the compression of `{name}`");
                let actual = other.to_string();
                return Err(ExchangeError::format(path, what, "none, or deflate", actual));
            }
        };
        let start = start.filter(|start| start.checked_add(size).is_some_and(|end| end <= length));
        let Some(start) = start else {
            let what = format!("the place of `{name}`");
            return Err(ExchangeError::format(
                path,
                what,
                "one within the file",
                "one beyond its end",
            ));
        };
        places.push(Place {
            name: name.to_owned(),
            start,
            length: size,
            member: Some(Member {
                deflated,
                size: entry.size(),
                sum: entry.crc32(),
            }),
            header: 0,
            fortran: false,
            big_endian: false,
        });
    }
    if places.is_empty() {
        let expected = "arrays (NAME.npy) as np.savez writes them";
        return Err(ExchangeError::format(path, "the archive", expected, "none"));
    }
    of_places(path, places)
}

fn of_places(path: &Path, mut places: Vec<Place>) -> Result<(Vec<Array>, Npy), ExchangeError> {
    let mut arrays = Vec::with_capacity(places.len());
    for place in &mut places {
        let mut reader = open(path, place).map_err(ExchangeError::io(path))?;
        let header = decode_any(path, &mut reader)?;
        let array = array(path, place, &header)?;
        (place.header, place.fortran) = (header.length, header.fortran);
        place.big_endian = is_big_endian(&header.descr);
        arrays.push(array);
    }
    let path = path.to_owned();
    Ok((arrays, Npy { path, places }))
}

/// The array that a header speaks of, which must fit into what there is of bytes.
fn array(path: &Path, place: &Place, header: &Header) -> Result<Array, ExchangeError> {
    let kind = kind(&header.descr);
    let size = kind.size() as u64;
    // Without the zeros, so that no product of some of the sides overflows later.
    let sides = header.shape.iter().filter(|side| **side > 0);
    let bytes = sides.copied().try_fold(size, u64::checked_mul);
    let most = match place.is_deflated() {
        true => place.length.saturating_mul(MOST),
        false => place.length,
    };
    let there = place.member.map_or(place.length, |member| member.size);
    let whole = match header.shape.contains(&0) {
        true => bytes.map(|_| header.length),
        false => bytes.and_then(|bytes| bytes.checked_add(header.length)),
    };
    let exact = kind != Kind::Other;
    let fits = |whole: u64| whole <= most && whole <= there && (!exact || whole == there);
    if bytes.is_none() || !whole.is_some_and(fits) {
        let shape = &header.shape;
        let what = match place.name.as_str() {
            "" => "the length of the file".to_owned(),
            name => format!("the length of `{name}`"),
        };
        let expected = match whole {
            Some(bytes) => format!("{bytes} bytes for the shape {shape:?}"),
            None => format!("the shape {shape:?}, more bytes than there are"),
        };
        let actual = match place.is_deflated() {
            true => format!("{there} bytes in {} compressed ones", place.length),
            false => format!("{} bytes", place.length),
        };
        return Err(ExchangeError::format(path, what, expected, actual));
    }
    Ok(Array {
        name: place.name.clone(),
        shape: header.shape.iter().map(|side| *side as usize).collect(), // no more than there are bytes
        dtype: words(&header.descr),
        kind,
    })
}

/// What NumPy's word for a type means, whatever the order of its bytes.
pub(super) fn kind(descr: &str) -> Kind {
    match descr.trim_start_matches(['<', '>', '|']) {
        "f2" => Kind::Floats(Format::F16),
        "f4" => Kind::Floats(Format::F32),
        "f8" => Kind::Floats(Format::F64),
        "u1" => Kind::Integers(1, false),
        "i1" => Kind::Integers(1, true),
        "i2" => Kind::Integers(2, true),
        "u2" => Kind::Integers(2, false),
        "i4" => Kind::Integers(4, true),
        "u4" => Kind::Integers(4, false),
        "i8" => Kind::Integers(8, true),
        "u8" => Kind::Integers(8, false),
        _ => Kind::Other,
    }
}

/// Whether numbers of that type have their first byte where ours have the last.
pub(super) fn is_big_endian(descr: &str) -> bool {
    descr.starts_with('>')
}

/// A type in words.
fn words(descr: &str) -> String {
    match descr.as_bytes() {
        [b'|', b'O', ..] | [b'O', ..] => "Python objects".to_owned(),
        _ => descr.to_owned(),
    }
}

fn open(path: &Path, place: &Place) -> io::Result<Box<dyn Read + Send>> {
    let mut file = input::open(path)?;
    file.seek(SeekFrom::Start(place.start))?;
    let bytes = BufReader::new(file.take(place.length));
    let Some(Member { deflated, size, sum }) = place.member else {
        return Ok(Box::new(bytes));
    };
    // Checked as it is asked for, so that what is damaged is told where its end is read, and not before.
    Ok(match deflated {
        true => {
            let unpacked = BufReader::new(DeflateDecoder::new(bytes));
            Box::new(Checked::new(unpacked, size, sum))
        }
        false => Box::new(Checked::new(bytes, size, sum)),
    })
}

impl Npy {
    /// The bytes of an array's numbers.
    fn reader(&self, array: &Array) -> io::Result<(&Place, Box<dyn Read + Send>)> {
        let place = self.places.iter().find(|place| place.name == array.name);
        let place = place.ok_or(io::ErrorKind::NotFound)?;
        let mut reader = open(&self.path, place)?;
        io::copy(&mut (&mut reader).take(place.header), &mut io::sink())?;
        if place.big_endian {
            reader = Box::new(floats::Swapped::new(reader, array.kind.size()));
        }
        Ok((place, reader))
    }
}

impl Source for Npy {
    fn numbers(&self, array: &Array) -> io::Result<Box<dyn Numbers>> {
        let Kind::Floats(format) = array.kind else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        let (place, mut reader) = self.reader(array)?;
        if !place.fortran {
            return Ok(Box::new(Stream { reader, format }));
        }
        // What is compressed may be shorter than its header says.
        let mut numbers = Vec::new();
        let mut part = vec![0.0; PART.min(array.count())];
        while numbers.len() < array.count() {
            let part = &mut part[..PART.min(array.count() - numbers.len())];
            floats::read(&mut reader, format, part)?;
            numbers.extend_from_slice(part);
        }
        let numbers = turned(&numbers, &array.shape);
        Ok(Box::new(Held { numbers, next: 0 }))
    }

    fn integers(&self, array: &Array) -> io::Result<Vec<i64>> {
        let Kind::Integers(size, signed) = array.kind else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        let (_, reader) = self.reader(array)?;
        let mut bytes = Vec::new();
        let length = array.count() * size;
        if reader.take(length as u64).read_to_end(&mut bytes)? < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(floats::integers(&bytes, size, signed))
    }
}

/// Numbers that are read at once.
const PART: usize = 1 << 16;

/// Numbers as they lie in a file.
struct Stream {
    reader: Box<dyn Read + Send>,
    format: Format,
}

impl Numbers for Stream {
    fn fill(&mut self, out: &mut [f32]) -> io::Result<()> {
        floats::read(&mut self.reader, self.format, out)
    }
}
