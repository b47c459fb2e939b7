//! What a classifier showed of a set, in memory.

use arrow::datatypes::{Float32Type, Int32Type};
use candle_core::{DType, Device};
use dream_schema::columns::Columns;
use dream_schema::value::{Numbers, Value};
use dream_schema::{Checkpoint, Metric, RunId, Table};

use super::given::{self, Given};
use crate::nn;
use crate::ood::score::ScoreError;
use crate::ood::{self, Observed};
use crate::stage::training::CheckpointName;
use crate::stage::{MetricName, StageError};
use crate::store::{Projection, Readable, Snapshot};

/// The rows of a run in the table `activations`, or of imported scores, column by column.
#[derive(Debug, Default)]
pub(in crate::stage) struct Shown {
    pub dataset: String,
    pub split: String,
    pub len: usize,
    /// `[len, classes]`; empty where they are not known.
    pub logits: Vec<f32>,
    pub classes: usize,
    /// `[len, width]`; empty where they are not known.
    pub features: Vec<f32>,
    pub width: usize,
    /// `[len]`: logits of the class of outliers; empty where there is none.
    pub outlier_logits: Vec<f32>,
    /// Where every image has one.
    pub labels: Option<Vec<u32>>,
    pub class_names: Vec<Option<String>>,
    pub samples: Vec<i64>,
    /// Scores and predictions of another program, which has the rest to itself.
    pub given: Option<Given>,
}

impl Shown {
    /// Reads the rows of a run.
    ///
    /// # Errors
    /// Rows of different widths; also if the store fails.
    pub fn load(snapshot: &Snapshot, run: RunId) -> Result<Self, StageError> {
        if given::table_of(&snapshot.run(run)?.spec) == Table::Scores {
            return given::load(snapshot, run);
        }
        let mut shown = Self::default();
        let mut labels = Some(Vec::new());
        for rows in snapshot.blocks(Table::Activations, Some(run), None, &Projection::All)? {
            let (_, rows) = rows?;
            let columns = Columns::new(Table::Activations, &rows);
            if shown.len == 0 {
                shown.dataset = first(columns.text("dataset")?);
                shown.split = first(columns.text("split")?);
            }
            let start = shown.len;
            shown.len += rows.num_rows();
            let lists = |name| columns.lists::<Float32Type>(name, &Numbers::data_type(0));
            let widths = [&mut shown.classes, &mut shown.width];
            let flats = [&mut shown.logits, &mut shown.features];
            for ((name, width), flat) in ["logits", "features"].into_iter().zip(widths).zip(flats) {
                append(run, name, (start, lists(name)?), width, flat)?;
            }
            shown
                .samples
                .extend(columns.numbers::<arrow::datatypes::Int64Type>("sample")?);
            shown.class_names.extend(columns.optional_text("class_name")?);
            let outlier_logits = columns.optional_numbers::<Float32Type>("outlier_logit")?;
            shown.outlier_logits.extend(outlier_logits.into_iter().flatten());
            let given: Option<Vec<u32>> = (columns.optional_numbers::<Int32Type>("label")?.into_iter())
                .map(|label| label.and_then(|label| u32::try_from(label).ok()))
                .collect();
            labels = labels.zip(given).map(|(mut labels, given)| {
                labels.extend(given);
                labels
            });
        }
        if shown.len == 0 {
            return Err(StageError::Mismatch(format!("run {run} has no activations")));
        }
        Ok(Self { labels, ..shown })
    }

    /// Returns the class that the classifier gives each image, -1 where that is not known; none where it is
    /// known of no image.
    ///
    /// # Errors
    /// Logits that are no numbers.
    pub(super) fn predicted(&self) -> Result<Option<Vec<i32>>, StageError> {
        if let Some(given) = &self.given {
            return Ok(Some(given.predicted.clone()));
        }
        if self.logits.is_empty() {
            return Ok(None);
        }
        let predicted = ood::predictions(&self.logits, self.classes)?;
        Ok(Some(predicted.into_iter().map(|class| class as i32).collect()))
    }

    /// Returns the share of images that are classified rightly, where all have a class and a prediction.
    ///
    /// # Errors
    /// A label that is no class.
    pub(super) fn accuracy(&self) -> Result<Option<f64>, StageError> {
        let Some(labels) = &self.labels else {
            return Ok(None);
        };
        match &self.given {
            Some(given) => {
                let is_known = given.predicted.iter().all(|class| *class >= 0);
                let pairs = given.predicted.iter().zip(labels);
                let right = pairs.filter(|(class, label)| i64::from(**class) == i64::from(**label));
                Ok(is_known.then(|| right.count() as f64 / self.len as f64))
            }
            None if self.logits.is_empty() => Ok(None),
            None => Ok(Some(ood::accuracy(&self.logits, self.classes, labels)?)),
        }
    }

    /// Returns the set as scores see it.
    ///
    /// # Errors
    /// Sizes that do not fit together, or a label that is no class.
    pub(super) fn view<'a>(&'a self, head: Option<&'a Head>) -> Result<Observed<'a>, ScoreError> {
        let mut view = match (self.logits.is_empty(), self.features.is_empty()) {
            (false, true) => Observed::of_logits(&self.logits, self.classes)?,
            (true, _) => Observed::of_features(&self.features, self.width)?,
            (false, false) => {
                Observed::of_logits(&self.logits, self.classes)?.with_features(&self.features, self.width)?
            }
        };
        if let Some(labels) = &self.labels {
            view = view.with_labels(labels)?;
        }
        match head {
            Some(head) => view.with_head(&head.weight, &head.bias),
            None => Ok(view),
        }
    }
}

fn first(texts: Vec<String>) -> String {
    texts.into_iter().next().unwrap_or_default()
}

/// Adds rows from `start` on to those before, which must be equally wide.
fn append(
    run: RunId,
    name: &str,
    (start, rows): (usize, Vec<Vec<f32>>),
    width: &mut usize,
    flat: &mut Vec<f32>,
) -> Result<(), StageError> {
    if start == 0 {
        *width = rows.first().map_or(0, Vec::len);
    }
    for (row, numbers) in rows.iter().enumerate() {
        if numbers.len() != *width {
            let (row, found) = (start + row, numbers.len());
            return Err(StageError::Mismatch(format!(
                "run {run}: row {row} has {found} {name}, the rows before it {width}"
            )));
        }
        flat.extend_from_slice(numbers);
    }
    Ok(())
}

/// The last layer of a classifier.
#[derive(Debug)]
pub(super) struct Head {
    /// `[classes, width]`.
    weight: Vec<f32>,
    /// `[classes]`.
    bias: Vec<f32>,
}

impl Head {
    /// Reads the last layer that stands beside the activations of a run, if it does.
    ///
    /// # Errors
    /// A checkpoint without its tensors; also if the store fails.
    pub fn load(snapshot: &Snapshot, run: RunId) -> Result<Option<Self>, StageError> {
        let rows: Vec<Checkpoint> = snapshot.rows(run, None)?;
        let Some(row) = rows.iter().find(|row| CheckpointName::Head.is_of(row)) else {
            return Ok(None);
        };
        let state = nn::from_safetensors(&snapshot.blob(&row.blob)?, &Device::Cpu)?;
        let numbers = |name: &str| -> Result<Vec<f32>, StageError> {
            let missing = || StageError::Mismatch(format!("the last layer of run {run} has no `{name}`"));
            let tensor = state.get(name).ok_or_else(missing)?;
            Ok(tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?)
        };
        Ok(Some(Self {
            weight: numbers("fc.weight")?,
            bias: numbers("fc.bias")?,
        }))
    }
}

/// Returns the data set that the images of a run are from.
pub(super) fn dataset(store: &impl Readable, run: RunId) -> Result<String, StageError> {
    let table = given::table_of(&store.run(run)?.spec);
    let rows = store.blocks(table, Some(run), None, &Projection::Narrow)?;
    let names = rows
        .take(1)
        .map(|rows| Ok::<_, StageError>(first(Columns::new(table, &rows?.1).text("dataset")?)));
    names.collect()
}

/// Returns how many images a run left out.
pub(super) fn left_out(snapshot: &Snapshot, run: RunId) -> Result<f64, StageError> {
    let metrics: Vec<Metric> = snapshot.rows(run, None)?;
    let left_out = |row: &&Metric| MetricName::of(row) == Some(MetricName::ImagesLeftOut);
    Ok(metrics.iter().find(left_out).map_or(0.0, |row| row.value))
}
