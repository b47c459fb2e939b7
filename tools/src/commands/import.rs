//! `dream import TABLE FILE`.

mod score_files;

use std::path::PathBuf;

use anyhow::{Result, bail};
use dream_ood::archive;
use dream_ood::stage::Progress as _;
use dream_ood::stage::classes::{ClassRow, read_classes};
use dream_ood::stage::import::{
    self, ActivationsOf, Arrays, NetworkOf, Question, Rows, ScoresOf, VectorKind,
};
use dream_ood::store::check_alias;
use dream_schema::RunId;

use self::score_files::{Files, Taken};
use super::{Verdict, place};
use crate::globals::Globals;
use crate::session::{Session, Usage};

/// Takes in what another program made, as a run of its own from which the pipeline goes on: class embeddings,
/// ID features, outliers, pictures, scores or activations.
///
/// Vectors may be in .npy, .npz, a PyTorch file or a pickle of arrays, .safetensors, Parquet or CSV. Arrays
/// are [classes, n, m] or [classes, m] in the order of the classes, or [n, m] beside an array `labels` of
/// integers; tables have a column `vector`, and `class_name` or `class_id`. Images lie in a folder for each
/// class, called by its number or name. Scores are .npz as OpenOOD writes them (conf, pred, label) or a
/// table; of a folder of them each file is a set and becomes a run, and so does each set of the pickle that
/// OpenOOD's `eval_ood.py --save-score` writes; `dream evaluate --id-scores` measures them. Activations are
/// arrays `features` and `logits` (`[images, numbers]`, one of them at least) and integers `labels`, with the
/// last layer `fc.weight` and `fc.bias` where it is at hand; or a table with such columns.
#[derive(Debug, clap::Args)]
#[command(after_long_help = place::HELP)]
pub struct Import {
    /// class_embeddings, features, outliers, images, scores or activations
    #[arg(required_unless_present = "from")]
    table: Option<String>,
    /// The file; of images the folder; of scores a file or a folder of them; of activations whose arrays have
    /// a file each, none
    file: Option<PathBuf>,
    /// Of features, outliers and images: the class embeddings whose classes and width they have, an `embed`
    /// run or an import
    #[arg(long, value_name = "RUN")]
    embeddings: Option<String>,
    /// Of class embeddings: the table of the classes, in the order of the vectors (columns `name` and
    /// `token_word`)
    #[arg(long, value_name = "FILE.tsv")]
    classes: Option<PathBuf>,
    /// Of vectors: the array to take, where the file has several
    #[arg(long, value_name = "NAME")]
    member: Option<String>,
    /// Of scores and activations: the data set that they are of. Files of a folder of scores are called by
    /// their sets; of a pickle of several sets it is the in-distribution set. A table with a column
    /// `dataset`, `split` or `score` must say the same
    #[arg(long, value_name = "NAME")]
    dataset: Option<String>,
    /// Of scores and activations: the split of the data set; `test` without it
    #[arg(long, value_name = "NAME")]
    split: Option<String>,
    /// Of scores: which score they are, such as `energy`; higher means more in-distribution. Without it, a
    /// pickle of several sets has the score that its file is called by
    #[arg(long, value_name = "NAME")]
    score: Option<String>,
    /// Of scores and activations: the network that they are of, as tables call it. Networks of one name
    /// differ by their seeds alone: `compare` takes their mean
    #[arg(long, value_name = "NAME")]
    network: Option<String>,
    /// The seed of that network's training; 0 without it
    #[arg(long, value_name = "N", requires = "network")]
    seed: Option<u64>,
    #[command(flatten)]
    arrays: ArrayFiles,
    /// Takes in the runs of a data set that `dream export --to` wrote to a folder or bucket, as they were
    /// made, in place of a file
    #[arg(long, value_name = "PLACE",
          conflicts_with_all = ["table", "file", "embeddings", "classes", "member", "dataset", "split",
                                "score", "network", "seed", "features", "logits", "labels", "weight",
                                "bias", "alias"])]
    from: Option<String>,
    /// Of a data set: only these runs, by id, its beginning or alias, with what they came from
    #[arg(long, value_name = "RUN", requires = "from", conflicts_with_all = ["table", "file"])]
    run: Vec<String>,
    /// Names the run; of a folder of scores, or a pickle of several sets, each run, ALIAS-SET
    #[arg(long)]
    alias: Option<String>,
}

/// Activations in files of one array each.
#[derive(Debug, clap::Args)]
struct ArrayFiles {
    /// Of activations, in place of a file with all: features `[images, width]`, as `numpy.save` writes them
    #[arg(long, value_name = "F.npy", conflicts_with = "file")]
    features: Option<PathBuf>,
    /// The same of logits `[images, classes]`
    #[arg(long, value_name = "L.npy", conflicts_with = "file")]
    logits: Option<PathBuf>,
    /// The same of true classes `[images]`; a negative one is none
    #[arg(long, value_name = "Y.npy", conflicts_with = "file")]
    labels: Option<PathBuf>,
    /// The same of the last layer's weights `[classes, width]`, for scores that read it
    #[arg(long, value_name = "W.npy", conflicts_with = "file", requires = "bias")]
    weight: Option<PathBuf>,
    /// The same of its bias `[classes]`
    #[arg(long, value_name = "B.npy", conflicts_with = "file", requires = "weight")]
    bias: Option<PathBuf>,
}

impl ArrayFiles {
    fn given(&self) -> Arrays<'_> {
        Arrays {
            features: self.features.as_deref(),
            logits: self.logits.as_deref(),
            labels: self.labels.as_deref(),
            weight: self.weight.as_deref(),
            bias: self.bias.as_deref(),
        }
    }
}

/// The tables that can be imported, each with the options that it takes.
const OPTIONS: [(&str, &[&str]); 6] = [
    ("class_embeddings", &["classes", "member"]),
    ("features", &["embeddings", "member"]),
    ("outliers", &["embeddings", "member"]),
    ("images", &["embeddings"]),
    ("scores", &["dataset", "split", "score", "network", "seed"]),
    (
        "activations",
        &[
            "dataset", "split", "network", "seed", "features", "logits", "labels", "weight", "bias",
        ],
    ),
];

impl Import {
    pub fn execute(&self, globals: &Globals) -> Result<Verdict> {
        if let Some(from) = &self.from {
            return self.runs(globals, from);
        }
        self.check()?;
        let classes = self.classes.as_deref().map(read_classes).transpose()?;
        let session = match self.embeddings {
            Some(_) => Session::existing(globals)?,
            None => Session::writing(globals)?,
        };
        let embeddings = self
            .embeddings
            .as_deref()
            .map(|name| session.resolve(name))
            .transpose()?;
        let Files { taken: files, told } = self.files()?;
        let classes = classes.as_deref().unwrap_or_default();
        let questions = files.iter().map(|taken| {
            let rows = self.rows(classes, embeddings, taken)?;
            let file = &taken.path;
            Ok(Question { file, rows })
        });
        let questions = questions.collect::<Result<Vec<_>>>()?;
        for (question, taken) in questions.iter().zip(&files) {
            // An import of the same file has the name by right.
            if let Some(alias) = &taken.alias
                && session.named(alias)?.is_some()
                && let Some(fault) = session.alias_fault(alias, import::id(&session.context(), question)?)?
            {
                bail!(Usage(format!("--alias {fault}")));
            }
        }
        let is_many = files.len() > 1;
        if is_many {
            // All are taken in or none.
            questions.iter().try_for_each(import::check_scores)?;
        }
        let mut runs = Vec::with_capacity(files.len());
        for (question, taken) in questions.iter().zip(&files) {
            let run = import::import(&session.context(), question)?;
            if let Some(alias) = &taken.alias {
                session.store.set_alias(alias, run.id)?;
            }
            if is_many {
                score_files::tell(&session, taken, run.id);
            }
            out!("{}", run.id)?;
            runs.push((taken, run.id));
        }
        for note in told {
            session.bars.say(&note);
        }
        score_files::tell_how(&session, &runs);
        Ok(Verdict::Good)
    }

    /// Takes in the runs of a data set.
    fn runs(&self, globals: &Globals, from: &str) -> Result<Verdict> {
        let place = place::open(from)?;
        let session = Session::writing(globals)?;
        let cancelled = || session.bars.cancelled();
        let imported = archive::import(&session.store, place.as_ref(), &self.run, &cancelled)?;
        for run in &imported.runs {
            out!("{run}")?;
        }
        for name in &imported.kept {
            session.bars.say(&format!(
                "the name {name} means something else here, and was left as it is"
            ));
        }
        let (runs, rows, known) = (imported.runs.len(), imported.rows, imported.known);
        session.bars.say(&format!(
            "{runs} runs with {rows} rows; {known} were in the store already"
        ));
        Ok(Verdict::Good)
    }

    fn table(&self) -> &str {
        self.table.as_deref().unwrap_or_default() // clap has checked that
    }

    /// The file, or the first of those of arrays.
    fn first_file(&self) -> Result<&std::path::Path> {
        let arrays = self.arrays.given();
        let file = self.file.as_deref().or(arrays.features).or(arrays.logits);
        let activations = match self.table() {
            "activations" => ", or --features and --logits with a file each",
            _ => "",
        };
        let missing = || Usage(format!("the file to import is missing{activations}"));
        Ok(file.ok_or_else(missing)?)
    }

    /// Refuses tables that there are not, and options that the table does not take.
    fn check(&self) -> Result<()> {
        let Some((_, taken)) = OPTIONS.iter().find(|(table, _)| *table == self.table()) else {
            let tables = OPTIONS.map(|(table, _)| table).join(", ");
            bail!(Usage(format!(
                "a file cannot be imported as {}; {tables} can",
                self.table()
            )));
        };
        let given = [
            ("embeddings", self.embeddings.is_some()),
            ("classes", self.classes.is_some()),
            ("member", self.member.is_some()),
            ("dataset", self.dataset.is_some()),
            ("split", self.split.is_some()),
            ("score", self.score.is_some()),
            ("network", self.network.is_some()),
            ("seed", self.seed.is_some()),
            ("features", self.arrays.features.is_some()),
            ("logits", self.arrays.logits.is_some()),
            ("labels", self.arrays.labels.is_some()),
            ("weight", self.arrays.weight.is_some()),
            ("bias", self.arrays.bias.is_some()),
        ];
        let idle = given
            .iter()
            .find(|(option, given)| *given && !taken.contains(option));
        if let Some((option, _)) = idle {
            let taken: Vec<String> = taken.iter().map(|option| format!("--{option}")).collect();
            bail!(Usage(format!(
                "--{option} is not for {}, which takes {}",
                self.table(),
                taken.join(", ")
            )));
        }
        self.first_file()?;
        if let Some(alias) = &self.alias {
            check_alias(alias).map_err(|error| Usage(error.to_string()))?;
        }
        Ok(())
    }

    fn network(&self) -> Option<NetworkOf<'_>> {
        let name = self.network.as_deref()?;
        let seed = self.seed.unwrap_or(0);
        Some(NetworkOf { name, seed })
    }

    fn rows<'a>(
        &'a self,
        classes: &'a [ClassRow],
        embeddings: Option<RunId>,
        file: &'a Taken,
    ) -> Result<Rows<'a>> {
        let member = self.member.as_deref();
        let table = self.table();
        let space = || -> Result<RunId> {
            let missing = || {
                Usage(format!(
                    "--embeddings RUN is needed: the class embeddings that the {table} belong to (`dream \
                     import class_embeddings` takes them in)"
                ))
            };
            Ok(embeddings.ok_or_else(missing)?)
        };
        let needed = |option: &str, value: &'a Option<String>| {
            let missing = || {
                Usage(format!(
                    "--{option} NAME is needed: {table} do not say it themselves"
                ))
            };
            value.as_deref().ok_or_else(missing)
        };
        let vectors = |kind| -> Result<Rows<'a>> {
            let embeddings = space()?;
            Ok(Rows::Vectors {
                kind,
                embeddings,
                member,
            })
        };
        match table {
            "class_embeddings" => Ok(Rows::ClassEmbeddings { classes, member }),
            "features" => vectors(VectorKind::Features),
            "outliers" => vectors(VectorKind::Outliers),
            "images" => Ok(Rows::Images { embeddings: space()? }),
            "activations" => Ok(Rows::Activations(ActivationsOf {
                dataset: needed("dataset", &self.dataset)?,
                split: self.split.as_deref().unwrap_or("test"),
                arrays: self.file.is_none().then(|| self.arrays.given()),
                network: self.network(),
            })),
            _ => Ok(Rows::Scores(ScoresOf {
                dataset: needed("dataset", &file.dataset)?,
                split: self.split.as_deref().unwrap_or("test"),
                score: needed("score", &file.score)?,
                network: self.network(),
                member: file.saved.as_ref().map(|saved| saved.member.as_str()),
            })),
        }
    }
}
