//! `dream du`.

use anyhow::Result;
use dream_ood::store::Readable;
use indicatif::HumanBytes;
use serde_json::json;

use super::Verdict;
use crate::globals::{Format, Globals};
use crate::output;
use crate::session;

/// Shows what takes how much room.
#[derive(Debug, clap::Args)]
pub struct Du {}

impl Du {
    pub fn execute(&self, globals: &Globals) -> Result<Verdict> {
        let store = session::store_to_read(globals)?;
        let usage = store.usage()?;
        if globals.format == Format::Json {
            let table = |used: &dream_ood::store::TableUsage| {
                json!({
                    "run": used.run, "table": used.table.name(), "rows": used.rows, "blocks": used.blocks,
                    "bytes": used.bytes,
                })
            };
            output::document(&json!({
                "store": globals.store, "tables": usage.tables.iter().map(table).collect::<Vec<_>>(),
                "blobs": usage.blobs, "blob_bytes": usage.blob_bytes, "file_bytes": usage.file_bytes,
            }))?;
            return Ok(Verdict::Good);
        }
        let is_csv = globals.format == Format::Csv;
        let size = |bytes: u64| match is_csv {
            true => bytes.to_string(),
            false => HumanBytes(bytes).to_string(),
        };
        let last = if is_csv { "bytes" } else { "size" };
        let mut rows = vec![["run", "table", "rows", "blocks", last].map(str::to_owned)];
        for table in &usage.tables {
            let [count, blocks] = [table.rows, table.blocks].map(|n| n.to_string());
            let (run, name) = (table.run.to_string(), table.table.to_string());
            rows.push([run, name, count, blocks, size(table.bytes)]);
        }
        let (blobs, none) = (usage.blobs.to_string(), String::new());
        rows.push(["blobs".into(), none.clone(), blobs, none, size(usage.blob_bytes)]);
        if is_csv {
            rows.iter().try_for_each(output::csv)?;
            return Ok(Verdict::Good);
        }
        output::columns(&rows)?;
        if let Some(bytes) = usage.file_bytes {
            out!("{} is {} long", globals.store.display(), HumanBytes(bytes))?;
        }
        Ok(Verdict::Good)
    }
}
