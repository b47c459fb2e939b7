//! Detection scores of another program: `.npz` as OpenOOD writes them (`pred`, `conf`, `label`), CSV, or one
//! set of many in a pickle (`openood.rs`).

use std::path::Path;

use arrow::array::{Array as _, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use dream_schema::{Artifact, Score};

use super::activations::NetworkOf;
use super::names::{CLASS_IDS, LABELS, PREDICTED, SAMPLES, VALUES, labels, unread_arrays, unread_columns};
use super::openood;
use super::table::{Agreed, add_classes, check_asked, check_one, samples};
use crate::content::Content;
use crate::exchange::records::{Records, column, is_of_names, named};
use crate::exchange::{Array, ArrayFile, ExchangeError};
use crate::stage::StageError;

/// What scores are of.
#[derive(Clone, Copy, Debug)]
pub struct ScoresOf<'a> {
    /// The data set.
    pub dataset: &'a str,
    /// Its split.
    pub split: &'a str,
    /// The score's name.
    pub score: &'a str,
    /// The network that has them, where it is said.
    pub network: Option<NetworkOf<'a>>,
    /// Which of the sets in the file they are of, where it has several: [`SavedSet::member`].
    ///
    /// [`SavedSet::member`]: super::SavedSet::member
    pub member: Option<&'a str>,
}

/// Scores, the classes that the network gives, and the true classes, an image each.
struct Columns {
    values: Vec<f32>,
    predicted: Vec<i64>,
    labels: Option<Vec<i64>>,
    samples: Option<Vec<i64>>,
    /// Whether scores were of 64 bits, which are kept in 32.
    rounded: bool,
    /// What is told of arrays or columns that are not read.
    unread: Option<String>,
}

/// All names that are read.
const READ: [&[&str]; 5] = [&VALUES, &PREDICTED, &LABELS, &CLASS_IDS, &SAMPLES];

/// Reads the scores in a file, and what is to be told of how they were read. A negative label is that of an
/// image without one.
pub(super) fn read(path: &Path, of: ScoresOf<'_>) -> Result<(Vec<Score>, Vec<String>), StageError> {
    let content = Content::at(path).map_err(ExchangeError::io(path))?;
    let columns = match (of.member, Records::is_content(content)) {
        (Some(member), _) => of_arrays(path, &openood::arrays(path, member)?)?,
        (None, true) => of_table(path, of)?,
        (None, false) => of_arrays(path, &ArrayFile::open(path)?)?,
    };
    let of_member = |message: String| match of.member {
        Some(member) => format!("`{member}`: {message}"),
        None => message,
    };
    let wrong = |message: String| StageError::File {
        path: path.to_owned(),
        message: of_member(message),
    };
    let count = columns.values.len();
    let lengths = [
        Some(columns.predicted.len()),
        columns.labels.as_ref().map(Vec::len),
    ];
    if lengths.into_iter().flatten().any(|length| length != count) {
        return Err(wrong(format!(
            "it has {count} scores, but not as many classes or labels"
        )));
    }
    if count == 0 {
        return Err(wrong("there is no score in it".into()));
    }
    let samples = samples(path, columns.samples, count)?;
    let score = |row: usize| {
        let value = columns.values[row];
        if !value.is_finite() {
            return Err(wrong(format!(
                "score {row} is {value} as a number of 32 bits, in which scores are kept: they are finite"
            )));
        }
        let class = |number: i64| {
            i32::try_from(number).map_err(|_| wrong(format!("image {row} has the class {number}")))
        };
        let label = columns
            .labels
            .as_ref()
            .map(|labels| labels[row])
            .filter(|label| *label >= 0);
        Ok(Score {
            class_id: None,
            class_name: None,
            index: row as u64,
            dataset: of.dataset.to_owned(),
            split: of.split.to_owned(),
            score: of.score.to_owned(),
            sample: samples[row],
            value,
            label: label.map(class).transpose()?,
            // As with labels, a negative one is none.
            predicted: class(columns.predicted[row].max(-1))?,
        })
    };
    let mut rows = (0..count).map(score).collect::<Result<Vec<_>, StageError>>()?;
    rows.sort_by_key(|row| row.sample);
    (0..).zip(&mut rows).for_each(|(index, row)| row.index = index);
    let told = columns
        .rounded
        .then(|| "64-bit scores are rounded to 32 bits".to_owned());
    let told = told.into_iter().chain(columns.unread);
    Ok((rows, told.map(of_member).collect()))
}

/// Says whether a number that is written out is another one in 32 bits: neither the same, nor what the
/// shortest digits of the 32 bits are read as.
fn is_rounded(written: f64, kept: f32) -> bool {
    let is_kept = || f64::from(kept) == written || kept.to_string().parse() == Ok(written);
    !written.is_nan() && !is_kept()
}

fn of_arrays(path: &Path, file: &ArrayFile) -> Result<Columns, StageError> {
    let wrong = |message: String| StageError::File {
        path: path.to_owned(),
        message,
    };
    let Some(array) = file.called(&VALUES)? else {
        let found: Vec<String> = file.arrays().iter().map(Array::in_words).collect();
        let found = found.join(", ");
        return Err(wrong(format!(
            "there is no array of scores, called `conf`, `score` or `value`; there are {found}"
        )));
    };
    let (&[count] | &[count, 1]) = array.shape.as_slice() else {
        let words = array.in_words();
        return Err(wrong(format!("{words} is not a score for each image, [images]")));
    };
    let values = file.values(array)?;
    let column = |names: &[&str]| Ok::<_, StageError>(file.column(names, count)?.map(|(_, column)| column));
    Ok(Columns {
        predicted: column(&PREDICTED)?.unwrap_or_else(|| vec![-1; count]),
        labels: labels(column)?,
        samples: column(&SAMPLES)?,
        rounded: array.is_rounded(),
        unread: unread_arrays(file, count, &READ),
        values,
    })
}

fn of_table(path: &Path, of: ScoresOf<'_>) -> Result<Columns, StageError> {
    let mut columns = Columns {
        values: Vec::new(),
        predicted: Vec::new(),
        labels: None,
        samples: None,
        rounded: false,
        unread: None,
    };
    let mut seen = Agreed::new();
    for batch in Records::open(path)? {
        let batch = batch?;
        check_one(path, &batch, &mut seen)?;
        let asked = [("dataset", of.dataset), ("split", of.split), ("score", of.score)];
        check_asked(path, &seen, &asked)?;
        let Some((name, values)) = column(path, &batch, &VALUES)? else {
            let found: Vec<&str> = named(&batch).map(|field| field.name().as_str()).collect();
            let (what, expected) = ("the columns", "`value`, `score` or `conf`");
            return Err(ExchangeError::unfit(path, what, expected, found.join(", ")).into());
        };
        let row = columns.values.len();
        let kind = values.data_type();
        columns.rounded |= kind == &DataType::Float64;
        let is_text = kind.is_string();
        let is_number = kind.is_numeric() || is_text;
        let numbers = cast(values, &DataType::Float32).ok().filter(|_| is_number);
        let numbers = numbers.ok_or_else(|| {
            let what = format!("`{name}`");
            ExchangeError::unfit(path, what, "numbers", kind.to_string())
        })?;
        if let Some(bad) = (0..numbers.len()).find(|row| numbers.is_null(*row)) {
            let what = format!("`{name}` of row {}", row + bad);
            return Err(ExchangeError::unfit(path, what, "a number", "something else, or nothing").into());
        }
        let numbers = numbers.as_primitive::<Float32Type>().values();
        if is_text && let Ok(whole) = cast(values, &DataType::Float64) {
            let written = whole.as_primitive::<Float64Type>().values().iter();
            let mut pairs = written.zip(numbers.iter());
            columns.rounded |= pairs.any(|(written, kept)| is_rounded(*written, *kept));
        }
        columns.values.extend_from_slice(numbers);
        match column(path, &batch, &PREDICTED)? {
            Some(predicted) => add_classes(path, predicted, &mut columns.predicted)?,
            None => columns.predicted.extend(vec![-1; batch.num_rows()]),
        }
        if let Some(samples) = column(path, &batch, &SAMPLES)?.filter(|(_, column)| !is_of_names(column)) {
            add_classes(path, samples, columns.samples.get_or_insert_default())?;
        }
        if let Some(labels) = labels(|names| column(path, &batch, names))? {
            add_classes(path, labels, columns.labels.get_or_insert_default())?;
        }
        if columns.unread.is_none() {
            columns.unread = unread_columns(&batch, &Score::schema(0), &READ);
        }
    }
    Ok(columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OF: ScoresOf<'_> = ScoresOf {
        dataset: "set",
        split: "test",
        score: "energy",
        network: None,
        member: None,
    };

    /// Value, class that the network gives and true class of each score in a file of these bytes.
    fn of(name: &str, bytes: &[u8]) -> Result<Vec<(f32, i32, Option<i32>)>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let row = |score: Score| (score.value, score.predicted, score.label);
        let rows = read(&path, OF).map(|(rows, _)| rows.into_iter().map(row).collect());
        rows.map_err(|error| error.to_string())
    }

    fn csv(text: &str) -> Result<Vec<(f32, i32, Option<i32>)>, String> {
        of("scores.csv", text.as_bytes())
    }

    /// A pickle of protocol 2 of a dictionary with these lists of whole numbers below 256 and an array
    /// `conf` of three scores.
    fn lists(lists: &[(&str, &[u8])]) -> Vec<u8> {
        let mut bytes =
            b"\x80\x02}(U\x04confcnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85\
            C\x01b\x87R(K\x01K\x03\x85cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xff\
            J\xff\xff\xff\xffK\x00tb\x89C\x0c\x00\x00\x80\x3f\x00\x00\x00\x40\x00\x00\x40\x40tb"
                .to_vec();
        for (name, numbers) in lists {
            bytes.extend([b'U', name.len() as u8]);
            bytes.extend(name.as_bytes());
            bytes.extend(b"](");
            numbers.iter().for_each(|number| bytes.extend([b'K', *number]));
            bytes.push(b'e');
        }
        bytes.extend(b"u.");
        bytes
    }

    #[test]
    fn labels_are_whole_numbers_in_every_form_or_refused() {
        let rows = csv("score,Label,pred\n1.5,2.0,1\n0.5,,-1\n").unwrap();
        assert_eq!(rows, [(1.5, 1, Some(2)), (0.5, -1, None)]);
        let half = csv("conf,label\n1,0\n2,1.7\n").unwrap_err();
        assert!(half.contains("`label` of row 1 is \"1.7\""), "{half}");
        let two = csv("conf,value\n1,0\n").unwrap_err();
        assert!(two.contains("`conf` and `value` are names of one thing"), "{two}");
        let none = csv("label\n1\n").unwrap_err();
        let sides = csv("conf,is_ood\n1,0\n2,1\n").unwrap_err();
        assert!(
            sides.contains("`is_ood` has `0` and `1`: import ID and OOD"),
            "{sides}"
        );
        assert!(csv("conf,is_ood\n1,1\n2,1\n").is_ok());
        assert!(none.contains("`value`, `score` or `conf`"), "{none}");
    }

    #[test]
    fn true_classes_are_read_by_many_names_and_the_rest_is_told() {
        for name in ["y_true", "class_id", "label_ids"] {
            let rows = csv(&format!("conf,{name}\n1,2\n2,0\n")).unwrap();
            assert_eq!(rows, [(1.0, -1, Some(2)), (2.0, -1, Some(0))], "{name}");
        }
        assert_eq!(csv("conf,preds\n1,2\n").unwrap(), [(1.0, 2, None)]);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("scores.csv");
        std::fs::write(&path, "conf,ood_label\n1,0\n").unwrap();
        let (_, told) = read(&path, OF).unwrap();
        assert!(
            told.iter().any(|note| note.contains("not read: `ood_label`")),
            "{told:?}"
        );
    }

    #[test]
    fn a_column_without_a_name_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("scores.csv");
        // As pandas' `to_csv` writes it; here sorted, so that the rows are in another order.
        std::fs::write(&path, ",value\n7,0.5\n3,1.5\n").unwrap();
        let (rows, told) = read(&path, OF).unwrap();
        assert_eq!(rows.iter().map(|row| row.sample).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(told, ["not read: a column without a name, which begins with `7`"]);
        // Behind a comma at the end of each line is nothing.
        std::fs::write(&path, "value,\n0.5,\n").unwrap();
        assert_eq!(read(&path, OF).unwrap().1, [""; 0]);
        let said = csv(",text\n0,a\n").unwrap_err();
        assert!(said.ends_with("found text"), "{said}");
    }

    #[test]
    fn lists_of_a_pickle_are_read_or_refused_and_never_passed_over() {
        let rows = of("scores.pkl", &lists(&[("label", &[2, 0, 1])])).unwrap();
        assert_eq!(rows, [(1.0, -1, Some(2)), (2.0, -1, Some(0)), (3.0, -1, Some(1))]);
        let short = of("scores.pkl", &lists(&[("label", &[2, 0])])).unwrap_err();
        assert!(short.contains("each of the 3 rows"), "{short}");
        let mut other = lists(&[("label", &[2, 0, 1])]);
        let last = other.len() - 5;
        other[last] = b'N'; // None in place of a number's opcode; what follows is an opcode of no argument
        other[last + 1] = b'N';
        let other = of("scores.pkl", &other).unwrap_err();
        assert!(other.contains("`label` is a Python list"), "{other}");
    }

    #[test]
    fn one_score_of_one_set_is_imported_at_a_time() {
        let one = csv("dataset,score,value\nset,energy,1\nset,energy,2\n").unwrap();
        assert_eq!(one.len(), 2);
        for (said, words) in [
            (
                "digits,test,energy",
                "its column `dataset` says `digits`, and `set` was asked for",
            ),
            (
                "set,train,energy",
                "its column `split` says `train`, and `test` was asked for",
            ),
            (
                "set,test,msp",
                "its column `score` says `msp`, and `energy` was asked for",
            ),
        ] {
            let other = csv(&format!("dataset,split,score,value\n{said},1\n")).unwrap_err();
            assert!(other.contains(words), "{other}");
        }
        let scores = csv("dataset,score,value\nset,energy,1\nset,msp,2\n").unwrap_err();
        assert!(scores.contains("`score` has `energy` and `msp`"), "{scores}");
        let sets = csv("dataset,score,value\nset,energy,1\nletters,energy,2\n").unwrap_err();
        assert!(sets.contains("`dataset` has `set` and `letters`"), "{sets}");
    }

    #[test]
    fn numbers_of_more_digits_than_are_kept_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("scores.csv");
        let told = |text: &str| {
            std::fs::write(&path, format!("value\n{text}\n")).unwrap();
            let (rows, told) = read(&path, OF).unwrap();
            let is_told = told.iter().any(|note| note.contains("rounded to 32 bits"));
            (rows[0].value, is_told)
        };
        assert_eq!(told("0.99999999999"), (1.0, true));
        // What is as short as 32 bits are written, and what they are in full.
        for kept in ["0.1", "-3.5", "16777216", "0.10000000149011612", "1e-3"] {
            assert_eq!(told(kept), (kept.parse().unwrap(), false), "{kept}");
        }
    }

    #[test]
    fn scores_that_are_not_finite_are_refused_in_every_form() {
        // The first fits 64 bits, the second not even these.
        for beyond in ["1e300", "1e400", "inf", "-inf", "nan"] {
            let said = csv(&format!("value\n1\n{beyond}\n")).unwrap_err();
            assert!(said.contains("score 1 is "), "{beyond}: {said}");
        }
        for number in [f32::INFINITY, f32::NEG_INFINITY, f32::NAN] {
            let mut bytes = lists(&[]);
            let at = bytes
                .windows(4)
                .position(|four| four == 2.0_f32.to_le_bytes())
                .unwrap();
            bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
            let said = of("scores.pkl", &bytes).unwrap_err();
            assert!(said.contains("score 1 is "), "{said}");
        }
    }

    #[test]
    fn a_negative_class_is_none() {
        let rows = csv("conf,pred,label\n1,-7,-3\n").unwrap();
        assert_eq!(rows, [(1.0, -1, None)]);
    }

    #[test]
    fn the_numbers_of_images_are_obeyed() {
        let rows = csv("sample,value\n2,0.2\n0,0.5\n1,0.1\n").unwrap();
        assert_eq!(rows.iter().map(|row| row.0).collect::<Vec<_>>(), [0.5, 0.1, 0.2]);
        let twice = csv("sample,value\n1,0.2\n1,0.5\n").unwrap_err();
        assert!(
            twice.contains("`sample` of row 1 is 1, which is there twice"),
            "{twice}"
        );
        assert_eq!(csv("sample,value\nx.png,1\ny.png,2\n").unwrap().len(), 2);
        let columns = csv("value,value\n1,2\n").unwrap_err();
        assert!(columns.contains("`value` twice"), "{columns}");
    }
}
