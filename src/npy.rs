//! The header of an `.npy` file: magic, version, and a Python dict with the type, the order and the shape
//! (NEP 1).

use std::io::Read;

use crate::floats::Format;

/// How a file begins.
pub(crate) const MAGIC: &[u8; 6] = b"\x93NUMPY";

/// The longest header that is read.
const LONGEST: usize = 1 << 16;

/// What a header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// NumPy's word for the type: `<f4`.
    pub descr: String,
    /// Whether the first axis is the fastest.
    pub fortran: bool,
    pub shape: Vec<u64>,
    /// Bytes before the first number.
    pub length: u64,
}

/// What is wrong with a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wrong {
    /// What was looked at.
    pub what: &'static str,
    pub expected: String,
    pub actual: String,
}

fn wrong(what: &'static str, expected: impl Into<String>, actual: impl Into<String>) -> Wrong {
    Wrong {
        what,
        expected: expected.into(),
        actual: actual.into(),
    }
}

impl Header {
    /// Reads the header at the start of a file.
    pub fn read(file: &mut impl Read) -> Result<Self, Wrong> {
        let mut take = |length: usize, what: &'static str| {
            let mut bytes = vec![0; length];
            let end = |_| wrong(what, format!("{length} bytes"), "the end of the file");
            file.read_exact(&mut bytes).map_err(end)?;
            Ok::<_, Wrong>(bytes)
        };
        const START: &str = "the start of the file";
        let start = take(8, START)?;
        let (magic, version) = start.split_at(6);
        if magic != MAGIC {
            return Err(wrong(START, "\\x93NUMPY", format!("{magic:02x?}")));
        }
        let wide = match version {
            [1, 0] => false,
            [2 | 3, 0] => true,
            _ => {
                let actual = format!("{version:?}");
                return Err(wrong("the format version", "1.0, 2.0 or 3.0", actual));
            }
        };
        let bytes = take(if wide { 4 } else { 2 }, "the header's length")?;
        let length = bytes.iter().rev().fold(0_usize, |n, b| n << 8 | usize::from(*b));
        if length > LONGEST {
            let expected = format!("at most {LONGEST} bytes");
            return Err(wrong("the header's length", expected, length.to_string()));
        }
        let dict = String::from_utf8(take(length, "the header")?)
            .map_err(|_| wrong("the header", "text", "bytes that are no UTF-8"))?;
        Self::parse(&dict, (8 + bytes.len() + length) as u64)
    }

    /// NumPy's word for the type without the order of bytes: `f4`.
    pub fn kind(&self) -> &str {
        self.descr.trim_start_matches(['<', '>', '|', '='])
    }

    /// How its numbers are floating-point ones, if they are.
    pub fn format(&self) -> Option<Format> {
        match self.kind() {
            "f2" => Some(Format::F16),
            "f4" => Some(Format::F32),
            "f8" => Some(Format::F64),
            _ => None,
        }
    }

    /// Bytes of a number or of a text of fixed length; 0 for what is neither.
    pub fn item(&self) -> usize {
        match self.kind().split_at_checked(1) {
            Some(("b" | "i" | "u" | "f" | "c" | "S", bytes)) => bytes.parse().unwrap_or(0),
            Some(("U", characters)) => characters.parse::<usize>().map_or(0, |n| n.saturating_mul(4)),
            _ => 0,
        }
    }

    /// Returns the texts in the bytes of some items, little-endian, or none if they are no texts: `S` is of
    /// bytes, `U` of code points of four bytes, each filled up with zeros.
    pub fn texts(&self, bytes: &[u8]) -> Option<Vec<String>> {
        let items = bytes.chunks_exact(self.item().max(1));
        let point = |bytes: &[u8]| bytes.iter().rev().fold(0, |n, byte| n << 8 | u32::from(*byte));
        let wide = |item: &[u8]| -> String {
            let points = item.chunks_exact(4).map(point).take_while(|point| *point != 0);
            points
                .map(|point| char::from_u32(point).unwrap_or('\u{fffd}'))
                .collect()
        };
        let narrow = |item: &[u8]| {
            let end = item.iter().position(|byte| *byte == 0).unwrap_or(item.len());
            String::from_utf8_lossy(&item[..end]).into_owned()
        };
        match self.kind().chars().next() {
            Some('U') => Some(items.map(wide).collect()),
            Some('S') => Some(items.map(narrow).collect()),
            _ => None,
        }
    }

    fn parse(dict: &str, length: u64) -> Result<Self, Wrong> {
        let value = |key: &str| {
            let missing = || wrong("the header", format!("a key {key}"), dict.trim());
            let (_, rest) = dict.split_once(key).ok_or_else(missing)?;
            let rest = rest.trim_start().strip_prefix(':').ok_or_else(missing)?;
            Ok::<_, Wrong>(rest.trim_start())
        };
        let descr = value("'descr'")?;
        let quoted = descr.strip_prefix('\'').and_then(|v| v.split_once('\''));
        let descr = quoted.map_or("a structured type", |(descr, _)| descr).to_owned();
        let order = value("'fortran_order'")?;
        let fortran = order.starts_with("True");
        if !fortran && !order.starts_with("False") {
            return Err(wrong("the header", "'fortran_order': False", dict.trim()));
        }
        let no_tuple = || wrong("the shape", "a tuple of numbers", dict.trim());
        let tuple = value("'shape'")?.strip_prefix('(').ok_or_else(no_tuple)?;
        let (tuple, _) = tuple.split_once(')').ok_or_else(no_tuple)?;
        let mut shape = Vec::new();
        let mut parts = tuple.split(',').map(str::trim).peekable();
        while let Some(part) = parts.next() {
            // Only the comma at the end may have nothing after it.
            if part.is_empty() && parts.peek().is_none() {
                break;
            }
            // Python 2 writes long numbers with an L.
            shape.push(part.trim_end_matches('L').parse().map_err(|_| no_tuple())?);
        }
        Ok(Self {
            descr,
            fortran,
            shape,
            length,
        })
    }
}
