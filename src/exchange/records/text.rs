//! CSV, read as columns of text and, where columns are numbered, a column of vectors.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, FixedSizeListArray, Float32Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};

use super::super::ExchangeError;
use crate::input;

/// Rows of a batch.
const ROWS: usize = 1024;
/// Numbered columns that make vectors: fewer may be anything.
const NUMBERED: usize = 2;
/// What vectors are called whose columns have no word.
const VECTOR: &str = "vector";

/// The batches of a CSV file.
pub struct CsvBatches {
    path: PathBuf,
    reader: csv::Reader<Box<dyn Read + Send>>,
    /// The names of the columns; none where the file has no header and is numbers alone.
    header: Option<Vec<String>>,
    /// The first row, where it is no header.
    pending: Option<csv::StringRecord>,
    /// The columns that are the numbers of a vector, in their order, by the name of the vector.
    numbered: Vec<(String, Vec<usize>)>,
    row: usize,
    done: bool,
}

impl CsvBatches {
    pub(super) fn open(path: &Path) -> Result<Self, ExchangeError> {
        let mut file = BufReader::new(input::open(path).map_err(ExchangeError::io(path))?);
        // A byte-order mark is no part of the first name.
        if file
            .fill_buf()
            .map_err(ExchangeError::io(path))?
            .starts_with(b"\xef\xbb\xbf")
        {
            file.consume(3);
        }
        let delimiter = delimiter(file.fill_buf().map_err(ExchangeError::io(path))?);
        let reader: Box<dyn Read + Send> = Box::new(file);
        let mut reader = csv::ReaderBuilder::new()
            .delimiter(delimiter)
            .has_headers(false)
            .flexible(false)
            .trim(csv::Trim::All)
            .from_reader(reader);
        let first = reader.records().next();
        let Some(first) = first.transpose().map_err(|error| wrong(path, &error))? else {
            let (what, expected) = ("the file", "a header and rows");
            return Err(ExchangeError::unfit(path, what, expected, "nothing"));
        };
        let names: Vec<String> = first.iter().map(str::to_owned).collect();
        let numbers = !names.is_empty() && names.iter().all(|name| name.parse::<f32>().is_ok());
        // Pandas counts columns that have no names.
        let counted = names.iter().enumerate().all(|(i, name)| *name == i.to_string());
        let header = (!numbers || counted).then_some(names);
        let mut seen = HashSet::new();
        let names = header.iter().flatten().filter(|name| !name.is_empty());
        if let Some(twice) = names.into_iter().find(|name| !seen.insert(name.as_str())) {
            let expected = "columns with names of their own";
            return Err(ExchangeError::unfit(
                path,
                "the header",
                expected,
                format!("`{twice}` twice"),
            ));
        }
        let numbered = match &header {
            Some(names) => numbered(names),
            None => vec![(VECTOR.to_owned(), (0..first.len()).collect())],
        };
        Ok(Self {
            path: path.to_owned(),
            reader,
            pending: header.is_none().then_some(first),
            header,
            numbered,
            row: 0,
            done: false,
        })
    }

    fn batch(&mut self) -> Result<Option<RecordBatch>, ExchangeError> {
        let names = self.header.clone().unwrap_or_default();
        let mut texts: Vec<Vec<String>> = vec![Vec::new(); names.len()];
        let mut flat: Vec<Vec<f32>> = vec![Vec::new(); self.numbered.len()];
        let mut rows = 0;
        let pending = self.pending.take().map(Ok);
        for record in pending.into_iter().chain(self.reader.records()).take(ROWS) {
            let record = record.map_err(|error| wrong(&self.path, &error))?;
            for (flat, (_, columns)) in flat.iter_mut().zip(&self.numbered) {
                for column in columns {
                    let text = record.get(*column).unwrap_or_default();
                    let number = text.parse::<f32>().map_err(|_| {
                        let what = format!("number {column} of row {}", self.row + rows);
                        ExchangeError::unfit(&self.path, what, "a number", format!("{text:?}"))
                    })?;
                    flat.push(number);
                }
            }
            for (column, texts) in texts.iter_mut().enumerate() {
                texts.push(record.get(column).unwrap_or_default().to_owned());
            }
            rows += 1;
        }
        self.row += rows;
        if rows == 0 {
            return Ok(None);
        }
        let mut fields: Vec<Field> = Vec::new();
        let mut columns: Vec<ArrayRef> = Vec::new();
        for (column, (name, texts)) in names.iter().zip(texts).enumerate() {
            // A column without a name, as that of pandas' row numbers, is there to be told of.
            let is_numbered = self.numbered.iter().any(|(_, columns)| columns.contains(&column));
            if !is_numbered {
                fields.push(Field::new(name, DataType::Utf8, true));
                columns.push(Arc::new(StringArray::from(texts)));
            }
        }
        for ((name, numbered), flat) in self.numbered.iter().zip(flat) {
            let item = Arc::new(Field::new("item", DataType::Float32, true));
            let width = numbered.len() as i32;
            let vectors = FixedSizeListArray::try_new(item, width, Arc::new(Float32Array::from(flat)), None)?;
            fields.push(Field::new(name, vectors.data_type().clone(), true));
            columns.push(Arc::new(vectors));
        }
        Ok(Some(RecordBatch::try_new(
            Arc::new(Schema::new(fields)),
            columns,
        )?))
    }
}

impl Iterator for CsvBatches {
    type Item = Result<RecordBatch, ExchangeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let batch = self.batch().transpose();
        self.done = !matches!(batch, Some(Ok(_)));
        batch
    }
}

/// Returns the delimiter that the first line has most of: a comma, a semicolon or a tab.
fn delimiter(start: &[u8]) -> u8 {
    let line = start.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let mut quoted = false;
    let mut counts = [(b',', 0), (b';', 0), (b'\t', 0), (b' ', 0)];
    for byte in line {
        quoted ^= *byte == b'"';
        if let Some((_, count)) = counts
            .iter_mut()
            .find(|(delimiter, _)| !quoted && delimiter == byte)
        {
            *count += 1;
        }
    }
    let [comma, semicolon, tab, space] = counts.map(|(_, count)| count);
    match [comma, semicolon, tab] {
        // What np.savetxt writes.
        [0, 0, 0] if space > 0 => b' ',
        _ if semicolon > comma && semicolon > tab => b';',
        _ if tab > comma => b'\t',
        _ => b',',
    }
}

/// Returns the groups of columns whose names are one word and the numbers from 0 or 1 on, by that word: `0`,
/// `1` and `v_0`, `v_1` are of `vector`, `logit_0`, `logit_1` of `logit`.
pub(super) fn numbered(names: &[String]) -> Vec<(String, Vec<usize>)> {
    let split = |name: &str| {
        let digits = name.len() - name.bytes().rev().take_while(u8::is_ascii_digit).count();
        let (word, number) = name.split_at(digits);
        Some((word.to_owned(), number.parse::<usize>().ok()?))
    };
    let mut groups: Vec<(String, Vec<(usize, usize)>)> = Vec::new();
    for (column, name) in names.iter().enumerate() {
        let Some((word, number)) = split(name) else {
            continue;
        };
        match groups.iter_mut().find(|(own, _)| *own == word) {
            Some((_, columns)) => columns.push((number, column)),
            None => groups.push((word, vec![(number, column)])),
        }
    }
    let group = |(word, mut columns): (String, Vec<(usize, usize)>)| {
        columns.sort_unstable();
        let first = columns.first().map_or(0, |(number, _)| *number);
        let mut in_order = columns
            .iter()
            .zip(first..)
            .map(|((number, _), wanted)| *number == wanted);
        let is_vector = columns.len() >= NUMBERED && first <= 1 && in_order.all(|is| is);
        let name = match word.trim_end_matches(['_', '-', '.', ' ']) {
            "" | "v" => VECTOR,
            word => word,
        };
        let columns = columns.iter().map(|(_, column)| *column).collect();
        is_vector.then(|| (name.to_owned(), columns))
    };
    groups.into_iter().filter_map(group).collect()
}

fn wrong(path: &Path, error: &csv::Error) -> ExchangeError {
    ExchangeError::format(
        path,
        "the file",
        "CSV with as many fields in every row",
        error.to_string(),
    )
}
