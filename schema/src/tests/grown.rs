//! A table to which two columns were added; `Table` knows nothing of it, so it borrows a place there.

use arrow::array::{ArrayRef, Int64Array};

use super::*;
use crate::table::table;

mod before {
    use crate::table::table;

    table! {
        /// A row as it was.
        pub struct Probe in Table::Features, "probes", by class {
            /// There from the beginning.
            pub value: i64,
            /// There from the beginning.
            pub vector: Vec<f32> as wide,
        }
    }
}

table! {
    /// A row as it is now.
    ///
    /// It has grown.
    pub struct Probe in Table::Features, "probes", by class {
        /// There from the beginning.
        pub value: i64,
        /// There from the beginning.
        pub vector: Vec<f32> as wide,
        /// Added later.
        pub note: Option<String> = None,
        /// Added later still.
        pub scale: f32 = 1.0,
    }
}

fn before(index: u64) -> before::Probe {
    let (class_name, vector) = ("bee".to_owned(), vec![0.5, index as f32]);
    before::Probe {
        class_id: 4,
        class_name,
        index,
        value: -3,
        vector,
    }
}

fn now(index: u64) -> Probe {
    let before::Probe {
        class_id,
        class_name,
        index,
        value,
        vector,
    } = before(index);
    Probe {
        class_id,
        class_name,
        index,
        value,
        vector,
        note: None,
        scale: 1.0,
    }
}

fn digest(table: &Declaration, batch: &RecordBatch) -> String {
    let mut digest = Digest::new();
    digest.take(table, batch).unwrap();
    digest.finish()
}

#[test]
fn older_rows_have_the_declared_values() {
    let old = before::Probe::to_batch(&[before(0), before(1)]).unwrap();
    assert_eq!(Probe::from_batch(&old).unwrap(), [now(0), now(1)]);
    let full = Probe::to_batch(&[now(0), now(1)]).unwrap();
    let completed = Probe::DECLARATION.complete(old, &Probe::schema(2)).unwrap();
    assert_eq!(completed, full);
    assert_eq!(
        Probe::DECLARATION
            .complete(full.clone(), &Probe::schema(2))
            .unwrap(),
        full
    );
    // Without the wide columns, as a query reads them.
    let narrow = |batch: &RecordBatch| {
        let all = 0..batch.num_columns();
        let narrow: Vec<_> = all
            .filter(|i| batch.schema().field(*i).name() != "vector")
            .collect();
        batch.project(&narrow).unwrap()
    };
    let old = narrow(&before::Probe::to_batch(&[before(0), before(1)]).unwrap());
    let full = narrow(&full);
    assert_eq!(Probe::DECLARATION.complete(old, &full.schema()).unwrap(), full);
    assert_eq!(Probe::DECLARATION.sentence(), "A row as it is now.");
}

#[test]
fn only_added_columns_may_be_missing() {
    let complete = |batch: RecordBatch| {
        let completed = Probe::DECLARATION.complete(batch, &Probe::schema(2));
        completed.unwrap_err().to_string()
    };
    let old = before::Probe::to_batch(&[before(0)]).unwrap();
    let without = |column| {
        old.project(&(0..5).filter(|i| *i != column).collect::<Vec<_>>())
            .unwrap()
    };
    assert!(complete(without(3)).contains("`value` is missing"));
    assert!(complete(without(4)).contains("`vector` is missing"));
    assert!(complete(old.project(&[1, 0, 2, 3, 4]).unwrap()).contains("`class_id` is missing"));
    let with = |name, column: ArrayRef| {
        let mut columns: Vec<_> = old
            .schema()
            .fields()
            .iter()
            .map(|f| f.name().clone())
            .zip(old.columns().to_vec())
            .collect();
        columns.push((name, column));
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true))).unwrap()
    };
    let number = || Arc::new(Int64Array::from(vec![1])) as ArrayRef;
    assert!(complete(with("other".to_owned(), number())).contains("`other` does not belong there"));
    let wrong = with("scale".to_owned(), number());
    assert!(complete(wrong.clone()).contains("`scale` holds Int64, expected Float32"));
    assert!(Probe::from_batch(&wrong).is_err());
}

#[test]
fn the_digest_of_older_rows_stays() {
    let old = before::Probe::to_batch(&[before(0), before(1)]).unwrap();
    let as_it_was = digest(before::Probe::DECLARATION, &old);
    assert_eq!(digest(Probe::DECLARATION, &old), as_it_was);
    let of = |rows: &[Probe]| digest(Probe::DECLARATION, &Probe::to_batch(rows).unwrap());
    assert_eq!(of(&[now(0), now(1)]), as_it_was);
    let note = |text: &str| Some(text.to_owned());
    let others = [
        of(&[
            Probe {
                note: note(""),
                ..now(0)
            },
            now(1),
        ]),
        of(&[
            now(0),
            Probe {
                note: note(""),
                ..now(1)
            },
        ]),
        of(&[
            Probe {
                note: note("a"),
                ..now(0)
            },
            now(1),
        ]),
        of(&[
            Probe {
                scale: -1.0,
                ..now(0)
            },
            now(1),
        ]),
        of(&[
            Probe {
                scale: 0.0,
                note: note("a"),
                ..now(0)
            },
            now(1),
        ]),
        of(&[now(0)]),
    ];
    let distinct: std::collections::BTreeSet<_> = others.iter().chain([&as_it_was]).collect();
    assert_eq!(distinct.len(), 7);
}
