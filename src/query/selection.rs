//! Which rows of a table are wanted, and where they can be: known from the index, without reading any.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::Int32Type;
use dream_schema::columns::Columns;
use dream_schema::{RunId, Table};

use super::Result;
use crate::store::{BlockInfo, Projection, Readable, Snapshot};

/// Which rows of a table are wanted; by default all.
///
/// A class has one name in a run: where the first block of a class has another name than those asked for, the
/// rest of the class is not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// The runs; `None` for all.
    pub runs: Option<BTreeSet<RunId>>,
    /// The classes; `None` for all, and for rows of none.
    pub classes: Option<BTreeSet<u32>>,
    /// The names of the classes; `None` for all, and for rows of none.
    pub class_names: Option<BTreeSet<String>>,
    /// The places in the class.
    pub index: RangeInclusive<u64>,
}

impl Default for Selection {
    fn default() -> Self {
        Self {
            runs: None,
            classes: None,
            class_names: None,
            index: 0..=u64::MAX,
        }
    }
}

impl Selection {
    /// Returns the selection of all rows of a run.
    pub fn run(run: RunId) -> Self {
        Self {
            runs: Some(BTreeSet::from([run])),
            ..Self::default()
        }
    }

    /// Returns where such rows can be, in key order, in stretches to be read with `columns`. Nothing is read
    /// but the index.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn blocks(&self, snapshot: &Snapshot, table: Table, columns: &Projection) -> Result<Vec<BlockInfo>> {
        let infos = match &self.runs {
            None => snapshot.block_infos(table, None, None, columns)?,
            Some(runs) => {
                let mut infos = Vec::new();
                for run in runs {
                    infos.extend(snapshot.block_infos(table, Some(*run), None, columns)?);
                }
                infos
            }
        };
        Ok(infos
            .into_iter()
            .filter_map(|info| self.cut(table, info))
            .collect())
    }

    /// Returns the part of a stretch that such rows can be in.
    pub(super) fn cut(&self, table: Table, info: BlockInfo) -> Option<BlockInfo> {
        let first = info.first.max(*self.index.start());
        let end = info.end().min(self.index.end().saturating_add(1));
        let wanted = self.runs.as_ref().is_none_or(|runs| runs.contains(&info.run))
            && (!table.by_class() || self.class(&info))
            && first < end;
        wanted.then(|| BlockInfo {
            first,
            rows: (end - first) as u32,
            ..info
        })
    }

    /// Says whether the class of a stretch can be wanted.
    fn class(&self, info: &BlockInfo) -> bool {
        self.classes
            .as_ref()
            .is_none_or(|classes| classes.contains(&info.part))
            && match (&self.class_names, &info.class_name) {
                (Some(wanted), Some(name)) => wanted.contains(name.as_ref()),
                _ => true,
            }
    }

    /// Returns the columns that say which rows of a stretch are wanted, where the index does not say it.
    pub(super) fn deciding(&self, table: Table, info: &BlockInfo) -> Vec<&'static str> {
        let mut columns = Vec::new();
        if self.classes.is_some() && !table.by_class() {
            columns.push("class_id");
        }
        if self.class_names.is_some() && !(table.by_class() && info.class_name.is_some()) {
            columns.push("class_name");
        }
        columns
    }

    /// Returns those of the rows that are wanted by what is in the columns `deciding`.
    pub(super) fn decide(
        &self,
        table: Table,
        deciding: &[&'static str],
        rows: RecordBatch,
    ) -> Result<RecordBatch> {
        let mut wanted = vec![true; rows.num_rows()];
        let columns = Columns::new(table, &rows);
        if let (Some(classes), true) = (&self.classes, deciding.contains(&"class_id")) {
            let ids = columns.optional_numbers::<Int32Type>("class_id")?;
            keep(&mut wanted, ids, |id| classes.contains(&(id as u32)));
        }
        if let (Some(names), true) = (&self.class_names, deciding.contains(&"class_name")) {
            let found = columns.optional_text("class_name")?;
            keep(&mut wanted, found, |name| names.contains(&name));
        }
        if wanted.iter().all(|wanted| *wanted) {
            return Ok(rows);
        }
        Ok(filter_record_batch(&rows, &BooleanArray::from(wanted))?)
    }
}

/// Keeps wanting only the rows whose value is there and passes.
fn keep<T>(wanted: &mut [bool], values: Vec<Option<T>>, pass: impl Fn(T) -> bool) {
    for (wanted, value) in wanted.iter_mut().zip(values) {
        *wanted = *wanted && value.is_some_and(&pass);
    }
}
