//! What the index says of a table, read once for all that a query asks about it.

use std::collections::BTreeSet;
use std::sync::Arc;

use dream_schema::{RunId, Table};

use super::{Result, Selection};
use crate::store::{BlockInfo, Projection, Snapshot};

/// Where the rows of a table are in a snapshot: read from the index once, for all that is asked about it.
pub(super) struct Known {
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) table: Table,
    infos: Vec<BlockInfo>,
}

impl Known {
    /// Reads the index of `table`.
    pub(super) fn new(snapshot: Arc<Snapshot>, table: Table) -> Result<Self> {
        let infos = Selection::default().blocks(&snapshot, table, &Projection::Only(Vec::new()))?;
        Ok(Self {
            snapshot,
            table,
            infos,
        })
    }

    /// Returns the widths of the vectors.
    pub(super) fn widths(&self) -> BTreeSet<u32> {
        self.infos.iter().map(|info| info.width).collect()
    }

    /// Returns the runs that have rows.
    pub(super) fn runs(&self) -> BTreeSet<RunId> {
        self.infos.iter().map(|info| info.run).collect()
    }

    /// Returns the classes that have rows.
    pub(super) fn classes(&self) -> BTreeSet<u32> {
        self.infos.iter().map(|info| info.part).collect()
    }

    /// Returns where the rows of a selection can be, in stretches to be read with `columns`.
    pub(super) fn blocks(&self, selection: &Selection, columns: &Projection) -> Result<Vec<BlockInfo>> {
        if has_wide(self.table, columns) {
            return selection.blocks(&self.snapshot, self.table, columns);
        }
        let infos = self.infos.iter().cloned();
        Ok(infos.filter_map(|info| selection.cut(self.table, info)).collect())
    }
}

/// Says whether one of the columns is wide. Blocks of wide columns have fewer rows than those of the others.
fn has_wide(table: Table, columns: &Projection) -> bool {
    let declared = table.declaration().columns.iter().enumerate();
    let mut wide = declared.filter(|(_, column)| table.wide().contains(&column.name));
    match columns {
        Projection::All => wide.next().is_some(),
        Projection::Narrow => false,
        Projection::Only(places) => wide.any(|(place, _)| places.contains(&place)),
    }
}
