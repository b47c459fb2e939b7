//! Random operations against a model.

use std::collections::BTreeMap;

use dream_schema::{Feature, Table};
use proptest::prelude::*;

use super::*;
use crate::store::{Readable, StoreError};

#[derive(Clone, Debug)]
enum Operation {
    /// Puts rows (run, part, first, count); `odd` gives the last one another value.
    Put {
        run: u8,
        part: u32,
        first: u64,
        count: u64,
        odd: bool,
    },
    Finish {
        run: u8,
    },
    Remove {
        run: u8,
    },
    Reopen,
    Row {
        run: u8,
        part: u32,
        index: u64,
    },
}

fn operation() -> impl Strategy<Value = Operation> {
    let run = 0..3_u8;
    let part = 0..3_u32;
    prop_oneof![
        8 => (run.clone(), part.clone(), 0..60_u64, 1..20_u64, prop::bool::weighted(0.1))
            .prop_map(|(run, part, first, count, odd)| Operation::Put { run, part, first, count, odd }),
        1 => run.clone().prop_map(|run| Operation::Finish { run }),
        1 => run.clone().prop_map(|run| Operation::Remove { run }),
        1 => Just(Operation::Reopen),
        3 => (run, part, 0..80_u64).prop_map(|(run, part, index)| Operation::Row { run, part, index }),
    ]
}

#[derive(Default)]
struct Model {
    rows: BTreeMap<(u32, u64), Feature>,
    finished: bool,
}

fn check(store: &Store, run: RunId, model: &Model) {
    let rows: Vec<Feature> = store.rows(run, None).unwrap();
    assert!(rows.iter().eq(model.rows.values()));
    assert_eq!(
        store.count(run, Table::Features).unwrap(),
        model.rows.len() as u64
    );
    for part in 0..3 {
        let indices = store.indices(run, Table::Features, part).unwrap();
        let expected = model
            .rows
            .keys()
            .filter(|(p, _)| *p == part)
            .map(|(_, index)| *index);
        assert!(indices.into_iter().eq(expected));
    }
}

/// Does the operations on a store and on the model, and compares them.
fn follow(operations: Vec<Operation>) {
    let mut t = temporary();
    let mut models: BTreeMap<u8, Model> = BTreeMap::new();
    for operation in operations {
        match operation {
            Operation::Put {
                run,
                part,
                first,
                count,
                odd,
            } => put(
                &t.store,
                models.entry(run).or_default(),
                run,
                (part, first, count, odd),
            ),
            Operation::Finish { run } => {
                if let Some(model) = models.get_mut(&run) {
                    let finished = t.store.finish(spec(u64::from(run)).id(), 1);
                    assert_eq!(finished.is_ok(), !model.finished);
                    model.finished = true;
                }
            }
            Operation::Remove { run } => {
                let removed = t.store.remove(&[spec(u64::from(run)).id()]);
                assert_eq!(removed.is_ok(), models.remove(&run).is_some());
            }
            Operation::Reopen => t = t.reopen(),
            Operation::Row { run, part, index } => {
                let row: Option<Feature> = t.store.row(spec(u64::from(run)).id(), part, index).unwrap();
                let expected = models.get(&run).and_then(|model| model.rows.get(&(part, index)));
                assert_eq!(row.as_ref(), expected);
            }
        }
    }
    let empty = Model::default();
    for run in 0..3 {
        check(
            &t.store,
            spec(u64::from(run)).id(),
            models.get(&run).unwrap_or(&empty),
        );
    }
    assert_eq!(t.store.verify(&mut |_, _| {}).unwrap().problems, []);
}

fn put(store: &Store, model: &mut Model, run: u8, (part, first, count, odd): (u32, u64, u64, bool)) {
    let begun = store.begin(&spec(u64::from(run)), &stamp(0)).unwrap();
    let value = |index: u64| {
        if odd && index == first + count - 1 {
            -1.0
        } else {
            index as f32
        }
    };
    let rows: Vec<_> = (first..first + count)
        .map(|index| feature(part, index, value(index)))
        .collect();
    let stored = |row: &&Feature| {
        model
            .rows
            .get(&(part, row.index))
            .is_some_and(|stored| stored != *row)
    };
    let differs = rows.iter().find(stored).map(|row| row.index);
    match (store.put(begun.into_run().id, &rows), differs) {
        (Err(StoreError::Finished { .. }), _) => assert!(model.finished),
        (Err(StoreError::Conflict { index, .. }), Some(expected)) => assert_eq!(index, expected),
        (Ok(()), None) => {
            assert!(!model.finished);
            model
                .rows
                .extend(rows.into_iter().map(|row| ((part, row.index), row)));
        }
        (result, differs) => panic!("{result:?}, {differs:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn behaves_like_a_map(operations in prop::collection::vec(operation(), 1..40)) {
        in_every_format(|| follow(operations.clone()));
    }
}
