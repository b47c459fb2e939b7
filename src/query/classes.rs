//! Whether a class that is asked for exists: a name that was misspelt is no empty answer.

use std::collections::BTreeSet;

use dream_schema::columns::Columns;
use dream_schema::{RunId, Table};

use arrow::datatypes::Int32Type;

use super::{Class, QueryError, Result, TableName};
use crate::store::{Projection, Readable, Snapshot};

/// The classes of some rows.
#[derive(Default)]
struct Known {
    numbers: BTreeSet<u32>,
    names: BTreeSet<String>,
}

impl Known {
    fn has(&self, class: &Class) -> bool {
        match class {
            Class::Id(number) => self.numbers.contains(number),
            Class::Name(name) => self.names.contains(name),
        }
    }

    /// Adds the classes of rows of a table, of one run or of all.
    fn add(&mut self, snapshot: &Snapshot, table: Table, run: Option<RunId>) -> Result<()> {
        let schema = table.schema(0);
        let places = ["class_id", "class_name"].map(|column| schema.index_of(column));
        let places: Vec<_> = places.into_iter().flatten().collect();
        if places.is_empty() {
            return Ok(());
        }
        let columns = Projection::Only(places);
        for info in snapshot.block_infos(table, run, None, &columns)? {
            match (&info.class_name, table.by_class()) {
                (Some(name), true) => {
                    self.numbers.insert(info.part);
                    self.names.insert(name.to_string());
                }
                // Of rows of a class, one tells the name.
                (None, true) if self.numbers.insert(info.part) => {
                    let one = crate::store::BlockInfo { rows: 1, ..info };
                    self.read(table, &snapshot.block(table, &one, &columns)?)?;
                }
                (None, true) => {}
                (_, false) => self.read(table, &snapshot.block(table, &info, &columns)?)?,
            }
        }
        Ok(())
    }

    fn read(&mut self, table: Table, rows: &arrow::array::RecordBatch) -> Result<()> {
        let columns = Columns::new(table, rows);
        let numbers = columns.optional_numbers::<Int32Type>("class_id")?;
        self.numbers
            .extend(numbers.into_iter().flatten().map(|id| id as u32));
        self.names
            .extend(columns.optional_text("class_name")?.into_iter().flatten());
        Ok(())
    }
}

/// Refuses a class that no row of the store and no registered data set is of. A class that there is elsewhere
/// may well have no row among those that are asked for.
///
/// # Errors
/// [`QueryError::UnknownClass`].
pub(super) fn check(snapshot: &Snapshot, table: TableName, runs: &[RunId], class: &Class) -> Result<()> {
    let mut known = Known::default();
    if let TableName::Artifacts(table) = table {
        match runs {
            [] => known.add(snapshot, table, None)?,
            runs => runs
                .iter()
                .try_for_each(|run| known.add(snapshot, table, Some(*run)))?,
        }
    }
    if known.has(class) {
        return Ok(());
    }
    let here: Vec<_> = known.names.iter().cloned().collect();
    for table in Table::ALL {
        known.add(snapshot, table, None)?;
    }
    for set in snapshot.datasets()? {
        known.numbers.extend(0..set.classes.len() as u32);
        known.names.extend(set.classes);
    }
    if known.has(class) {
        return Ok(());
    }
    Err(QueryError::UnknownClass {
        class: match class {
            Class::Id(number) => number.to_string(),
            Class::Name(name) => name.clone(),
        },
        classes: match here.is_empty() {
            true => known.names.into_iter().collect(),
            false => here,
        },
    })
}
