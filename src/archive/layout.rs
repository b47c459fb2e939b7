//! What the files of a run are called.

use dream_schema::{Record, RunId, Table};

use super::{ArchiveError, Cancelled, Place, import};

/// The names of files of runs in a data set. The folders of version 1 are called `run=ID`, as a column of the
/// files is: readers that make a column of a folder's name (pyarrow, and so pandas) then have it twice, in
/// two types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) version: u32,
}

impl Layout {
    /// The layout in which a run lies.
    pub(super) fn of(record: &Record) -> Self {
        let version = record.version;
        Self { version }
    }

    /// The layout for runs that come to those that are `there`: theirs, so that the folders of a table are
    /// called alike.
    pub(super) fn beside(
        there: impl IntoIterator<Item = RunId>,
        place: &dyn Place,
        cancelled: Cancelled<'_>,
    ) -> Result<Self, ArchiveError> {
        for run in there {
            match import::record(place, run, cancelled) {
                Ok(Some(record)) => return Ok(Self::of(&record)),
                // One that is damaged says nothing.
                Ok(None) | Err(ArchiveError::Record { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let version = Record::VERSION;
        Ok(Self { version })
    }

    /// The folder of a run's rows in a table.
    pub(super) fn folder(self, table: &str, run: RunId) -> String {
        let key = match self.version {
            1 => "run",
            _ => "run_id",
        };
        format!("table={table}/{key}={run}")
    }

    /// The file of one part (class) of a run in a table.
    pub(super) fn file(self, table: Table, run: RunId, part: u32) -> String {
        let class = match table.by_class() {
            true => format!("class={part}/"),
            false => String::new(),
        };
        format!("{}/{class}rows.parquet", self.folder(table.name(), run))
    }

    /// The file of a run as a row of `runs`.
    pub(super) fn row(self, run: RunId) -> String {
        format!("{}/rows.parquet", self.folder("runs", run))
    }
}
