//! Damage, and what becomes of it: found, put right, saved to another file, removed.

use std::path::Path;

use dream_schema::{Feature, Status, Table};

use super::disk::Disk;
use super::runs::dataset;
use super::*;
use crate::query::{Filter, TableName};
use crate::rng::Stream;
use crate::store::face::Viewed;
use crate::store::{Fix, Place, ProblemKind, RepairOptions, Result, StoreError, layout};

/// Makes three finished runs in a chain, one that is not finished, aliases and a registered set.
pub fn fill(store: &Store) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for seed in 1..=3 {
        let spec = runs.last().map_or(spec(seed), |input| spec_from(seed, input));
        let run = store.begin(&spec, &stamp(seed as i64)).unwrap().into_run().id;
        put_all(store, run, seed);
        runs.push(store.finish(run, 9).unwrap());
        store.set_alias(&format!("run-{seed}"), run).unwrap();
    }
    let open = begin(store, 9);
    store.put(open, &[metric(0, 1.0), metric(1, 0.5)]).unwrap();
    store.put_dataset(&dataset("set")).unwrap();
    runs.push(store.run(open).unwrap());
    runs
}

/// Puts the rows of a run of [`fill`].
pub fn put_all(store: &Store, run: RunId, seed: u64) {
    let mut batch = store.batch(run);
    let bytes = bytes(seed);
    batch.blob(bytes.clone());
    batch.add(&[checkpoint(0, &bytes)]).unwrap().commit().unwrap();
    for class in 0..3 {
        let rows: Vec<_> = (0..50)
            .map(|index| feature(class, index, value(seed, class, index)))
            .collect();
        store.put(run, &rows).unwrap();
    }
    store.put(run, &[latent(1, seed, 30_000)]).unwrap();
}

/// The number that a feature of [`fill`] has.
pub fn value(seed: u64, class: u32, index: u64) -> f32 {
    (seed * 1000 + u64::from(class) * 100 + index) as f32
}

fn bytes(seed: u64) -> Vec<u8> {
    let mut stream = Stream::new(seed, "test/mend", 0, 0);
    (0..70_000).map(|_| stream.next_u32() as u8).collect()
}

/// Flips a bit of the file wherever `needle` is: pages that were freed may have it, too.
pub fn spoil(path: &Path, needle: &[u8]) {
    let mut file = std::fs::read(path).unwrap();
    let mut places = (0..file.len() - needle.len()).collect::<Vec<_>>();
    places.retain(|place| file[*place..].starts_with(needle));
    assert!(!places.is_empty());
    for place in places {
        file[place] ^= 1;
    }
    std::fs::write(path, file).unwrap();
}

pub fn problems(store: &Store) -> Vec<crate::store::Problem> {
    store.verify(&mut |_, _| {}).unwrap().problems
}

pub fn repair(store: &Store, from: Option<&Store>) -> crate::store::Repaired {
    let report = store.verify(&mut |_, _| {}).unwrap();
    let options = |dry_run| RepairOptions {
        from,
        dry_run,
        ..RepairOptions::default()
    };
    let planned = store.repair(&report, options(true)).unwrap();
    assert_eq!(problems(store), report.problems, "a plan changes nothing");
    let done = store.repair(&report, options(false)).unwrap();
    assert_eq!(done, planned);
    done
}

#[test]
fn a_removal_says_what_goes_and_what_is_in_its_way() {
    let t = temporary();
    let runs = fill(&t.store);
    let [a, b, c, open] = [0, 1, 2, 3].map(|i: usize| runs[i].id);
    let error = t.store.removal(&[a], false).unwrap_err();
    assert!(
        matches!(&error, StoreError::InUse { by, .. } if by == &[b, c]),
        "{error}"
    );
    let removal = t.store.removal(&[a], true).unwrap();
    assert_eq!(removal.iter().map(|gone| gone.run).collect::<Vec<_>>(), [a, b, c]);
    assert_eq!(
        (removal[1].rows, &removal[1].aliases),
        (152, &vec!["run-2".to_owned()])
    );
    assert!(removal[1].bytes > 30_000, "{removal:?}");
    t.store.remove(&[a, b, c]).unwrap();
    assert_eq!(
        t.store
            .runs()
            .unwrap()
            .iter()
            .map(|run| run.id)
            .collect::<Vec<_>>(),
        [open]
    );
    assert_eq!(t.store.gc(false).unwrap().blobs.len(), 3);
    assert_eq!(problems(&t.store), []);
}

#[test]
fn what_is_damaged_comes_whole_from_another_store() {
    in_every_format(|| {
        let t = temporary();
        let runs = fill(&t.store);
        let copy = t.directory.path().join("copy.redb");
        let (path, _directory) = t.close();
        std::fs::copy(&path, &copy).unwrap();
        let vector: Vec<u8> = [2010.0_f32, -2010.0]
            .iter()
            .flat_map(|v| v.to_le_bytes())
            .collect();
        spoil(&path, &vector);
        spoil(&path, &bytes(3)[1_000..1_064]);
        let store = Store::open(&path).unwrap();
        let found = problems(&store);
        let kinds: Vec<_> = found.iter().map(|problem| problem.kind).collect();
        use ProblemKind::{Damaged, Digest};
        assert_eq!(kinds, [Damaged, Digest, Damaged], "{found:?}");
        assert_eq!(found[2].run(), Some(runs[2].id));
        // Without another store nothing can be done, and nothing is.
        let alone = repair(&store, None);
        assert_eq!((alone.fixes.len(), alone.left.len()), (0, 3), "{alone:?}");
        // Nor with one that does not have it.
        let empty = temporary();
        let other = repair(&store, Some(&empty.store));
        assert_eq!((other.fixes.len(), other.left.len()), (0, 3), "{other:?}");
        // Others can be read meanwhile.
        assert_eq!(store.rows::<Feature>(runs[0].id, None).unwrap().len(), 150);
        assert!(store.rows::<Feature>(runs[1].id, Some(0)).is_err());
        assert_eq!(store.rows::<Feature>(runs[1].id, Some(2)).unwrap().len(), 50);
        let copy = Store::open_read_only(&copy).unwrap();
        let mended = repair(&store, Some(&copy));
        assert!(
            matches!(&mended.fixes[..], [Fix::Rows { .. }, Fix::Blob(_)]),
            "{mended:?}"
        );
        assert_eq!(mended.left, []);
        assert_eq!(problems(&store), []);
        for run in &runs {
            assert_eq!(store.run(run.id).unwrap(), *run);
        }
    });
}

#[test]
fn what_is_lost_is_made_again_and_names_of_nothing_go() {
    in_every_format(|| {
        let t = temporary();
        let runs = fill(&t.store);
        t.store.put_blob(b"nobody's").unwrap();
        let gone = begin(&t.store, 11);
        t.store.set_alias("dangling", gone).unwrap();
        let id = runs[1].id;
        let writer = t.store.write().unwrap();
        writer.table(layout::RUNS).unwrap().remove(&gone.0).unwrap();
        for strip in FORMAT.get().strips(Table::Features) {
            let blocks = strip.blocks_name();
            let blocks = redb::TableDefinition::<&[u8; 28], &[u8]>::new(&blocks);
            let (low, high) = layout::bounds(Some(id), Some(1));
            let mut blocks = writer.table(blocks).unwrap();
            blocks
                .retain_in::<&[u8; 28], _>(&low..=&high, |_, _| false)
                .unwrap();
        }
        writer.commit().unwrap();
        // A run that is being made may have put bytes that it has not named yet.
        let busy = repair(&t.store, None);
        assert!(
            !busy.fixes.iter().any(|fix| matches!(fix, Fix::Freed { .. })),
            "{busy:?}"
        );
        assert!(
            busy.fixes.contains(&Fix::Reopened { run: id, rows: 102 }),
            "{busy:?}"
        );
        assert!(
            busy.fixes.contains(&Fix::Alias("dangling".to_owned())),
            "{busy:?}"
        );
        t.store.fail(runs[3].id, "given up", 5).unwrap();
        let rest = repair(&t.store, None);
        assert!(
            matches!(&rest.fixes[..], [Fix::Freed { bytes: 8, .. }]),
            "{rest:?}"
        );
        // Asked for again, the run is made from the beginning to what it was.
        assert_eq!(t.store.run(id).unwrap().status, Status::Partial);
        let again = t.store.begin(&runs[1].spec, &stamp(2)).unwrap();
        assert!(matches!(again, Begun::Remade(_)));
        put_all(&t.store, id, 2);
        assert_eq!(t.store.finish(id, 9).unwrap().digest, runs[1].digest);
        assert_eq!(problems(&t.store), []);
    });
}

#[test]
fn a_record_that_cannot_be_read_stands_in_no_ones_way() {
    let t = temporary();
    let runs = fill(&t.store);
    let copy = temporary();
    copy.store.merge(&t.store, &MergeOptions::default()).unwrap();
    let last = runs[2].id;
    let spoil = || {
        let writer = t.store.write().unwrap();
        let mut table = writer.table(layout::RUNS).unwrap();
        table.insert(&last.0, b"{\"id\":".as_slice()).unwrap();
        drop(table);
        writer.commit().unwrap();
    };
    spoil();
    let found = problems(&t.store);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(
        (&found[0].place, found[0].kind),
        (&Place::Run(last), ProblemKind::Damaged)
    );
    let (legible, damaged) = t.store.legible_runs().unwrap();
    assert_eq!((legible.len(), damaged.len()), (3, 1));
    // Questions about runs are answered of the others.
    for (table, rows) in [(TableName::Runs, 3), (TableName::RunParams, 6)] {
        let found = Filter::all(table).rows(&t.store).unwrap();
        assert_eq!(
            found.map(|batch| batch.unwrap().num_rows()).sum::<usize>(),
            rows,
            "{table}"
        );
    }
    assert_eq!(repair(&t.store, Some(&copy.store)).fixes, [Fix::Record(last)]);
    assert_eq!(t.store.run(last).unwrap(), runs[2]);
    spoil();
    t.store.remove(&[last]).unwrap();
    assert_eq!(problems(&t.store), []);
}

/// Recovers `path`, which must stay as it is; the finished runs that come out are those of `runs`.
fn recover(path: &Path, runs: &[Run]) -> Option<crate::store::Recovered> {
    let before = std::fs::read(path).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let new = folder.path().join("new.redb");
    let recovered = Store::recover(path, &new);
    assert!(
        std::fs::read(path).unwrap() == before,
        "the old file was written to"
    );
    let recovered = match recovered {
        Ok(recovered) => recovered,
        Err(StoreError::NotAStore { .. }) => {
            assert!(!new.exists());
            return None;
        }
        Err(error) => panic!("{error}"),
    };
    let store = Store::open(&new).unwrap();
    for run in &recovered.whole {
        let expected = runs.iter().find(|other| other.id == *run).unwrap();
        assert_eq!(store.run(*run).unwrap(), *expected);
    }
    for problem in problems(&store) {
        let is_told = recovered
            .in_part
            .iter()
            .any(|lost| problem.place == Place::Run(lost.run));
        match problem.kind {
            ProblemKind::Input => {}
            kind => assert!(is_told && kind == ProblemKind::Missing, "{problem}"),
        }
    }
    Some(recovered)
}

#[test]
fn what_a_killed_recovery_left_is_taken_away_by_the_next() {
    let t = temporary();
    let runs = fill(&t.store);
    drop(t.store);
    let folder = tempfile::tempdir().unwrap();
    let new = folder.path().join("new.redb");
    let left = folder.path().join(".recover-new.redb");
    std::fs::create_dir(&left).unwrap();
    let unfinished = Store::create(left.join("saved.redb")).unwrap();
    // While another process works there, this one keeps its hands off.
    let error = Store::recover(&t.path, &new).unwrap_err();
    assert!(matches!(error, StoreError::Locked { .. }), "{error}");
    drop(unfinished);
    let recovered = Store::recover(&t.path, &new).unwrap();
    assert_eq!(recovered.whole.len(), runs.len() - 1);
    assert!(new.exists() && !left.exists());
    // A file that is no store at all leaves nothing behind.
    let foreign = folder.path().join("notes.txt");
    std::fs::write(&foreign, "notes").unwrap();
    assert!(Store::recover(&foreign, &folder.path().join("other.redb")).is_err());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn whole_runs_are_saved_from_a_file_that_is_cut_or_overwritten() {
    in_every_format(|| {
        let t = temporary();
        let runs = fill(&t.store);
        let finished: Vec<_> = runs[..3].iter().map(|run| run.id).collect();
        let (path, _directory) = t.close();
        let whole = recover(&path, &runs).unwrap();
        assert_eq!((&whole.whole, &whole.unfinished), (&finished, &vec![runs[3].id]));
        assert_eq!((whole.aliases, whole.datasets, whole.lost.len()), (3, 1, 0));
        let bytes = std::fs::read(&path).unwrap();
        let used = bytes.iter().rposition(|byte| *byte != 0).unwrap();
        let mut saved = 0;
        for cut in [
            0,
            5,
            300,
            4096,
            20_000,
            used / 4,
            used / 2,
            used * 3 / 4,
            used - 5_000,
            used + 1,
        ] {
            std::fs::write(&path, &bytes[..cut]).unwrap();
            let error = Store::open(&path).unwrap_err();
            let expected = matches!(error, StoreError::Truncated { .. } | StoreError::NotAStore { .. });
            assert!(expected, "{error}");
            saved += recover(&path, &runs).map_or(0, |recovered| recovered.whole.len());
        }
        assert!(saved >= 6, "{saved} runs saved from files that were cut");
        let mut stream = Stream::new(1, "test/garbage", 0, 0);
        let mut without = Vec::new();
        for page in 0..=used / 4096 {
            let mut spoilt = bytes.clone();
            for byte in &mut spoilt[page * 4096..(page + 1) * 4096] {
                *byte = stream.next_u32() as u8;
            }
            std::fs::write(&path, &spoilt).unwrap();
            let recovered = recover(&path, &runs).map_or(0, |recovered| recovered.whole.len());
            if recovered < 2 {
                without.push(page);
            }
        }
        // A page is of one run, or of what names them, of which older versions are at hand; but in a store as
        // small as this the records of all runs share a page, and so does each index.
        assert!(
            10 * without.len() <= used / 4096,
            "{without:?} of {}",
            used / 4096
        );
    });
}

#[test]
fn any_damage_is_an_error_or_found() {
    let t = temporary();
    let runs = fill(&t.store);
    let (path, _directory) = t.close();
    let bytes = std::fs::read(&path).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    let mut stream = Stream::new(2, "test/damage", 0, 0);
    for round in 0..400 {
        let mut spoilt = bytes.clone();
        for _ in 0..=stream.below(4) {
            let place = stream.below(used as u32) as usize;
            spoilt[place] ^= 1 << stream.below(8);
        }
        if round % 5 == 0 {
            spoilt.truncate(stream.below(used as u32) as usize);
        }
        std::fs::write(&path, &spoilt).unwrap();
        for store in [Store::open_read_only(&path), Store::open_detached(&path)]
            .into_iter()
            .flatten()
        {
            let _ = store.verify(&mut |_, _| {});
            let _ = (store.aliases(), store.datasets(), store.usage());
            for run in &runs {
                let read: Result<Vec<Feature>> = store.rows(run.id, None);
                let expected = || {
                    t_rows(run)
                        .into_iter()
                        .filter(|_| run.status == Status::Finished)
                        .collect::<Vec<_>>()
                };
                // Rows that are read are those that were written, or some of them where an index is damaged.
                if let Ok(rows) = read {
                    let expected = expected();
                    assert!(rows.iter().all(|row| expected.contains(row)), "round {round}");
                }
            }
        }
    }
}

/// The features that [`fill`] puts for a run.
fn t_rows(run: &Run) -> Vec<Feature> {
    (0..3)
        .flat_map(|class| (0..50).map(move |index| feature(class, index, value(run.spec.seed, class, index))))
        .collect()
}

#[test]
fn a_process_that_ends_in_the_middle_of_upkeep_leaves_a_sound_store() {
    let whole = Disk::new(Vec::new(), usize::MAX);
    let runs = fill(&Store::with_backend("disk", whole.clone()).unwrap());
    let image = whole.after_kill();
    let other = Store::in_memory().unwrap();
    fill(&other);
    let extra = begin(&other, 77);
    other.put(extra, &[metric(0, 7.0)]).unwrap();
    // The rows of a class are lost.
    let lost = Disk::new(image.clone(), usize::MAX);
    {
        let store = Store::with_backend("disk", lost.clone()).unwrap();
        let writer = store.write().unwrap();
        for strip in Format::NEWEST.strips(Table::Features) {
            let key = layout::key(runs[1].id, 1, 0);
            writer.remove_block(strip, &key).unwrap();
        }
        writer.commit().unwrap();
    }
    let lost = lost.after_kill();
    type Work<'a> = (&'a [u8], Box<dyn Fn(&Store) -> Result<()> + 'a>);
    let works: [Work<'_>; 3] = [
        (&image, Box::new(|store| store.remove(&[runs[1].id, runs[2].id]))),
        (
            &image,
            Box::new(|store| store.merge(&other, &MergeOptions::default()).map(drop)),
        ),
        (
            &lost,
            Box::new(|store| {
                let report = store.verify(&mut |_, _| {})?;
                let options = RepairOptions {
                    from: Some(&other),
                    ..RepairOptions::default()
                };
                store.repair(&report, options).map(drop)
            }),
        ),
    ];
    for (image, work) in works {
        let disk = Disk::new(image.to_vec(), usize::MAX);
        work(&Store::with_backend("disk", disk.clone()).unwrap()).unwrap();
        let changes = disk.used();
        for left in 0..changes {
            let disk = Disk::new(image.to_vec(), left);
            if let Ok(store) = Store::with_backend("disk", disk.clone()) {
                let _ = work(&store);
            }
            let mut images = vec![disk.after_kill()];
            images.extend((0..2).map(|seed| disk.after_power_loss(seed)));
            for image in images {
                let store = Store::with_backend("disk", Disk::new(image, usize::MAX)).unwrap();
                let before = problems(&store);
                assert!(before.len() <= 1, "{before:?}");
                // It is as it was, or done; done again it is done.
                work(&store)
                    .or_else(|error| match error {
                        StoreError::UnknownRun { .. } => Ok(()),
                        error => Err(error),
                    })
                    .unwrap();
                assert_eq!(problems(&store), []);
            }
        }
    }
}

#[test]
fn blocks_index_entries_and_records_of_any_bytes_are_read_or_refused() {
    use crate::store::format::Entry;
    use crate::store::{dataset, runs};
    in_every_format(|| {
        let rows: Vec<_> = (0..20).map(|index| feature(1, index, index as f32)).collect();
        let rows = dream_schema::Artifact::to_batch(&rows).unwrap();
        let mut stream = Stream::new(3, "test/blocks", 0, 0);
        for strip in FORMAT.get().strips(Table::Features) {
            let columns = rows.project(&strip.columns()).unwrap();
            let cut = strip.cut(0, 3, &columns).unwrap().next().unwrap().unwrap();
            let key = layout::key(spec(1).id(), 1, 0);
            assert!(strip.decode(&key, &cut.entry, &cut.block).is_ok());
            for round in 0..3_000 {
                let mut block = cut.block.clone();
                for _ in 0..=stream.below(6) {
                    let place = stream.below(block.len() as u32) as usize;
                    block[place] = stream.next_u32() as u8;
                }
                if round % 4 == 0 {
                    block.truncate(stream.below(block.len() as u32) as usize);
                }
                // As if it had been written so: what the hash says is right.
                let entry = Entry::new(20, 3, &block);
                let _ = strip
                    .decode(&key, &entry, &block)
                    .and_then(|block| block.rows().map_err(|error| error.to_string()));
            }
        }
    });
    let record =
        serde_json::to_vec(&temporary().store.begin(&spec(1), &stamp(1)).unwrap().into_run()).unwrap();
    let set = serde_json::to_vec(&dataset("set")).unwrap();
    let mut stream = Stream::new(4, "test/records", 0, 0);
    for _ in 0..5_000 {
        for json in [&record, &set] {
            let mut json = json.clone();
            let place = stream.below(json.len() as u32) as usize;
            json[place] ^= 1 << stream.below(8);
            let _ = runs::parse(Path::new("a.redb"), spec(1).id(), &json);
            let _ = dataset::parse(Path::new("a.redb"), "set", &json);
            let _ = Entry::from_v2(&json);
        }
    }
}

#[test]
fn a_class_name_in_an_index_without_seals_is_held_against_the_rows() {
    FORMAT.set(Format::V2);
    let t = temporary();
    FORMAT.set(Format::NEWEST);
    fill(&t.store);
    let (path, _directory) = t.close();
    let bytes = std::fs::read(&path).unwrap();
    let mut told = 0;
    for place in (0..bytes.len() - 7).filter(|place| bytes[*place..].starts_with(b"class 1")) {
        let mut spoilt = bytes.clone();
        spoilt[place] = b'g';
        std::fs::write(&path, &spoilt).unwrap();
        let Ok(store) = Store::open_read_only(&path) else {
            continue;
        };
        let Ok(found) = store.verify(&mut |_, _| {}) else {
            continue;
        };
        let index = "the index says that its class is `glass 1`, and its rows `class 1`";
        told += usize::from(
            found
                .problems
                .iter()
                .any(|problem| problem.reason.contains(index)),
        );
        let names = store
            .blocks(Table::Features, None, None, &Projection::All)
            .unwrap();
        let wrong = names
            .flatten()
            .any(|(info, _)| info.class_name.is_some_and(|name| *name == *"glass 1"));
        assert!(!wrong || !found.problems.is_empty(), "{place}");
    }
    assert!(told > 0);
}

#[test]
fn a_width_that_the_rows_do_not_have_is_damage() {
    let t = temporary();
    fill(&t.store);
    let view = Viewed::view(&t.store).unwrap();
    let info = view
        .infos(Table::Features, None, None, &Projection::All)
        .unwrap()
        .remove(0);
    assert!(view.stretch(Table::Features, &info, &Projection::All).is_ok());
    let other = crate::store::BlockInfo { width: 7, ..info };
    let said = view
        .stretch(Table::Features, &other, &Projection::All)
        .unwrap_err();
    assert!(matches!(&said, StoreError::Corrupt { .. }), "{said}");
}

#[test]
fn a_removal_from_damaged_pages_is_an_error_and_no_panic() {
    let t = temporary();
    let runs = fill(&t.store);
    let last = [runs[2].id];
    let (path, _directory) = t.close();
    let bytes = std::fs::read(&path).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    let mut refused = 0;
    for page in 1..used / 4096 {
        let mut spoilt = bytes.clone();
        spoilt[page * 4096..][..4096].fill(0);
        std::fs::write(&path, &spoilt).unwrap();
        let Ok(store) = Store::open_or_create(&path) else {
            continue;
        };
        refused += usize::from(store.remove(&last).is_err());
    }
    assert!(refused > 0);
}
