//! Whether a class that is asked for exists: a name that was misspelt is no empty answer.

use std::collections::BTreeSet;

use dream_schema::columns::Columns;
use dream_schema::{Run, RunId, Table};

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

    /// Adds the classes of runs and of what they came from: those of all their rows, and where no class table
    /// is among these, those of the image sets that the first of them read. What is read later, a set to test
    /// on, may have classes of its own.
    fn add_origins(&mut self, snapshot: &Snapshot, runs: BTreeSet<RunId>) -> Result<()> {
        let of_store = runs.is_empty();
        let runs = lineage(snapshot, runs)?;
        let mut has_table = false;
        for run in &runs {
            has_table |= snapshot.count(run.id, Table::ClassEmbeddings)? > 0;
            for table in Table::ALL {
                self.add(snapshot, table, Some(run.id))?;
            }
        }
        if has_table && !of_store {
            return Ok(());
        }
        let first = runs.iter().filter(|run| run.spec.inputs.is_empty());
        let read: BTreeSet<&String> = first.flat_map(|run| run.spec.sources.values()).collect();
        for set in snapshot.datasets()? {
            if of_store || read.contains(&set.digest) {
                self.numbers.extend(0..set.classes.len() as u32);
                self.names.extend(set.classes);
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

/// Refuses a class that is none of those of the runs asked about, which are all that have rows of the table
/// where none is named: a class of another run or set is none of theirs. One of theirs may well have no row
/// in this table.
///
/// # Errors
/// [`QueryError::UnknownClass`].
pub(super) fn check(snapshot: &Snapshot, table: TableName, runs: &[RunId], class: &Class) -> Result<()> {
    let mut known = Known::default();
    let mut asked: BTreeSet<RunId> = runs.iter().copied().collect();
    if let TableName::Artifacts(table) = table {
        if asked.is_empty() {
            let keys = Projection::Only(Vec::new());
            let infos = snapshot.block_infos(table, None, None, &keys)?;
            asked.extend(infos.into_iter().map(|info| info.run));
        }
        for run in &asked {
            known.add(snapshot, table, Some(*run))?;
        }
    }
    if known.has(class) {
        return Ok(());
    }
    known.add_origins(snapshot, asked)?;
    if known.has(class) {
        return Ok(());
    }
    Err(QueryError::UnknownClass {
        class: match class {
            Class::Id(number) => number.to_string(),
            Class::Name(name) => name.clone(),
        },
        count: known.numbers.len(),
        classes: known.names.into_iter().collect(),
    })
}

/// Returns runs and all that they came from, as far as the store has their records; of none, all runs.
fn lineage(snapshot: &Snapshot, runs: BTreeSet<RunId>) -> Result<Vec<Run>> {
    let (all, _) = snapshot.legible_runs()?;
    if runs.is_empty() {
        return Ok(all);
    }
    let (mut wanted, mut left) = (runs.clone(), Vec::from_iter(runs));
    while let Some(id) = left.pop() {
        let inputs = all
            .iter()
            .filter(|run| run.id == id)
            .flat_map(|run| &run.spec.inputs);
        left.extend(
            inputs
                .map(|input| input.run)
                .filter(|input| wanted.insert(*input)),
        );
    }
    Ok(all.into_iter().filter(|run| wanted.contains(&run.id)).collect())
}
