//! Types: `struct ArrowSchema`.

use std::ffi::{CString, c_char, c_void};
use std::ptr;

use arrow::datatypes::{DataType, Field, IntervalUnit, Schema, TimeUnit, UnionMode};

const DICTIONARY_ORDERED: i64 = 1;
const NULLABLE: i64 = 2;
const MAP_KEYS_SORTED: i64 = 4;

/// `struct ArrowSchema`.
#[repr(C)]
#[derive(Debug)]
pub struct CSchema {
    format: *const c_char,
    name: *const c_char,
    metadata: *const c_char,
    flags: i64,
    n_children: i64,
    children: *mut *mut CSchema,
    dictionary: *mut CSchema,
    release: Option<unsafe extern "C" fn(*mut CSchema)>,
    private_data: *mut c_void,
}

// SAFETY: it owns all that it points to.
unsafe impl Send for CSchema {}

/// What the pointers of a [`CSchema`] point to.
struct Held {
    format: CString,
    name: CString,
    metadata: Vec<u8>,
    children: Vec<*mut CSchema>,
    dictionary: *mut CSchema,
}

impl CSchema {
    /// Returns the type of a struct with the schema's fields: that of a record batch.
    pub fn of(schema: &Schema) -> Self {
        let root = DataType::Struct(schema.fields().clone());
        Self::new(
            "",
            &root,
            0,
            schema.metadata().iter().map(|(k, v)| (k.as_str(), v.as_str())),
        )
    }

    fn of_field(field: &Field) -> Self {
        let nullable = if field.is_nullable() { NULLABLE } else { 0 };
        let metadata = field.metadata().iter().map(|(k, v)| (k.as_str(), v.as_str()));
        Self::new(field.name(), field.data_type(), nullable, metadata)
    }

    fn new<'a>(
        name: &str,
        kind: &DataType,
        mut flags: i64,
        pairs: impl ExactSizeIterator<Item = (&'a str, &'a str)>,
    ) -> Self {
        let (format, children) = match kind {
            DataType::Dictionary(key, _) => (format(key), Vec::new()),
            _ => (format(kind), children(kind)),
        };
        let dictionary = match kind {
            DataType::Dictionary(_, value) => boxed(Self::new("", value, NULLABLE, std::iter::empty())),
            _ => ptr::null_mut(),
        };
        if let DataType::Map(_, true) = kind {
            flags |= MAP_KEYS_SORTED;
        }
        // Arrow's Rust types do not say whether a dictionary is ordered.
        flags &= !DICTIONARY_ORDERED;
        let mut held = Box::new(Held {
            format: text(&format),
            name: text(name),
            metadata: metadata(pairs),
            children: children
                .into_iter()
                .map(|child| boxed(Self::of_field(child)))
                .collect(),
            dictionary,
        });
        Self {
            format: held.format.as_ptr(),
            name: held.name.as_ptr(),
            metadata: match held.metadata.is_empty() {
                true => ptr::null(),
                false => held.metadata.as_ptr().cast(),
            },
            flags,
            n_children: held.children.len() as i64,
            children: held.children.as_mut_ptr(),
            dictionary,
            release: Some(release),
            private_data: Box::into_raw(held).cast(),
        }
    }

    /// Writes it to where a consumer wants it, who releases it then.
    ///
    /// # Safety
    /// `out` can be written to.
    pub unsafe fn hand_over(self, out: *mut CSchema) {
        // SAFETY: the caller's promise.
        unsafe { out.write(self) };
    }
}

impl Drop for CSchema {
    fn drop(&mut self) {
        if let Some(release) = self.release {
            // SAFETY: it was not released yet.
            unsafe { release(self) };
        }
    }
}

fn boxed(schema: CSchema) -> *mut CSchema {
    Box::into_raw(Box::new(schema))
}

unsafe extern "C" fn release(schema: *mut CSchema) {
    // SAFETY: a consumer calls it once, with what `CSchema::new` made, wherever it was moved to.
    unsafe {
        let held = Box::from_raw((*schema).private_data.cast::<Held>());
        // Children that the consumer moved away are marked as released; of them the box alone is left.
        for child in held.children.iter().chain([&held.dictionary]) {
            if !child.is_null() {
                drop(Box::from_raw(*child));
            }
        }
        (*schema).release = None;
        (*schema).private_data = ptr::null_mut();
    }
}

/// A text up to its first NUL, which C's strings cannot hold.
fn text(text: &str) -> CString {
    let bytes = text.bytes().take_while(|byte| *byte != 0).collect::<Vec<_>>();
    CString::new(bytes).unwrap_or_default()
}

/// Pairs as the interface has them: lengths as native 32-bit integers before the bytes.
fn metadata<'a>(pairs: impl ExactSizeIterator<Item = (&'a str, &'a str)>) -> Vec<u8> {
    let count = pairs.len();
    if count == 0 {
        return Vec::new();
    }
    let mut bytes = (count as i32).to_ne_bytes().to_vec();
    for (key, value) in pairs {
        for part in [key, value] {
            bytes.extend((part.len() as i32).to_ne_bytes());
            bytes.extend(part.as_bytes());
        }
    }
    bytes
}

fn children(kind: &DataType) -> Vec<&Field> {
    match kind {
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::ListView(field)
        | DataType::LargeListView(field)
        | DataType::FixedSizeList(field, _)
        | DataType::Map(field, _) => vec![field],
        DataType::Struct(fields) => fields.iter().map(AsRef::as_ref).collect(),
        DataType::Union(fields, _) => fields.iter().map(|(_, field)| field.as_ref()).collect(),
        DataType::RunEndEncoded(ends, values) => vec![ends, values],
        _ => Vec::new(),
    }
}

/// Returns the format string of a type; of a dictionary that of its keys.
fn format(kind: &DataType) -> String {
    let fixed = match kind {
        DataType::Null => "n",
        DataType::Boolean => "b",
        DataType::Int8 => "c",
        DataType::UInt8 => "C",
        DataType::Int16 => "s",
        DataType::UInt16 => "S",
        DataType::Int32 => "i",
        DataType::UInt32 => "I",
        DataType::Int64 => "l",
        DataType::UInt64 => "L",
        DataType::Float16 => "e",
        DataType::Float32 => "f",
        DataType::Float64 => "g",
        DataType::Binary => "z",
        DataType::LargeBinary => "Z",
        DataType::BinaryView => "vz",
        DataType::Utf8 => "u",
        DataType::LargeUtf8 => "U",
        DataType::Utf8View => "vu",
        DataType::Date32 => "tdD",
        DataType::Date64 => "tdm",
        DataType::Interval(IntervalUnit::YearMonth) => "tiM",
        DataType::Interval(IntervalUnit::DayTime) => "tiD",
        DataType::Interval(IntervalUnit::MonthDayNano) => "tin",
        DataType::List(_) => "+l",
        DataType::LargeList(_) => "+L",
        DataType::ListView(_) => "+vl",
        DataType::LargeListView(_) => "+vL",
        DataType::Struct(_) => "+s",
        DataType::Map(_, _) => "+m",
        DataType::RunEndEncoded(_, _) => "+r",
        DataType::Time32(unit) | DataType::Time64(unit) => return format!("tt{}", letter(*unit)),
        DataType::Duration(unit) => return format!("tD{}", letter(*unit)),
        DataType::Timestamp(unit, zone) => {
            return format!("ts{}:{}", letter(*unit), zone.as_deref().unwrap_or_default());
        }
        DataType::FixedSizeBinary(width) => return format!("w:{width}"),
        DataType::FixedSizeList(_, width) => return format!("+w:{width}"),
        DataType::Decimal32(precision, scale) => return format!("d:{precision},{scale},32"),
        DataType::Decimal64(precision, scale) => return format!("d:{precision},{scale},64"),
        DataType::Decimal128(precision, scale) => return format!("d:{precision},{scale}"),
        DataType::Decimal256(precision, scale) => return format!("d:{precision},{scale},256"),
        DataType::Union(fields, mode) => {
            let ids: Vec<String> = fields.iter().map(|(id, _)| id.to_string()).collect();
            let mode = match mode {
                UnionMode::Sparse => 's',
                UnionMode::Dense => 'd',
            };
            return format!("+u{mode}:{}", ids.join(","));
        }
        DataType::Dictionary(key, _) => return format(key),
    };
    fixed.to_owned()
}

fn letter(unit: TimeUnit) -> char {
    match unit {
        TimeUnit::Second => 's',
        TimeUnit::Millisecond => 'm',
        TimeUnit::Microsecond => 'u',
        TimeUnit::Nanosecond => 'n',
    }
}
