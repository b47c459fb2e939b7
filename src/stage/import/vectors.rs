//! Vectors from files of any make, piece by piece.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use arrow::array::AsArray;
use dream_schema::Table;

use super::classes::Classes;
use super::names::{CLASS_IDS, LABELS, PLACES, may_say_classes, unread_arrays, unread_columns};
use super::row::{Vectored, named};
use crate::content::Content;
use crate::dataset::alike;
use crate::exchange::records::{Given, Records, conform};
use crate::exchange::{Array, ArrayFile, ExchangeError, VectorRows};
use crate::stage::StageError;

/// Numbers of the rows that are held at once.
const HELD: usize = 16 << 20;
/// The widest vector: no text encoder has one by far.
const WIDEST: usize = 1 << 20;
/// Columns that say the classes by name.
const NAMES: [&str; 3] = ["class_name", "name", "category"];

/// A file of vectors, and the classes that they are of.
pub(super) struct VectorFile<'a> {
    pub(super) path: &'a Path,
    pub(super) member: Option<&'a str>,
    pub(super) classes: &'a Classes,
}

/// Who takes the rows.
type Take<'t, A> = dyn FnMut(VectorRows<A>) -> Result<(), StageError> + 't;

impl VectorFile<'_> {
    pub(super) fn wrong(&self, message: String) -> StageError {
        StageError::File {
            path: self.path.to_owned(),
            message,
        }
    }

    /// Hands over all rows in pieces, each in its class and with its place, and returns what is to be told of
    /// how the file was read.
    pub(super) fn each<A: Vectored>(&self, take: &mut Take<'_, A>) -> Result<Vec<String>, StageError> {
        let content = Content::at(self.path).map_err(ExchangeError::io(self.path))?;
        if Records::is_content(content) {
            if let Some(member) = self.member {
                return Err(self.wrong(format!("it is {content}, which has no array `{member}`")));
            }
            return self.each_record(take);
        }
        let file = ArrayFile::open(self.path)?;
        let array = file.vectors(self.member)?.clone();
        let mut told = Vec::new();
        if array.is_rounded() {
            told.push(format!("{} is rounded to 32 bits", array.in_words()));
        }
        let classes = self.classes;
        if classes.are_unknown() {
            return Err(self.wrong(format!(
                "{} has vectors without class names: the table of the classes is needed",
                array.in_words()
            )));
        }
        let (rows, width) = match *array.shape.as_slice() {
            [n, rows, width] if n == classes.count() => (Some(rows), width),
            [n, width] if n == classes.count() => (Some(1), width),
            [_, width] => (None, width),
            _ => return Err(self.wrong(self.no_layout(&file, &array))),
        };
        if width > WIDEST {
            return Err(self.wrong(format!("vectors of {width} numbers; {WIDEST} are the most")));
        }
        let labels = match array.shape.as_slice() {
            &[n, _] => file.column(&[&CLASS_IDS[..], &LABELS[..]].concat(), n)?,
            _ => None,
        };
        let count = array.shape.first().copied().unwrap_or_default();
        let own = [array.name.as_str()];
        let unread = unread_arrays(&file, count, &[&CLASS_IDS, &LABELS, &PLACES, &own]);
        if let (None, Some(unread), None) = (&labels, &unread, self.member) {
            let array = array.in_words();
            return Err(self.wrong(format!(
                "beside {array} something says a word of each row that may be its class, {unread}; classes \
                 are read from integers called `labels` or `class_id`, or from none where that array alone \
                 is taken"
            )));
        }
        told.extend(unread);
        match (labels, rows) {
            // Where labels are given they count, even if there are as many rows as classes.
            (Some((name, labels)), _) => {
                told.push(format!("the classes of the rows are `{name}`"));
                self.each_labelled(&file, &array, &labels, take)?;
            }
            (None, Some(rows)) => self.each_class(&file, &array, rows, width, take)?,
            (None, None) => return Err(self.wrong(self.no_layout(&file, &array))),
        }
        Ok(told)
    }

    fn no_layout(&self, file: &ArrayFile, array: &Array) -> String {
        let n = self.classes.count();
        let others = file.arrays().iter().filter(|other| other.name != array.name);
        let others: Vec<String> = others.map(Array::in_words).collect();
        let others = match others.is_empty() {
            true => String::new(),
            false => format!(" (beside it there are {})", others.join(", ")),
        };
        format!(
            "{}, an array of {} classes or rows, is neither [{n}, rows, width] nor [{n}, width] for the {n} \
             classes, nor [rows, width] beside an array of integers `labels` or `class_id`, one a \
             row{others}",
            array.in_words(),
            array.shape.first().copied().unwrap_or_default(),
        )
    }

    /// Rows class by class, `[classes, rows, width]`.
    fn each_class<A: Vectored>(
        &self,
        file: &ArrayFile,
        array: &Array,
        rows: usize,
        width: usize,
        take: &mut Take<'_, A>,
    ) -> Result<(), StageError> {
        let mut numbers = file.numbers(array)?;
        let most = (HELD / width).max(1);
        for (id, name) in self.classes.iter() {
            let mut next = 0;
            while next < rows {
                let mut flat = vec![0.0; (rows - next).min(most) * width];
                numbers.fill(&mut flat).map_err(ExchangeError::io(self.path))?;
                let count = flat.len() / width;
                let indexes = (next..next + count).map(|index| index as u64);
                let made = indexes.map(|index| A::from_vector(id, name, index, Vec::new()));
                let made = VectorRows::new(made.collect(), flat.into(), width);
                next += count;
                take(self.settled(made)?)?;
            }
        }
        Ok(())
    }

    /// Rows in any order, `[rows, width]`, with the class of each.
    fn each_labelled<A: Vectored>(
        &self,
        file: &ArrayFile,
        array: &Array,
        labels: &[i64],
        take: &mut Take<'_, A>,
    ) -> Result<(), StageError> {
        let width = array.shape.last().copied().unwrap_or(1);
        let places = file.column(&PLACES, labels.len())?.map(|(_, places)| places);
        let mut counts: BTreeMap<u32, u64> = BTreeMap::new();
        let mut numbers = file.numbers(array)?;
        let mut row = 0;
        for labels in labels.chunks((HELD / width).max(1)) {
            let mut flat = vec![0.0; labels.len() * width];
            numbers.fill(&mut flat).map_err(ExchangeError::io(self.path))?;
            let mut made: Vec<A> = Vec::with_capacity(labels.len());
            for label in labels {
                let wrong = |what: String| self.wrong(format!("row {row}: {what}"));
                let id = u32::try_from(*label).map_err(|_| wrong(format!("its label is {label}")))?;
                let (id, name) = self.classes.find(Some(id), None).map_err(wrong)?;
                let count = counts.entry(id).or_default();
                let index = match &places {
                    Some(places) => {
                        let place = places[row];
                        u64::try_from(place).map_err(|_| wrong(format!("its index is {place}")))?
                    }
                    None => *count,
                };
                *count += 1;
                made.push(A::from_vector(id, name, index, Vec::new()));
                row += 1;
            }
            take(self.settled(VectorRows::new(made, flat.into(), width))?)?;
        }
        Ok(())
    }

    /// Rows of Parquet or CSV.
    fn each_record<A: Vectored>(&self, take: &mut Take<'_, A>) -> Result<Vec<String>, StageError> {
        let records = Records::open(self.path)?;
        if let Some(table) = records.table()
            && table != A::TABLE.name()
        {
            return Err(self.wrong(format!("it is an export of {table}; wanted are {}", A::TABLE)));
        }
        let (mut told, mut rounded) = (Vec::new(), BTreeSet::new());
        let mut counts: BTreeMap<u32, u64> = BTreeMap::new();
        let (mut row, mut run, mut names) = (0_u64, None, Vec::new());
        for batch in records {
            let batch = batch?;
            if batch.num_rows() == 0 {
                continue;
            }
            self.one_run(&batch, &mut run)?;
            // A CSV does not say which table it is of; its columns do.
            let has = |column: &str| batch.column_by_name(column).is_some();
            let kinds = batch
                .column_by_name("kind")
                .and_then(|kinds| kinds.as_string_opt::<i32>());
            let is_outlier = kinds.is_some_and(|kinds| kinds.iter().flatten().any(|kind| kind == "outlier"));
            if A::TABLE == Table::Features && (has("kind") && has("knn_distance") || is_outlier) {
                let outliers = Table::Outliers;
                return Err(self.wrong(format!(
                    "it has the columns of {outliers}; wanted are {}",
                    A::TABLE
                )));
            }
            let conformed = conform::<A>(self.path, &batch, row)?;
            for column in &conformed.rounded {
                if rounded.insert(column.clone()) {
                    told.push(format!("the 64-bit numbers of `{column}` are rounded to 32 bits"));
                }
            }
            if row == 0 {
                let own = [conformed.column.to_lowercase()];
                let own: Vec<&str> = own.iter().map(String::as_str).collect();
                let (schema, read) = (A::schema(0), [&CLASS_IDS[..], &LABELS, &NAMES, &own]);
                let unread = unread_columns(&batch, &schema, &read);
                let Given {
                    class_id, class_name, ..
                } = conformed.given;
                if let (false, false, Some(unread)) = (class_id, class_name, &unread)
                    && may_say_classes(&batch, &schema, &read)
                {
                    return Err(self.wrong(format!(
                        "it has neither a column class_id nor a column class_name, but others that may say \
                         the classes, {unread}"
                    )));
                }
                told.extend(unread);
            }
            let mut made = conformed.rows;
            for made in &mut made.rows {
                self.place(made, conformed.given, row, &mut counts)?;
                row += 1;
                if A::ONE_EACH {
                    names.push(made.key().1.to_owned());
                }
            }
            take(self.settled(made)?)?;
        }
        match alike(&names) {
            Some((first, second)) if first == second => {
                Err(self.wrong(format!("two rows are of the class `{first}`")))
            }
            Some((first, second)) => Err(self.wrong(format!(
                "the classes `{first}` and `{second}` differ in nothing but Unicode's normal form"
            ))),
            None => Ok(told),
        }
    }

    /// Puts a row into the class that the file says, or, where it says none, into the next one.
    fn place<A: Vectored>(
        &self,
        made: &mut A,
        given: Given,
        row: u64,
        counts: &mut BTreeMap<u32, u64>,
    ) -> Result<(), StageError> {
        let (id, name, index) = made.key();
        let (id, name) = match (given.class_id, given.class_name) {
            (true, true) if self.classes.are_unknown() => (id, name.to_owned()),
            // The table is its own list of the classes.
            (false, true) if A::ONE_EACH && self.classes.are_unknown() => (row as u32, name.to_owned()),
            (false, false) if A::ONE_EACH && !self.classes.are_unknown() => {
                let nth = self.classes.iter().nth(row as usize);
                let more = || self.wrong(format!("there are more rows than the {row} classes"));
                nth.map(|(id, name)| (id, name.to_owned())).ok_or_else(more)?
            }
            (false, false) => {
                return Err(self.wrong("it has neither a column class_id nor a column class_name".into()));
            }
            (has_id, has_name) => {
                let found = self.classes.find(has_id.then_some(id), has_name.then_some(name));
                let (id, name) = found.map_err(|what| self.wrong(format!("row {row}: {what}")))?;
                (id, name.to_owned())
            }
        };
        let count = counts.entry(id).or_default();
        let index = if given.index { index } else { *count };
        *count += 1;
        made.place((id, &name), index);
        Ok(())
    }

    /// Refuses rows of several runs: their keys are the same.
    fn one_run(&self, batch: &arrow::array::RecordBatch, run: &mut Option<String>) -> Result<(), StageError> {
        for (found, _) in crate::exchange::parquet::runs_of(batch)? {
            let Some(found) = found else { continue };
            match run {
                Some(first) if *first != found => {
                    return Err(self.wrong(format!("it has rows of two runs, {first} and {found}")));
                }
                Some(_) => {}
                None => *run = Some(found),
            }
        }
        Ok(())
    }

    fn settled<A: Vectored>(&self, mut rows: VectorRows<A>) -> Result<VectorRows<A>, StageError> {
        for (row, vector) in rows.iter_mut() {
            let word = self.classes.word(row.key().0);
            row.settle(vector, word)
                .map_err(|what| self.wrong(format!("{}: {what}", named(row))))?;
        }
        Ok(rows)
    }
}
