//! What a store is made of, handed over as bytes that may be anything: for `crate::outside`.

use std::path::Path;

use dream_schema::{Artifact, Feature, Latent, Process, RunId, RunSpec, Table};

use super::format::{Entry, Format, Strip};
use super::{Readable, Result, Stamp, Store, dataset, layout, runs};

/// How many bytes stand before a block: which strip it is of, how many rows it has, and how wide their
/// vectors are.
const HEAD: usize = 3;

fn strips() -> Vec<Strip> {
    [Format::V1, Format::NEWEST]
        .into_iter()
        .flat_map(Format::all_strips)
        .collect()
}

fn run() -> RunId {
    RunId([7; 16])
}

/// Reads a store, whatever state its file is in.
pub(crate) fn store(path: &Path) -> Result<()> {
    let opened = [Store::open_detached(path), Store::open_read_only(path)];
    let mut read = Ok(());
    for store in opened {
        let store = match store {
            Ok(store) => store,
            Err(error) => {
                read = Err(error);
                continue;
            }
        };
        store.verify(&mut |_, _| {})?;
        let (runs, _) = store.legible_runs()?;
        for run in runs {
            let _ = store.rows::<Feature>(run.id, None);
        }
        let _ = (store.aliases(), store.datasets(), store.usage());
    }
    read
}

/// Reads a block, as if its index entry had the right hash.
pub(crate) fn block(bytes: &[u8]) -> std::result::Result<(), String> {
    let Some((&[strip, rows, width], block)) = bytes.split_first_chunk::<HEAD>() else {
        return Err("it has no head".to_owned());
    };
    let strips = strips();
    let strip = strips[usize::from(strip) % strips.len()];
    let entry = Entry::new(usize::from(rows), u32::from(width), block);
    let block = strip.decode(&layout::key(run(), 0, 0), &entry, block)?;
    block.rows().map(drop).map_err(|error| error.to_string())
}

/// Reads an index entry, a record of a run and one of what is registered.
pub(crate) fn record(bytes: &[u8]) -> std::result::Result<(), String> {
    let path = Path::new("store.redb");
    let words = |error: super::StoreError| error.to_string();
    let key = layout::key(run(), 0, 0);
    let formats = [Format::V2, Format::V3];
    let entry = formats
        .into_iter()
        .find_map(|format| format.decode(&key, bytes))
        .map(drop)
        .ok_or_else(|| "it is no index entry".to_owned());
    let run = runs::parse(path, spec().id(), bytes).map(drop).map_err(words);
    let set = dataset::parse(path, "set", bytes).map(drop).map_err(words);
    entry.or(run).or(set)
}

/// Returns valid bytes for the reader of that name.
pub(crate) fn valid(reader: &str, folder: &Path) -> Result<Vec<Vec<u8>>> {
    match reader {
        "block" => blocks(),
        "record" => {
            let store = Store::in_memory()?;
            let record = serde_json::to_vec(&store.begin(&spec(), &stamp())?.into_run())?;
            let set = br#"{"name":"set","kind":"idx","path":"/a","digest":"ab","splits":{},"classes":[]}"#;
            let (entry, key) = (Entry::new(3, 2, b"rows"), layout::key(run(), 0, 0));
            let entries = [Format::V2, Format::V3].map(|format| format.encode(&key, &entry));
            Ok([record, set.to_vec()].into_iter().chain(entries).collect())
        }
        "store" => {
            let path = folder.join("valid.redb");
            let store = Store::create(&path)?;
            let run = store.begin(&spec(), &stamp())?.into_run().id;
            store.batch(run).add(&features())?.add(&latents())?.commit()?;
            store.finish(run, 2)?;
            drop(store);
            let bytes = std::fs::read(&path).map_err(|source| super::StoreError::Io { path, source })?;
            Ok(vec![bytes])
        }
        _ => Ok(Vec::new()),
    }
}

fn blocks() -> Result<Vec<Vec<u8>>> {
    let tables = [
        (Table::Features, Feature::to_batch(&features())?, 2),
        (Table::Latents, Latent::to_batch(&latents())?, 0),
    ];
    let mut blocks = Vec::new();
    for (number, strip) in strips().into_iter().enumerate() {
        for (table, rows, width) in &tables {
            if strip.table != *table {
                continue;
            }
            let columns = rows
                .project(&strip.columns())
                .map_err(dream_schema::SchemaError::Arrow)?;
            for cut in strip.cut(0, *width, &columns)? {
                let cut = cut?;
                let head = [number as u8, cut.entry.rows as u8, *width as u8];
                blocks.push([&head[..], &cut.block].concat());
            }
        }
    }
    Ok(blocks)
}

fn spec() -> RunSpec {
    RunSpec {
        stage: "sample".into(),
        stage_version: 1,
        params: serde_json::json!({ "k": 300 }),
        seed: 1,
        inputs: Vec::new(),
        sources: std::collections::BTreeMap::new(),
        source_names: std::collections::BTreeMap::new(),
    }
}

fn stamp() -> Stamp {
    Stamp {
        time_micros: 1,
        version: "1".into(),
        device: "cpu".into(),
        engine: None,
        host: "here".into(),
        process: Some(Process {
            pid: 1,
            started: Some(2),
        }),
    }
}

fn features() -> Vec<Feature> {
    let feature = |index: u64| Feature {
        class_id: 0,
        class_name: "hen".into(),
        index,
        vector: vec![index as f32, 0.5],
        split: "train".into(),
        sample: 7,
    };
    (0..9).map(feature).collect()
}

fn latents() -> Vec<Latent> {
    let latent = |index: u64| Latent {
        class_id: 0,
        class_name: "hen".into(),
        index,
        outlier: None,
        prompt: "a hen".into(),
        seed: index,
        dtype: "f32".into(),
        shape: vec![1, 2, 2],
        data: vec![index as u8; 16],
    };
    (0..4).map(latent).collect()
}
