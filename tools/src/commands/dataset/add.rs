//! Registering.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use dream_ood::ask;
use dream_ood::dataset::{self, Kind, Reading};
use dream_ood::diffusion;
use dream_ood::query::datasets_batch;
use dream_ood::stage::classes::{ClassRow, read_classes};
use dream_ood::stage::{
    ImageSource, MODEL_KIND, STATE_KIND, Source as _, check_source_name, notes_on_images, register_images,
    register_model, register_state,
};
use dream_ood::stop::Stop;
use dream_ood::store::check_name;

use crate::globals::{Format, Globals};
use crate::output;
use crate::session::{Session, Usage};

/// The options of `dataset add`.
#[derive(Debug, clap::Args)]
pub struct Add {
    /// The name that runs and commands will use
    name: String,
    /// The file or folder
    path: PathBuf,
    /// What is at PATH, where it is not what it looks like: idx, cifar-binary, cifar-python, image-folder
    /// (also in a .tar, .tar.gz or .zip, or shards of WebDataset), image-list (with --list), numpy (.npz,
    /// or a folder of .npy), parquet, arrow, svhn (.mat), stl10, downsampled-imagenet; diffusers (a
    /// diffusion model) or state-dict (weights of a network)
    #[arg(long)]
    kind: Option<String>,
    /// Of an image folder: takes the classes of this table only, from the directories that its column `wnid`
    /// names. With --list: names the labels
    #[arg(long, value_name = "FILE.tsv")]
    classes: Option<PathBuf>,
    /// With --classes, of an image folder: takes the classes that are there, as ImageNet-A and ImageNet-R
    /// have some of ImageNet's; without it, each must be there
    #[arg(long, requires = "classes", conflicts_with = "list")]
    partial: bool,
    /// Takes the images that this list names, with `path label` on each line as OpenOOD's have it; paths
    /// start from PATH, label -1 is none; labels may be names of classes. Its split is SPLIT, or what its
    /// name begins with (train, val, test), or else `all`. Several lists make several splits
    #[arg(long, value_name = "[SPLIT=]FILE")]
    list: Vec<String>,
    /// Leaves out images that cannot be decoded, and says which; without it, such an image is an error
    #[arg(long)]
    skip_bad: bool,
    /// The folder of a diffusion model's tokenizer, where it is neither in the model's folder nor beside its
    /// checkpoint file
    #[arg(long, value_name = "DIR")]
    tokenizer: Option<PathBuf>,
    /// Shows what would be read of an image set: splits, numbers of images and classes, and the first images'
    /// names. Nothing is decoded or registered
    #[arg(long)]
    dry_run: bool,
}

impl Add {
    pub fn execute(&self, globals: &Globals) -> Result<()> {
        let (name, path) = (&self.name, place(&self.path)?);
        let tokenizer = self.tokenizer.as_deref().map(place).transpose()?;
        let kind = self.kind.as_deref().or(self.guess(&path));
        if tokenizer.is_some() && kind != Some(MODEL_KIND) {
            bail!(Usage("--tokenizer: only a diffusion model has one".into()));
        }
        let of_images = self.classes.is_some() || self.skip_bad || !self.list.is_empty() || self.dry_run;
        if of_images && let Some(MODEL_KIND | STATE_KIND) = kind {
            bail!(Usage(format!(
                "--classes, --list, --skip-bad and --dry-run are for image sets; {} is none",
                path.display()
            )));
        }
        if self.dry_run {
            return show(globals, &path, &self.reading(kind)?);
        }
        let session = Session::writing(globals)?;
        check_source_name(&session.store, name).map_err(|error| Usage(error.to_string()))?;
        let stop = session.stop();
        let entry = match kind {
            Some(MODEL_KIND) => register_model(&session.store, name, &path, tokenizer.as_deref(), &stop)?
                .entry()
                .clone(),
            Some(STATE_KIND) => register_state(&session.store, Some(name), &path, &stop)?
                .entry()
                .clone(),
            kind => {
                let reading = Reading {
                    stop: stop.clone(),
                    ..self.reading(kind)?
                };
                let source = register_images(&session.store, name, &path, &reading)?;
                source.entry().clone()
            }
        };
        if kind == Some(MODEL_KIND) {
            let files: Vec<String> = diffusion::weight_files(&path)
                .iter()
                .map(|f| name_in(f, &path))
                .collect();
            session.bars.say(&format!("weights: {}", files.join(", ")));
        }
        session.bars.say(&format!(
            "registered {} with the digest {:.12}",
            entry.name, entry.digest
        ));
        if globals.format != Format::Table {
            output::batch(globals.format, datasets_batch(std::slice::from_ref(&entry))?)?;
        }
        let Ok(source) = ImageSource::of(entry) else {
            return Ok(());
        };
        let reading = self.reading(kind)?;
        for note in notes_on_images(&path, &reading)? {
            session.bars.say(&format!("  {note}"));
        }
        for split in source.splits() {
            for bad in source.left_out(split) {
                session
                    .bars
                    .say(&format!("  left out of {split}: {} ({})", bad.name, bad.reason));
            }
            if !source.left_out(split).is_empty() {
                session.bars.say(&source.say_left_out(split));
            }
        }
        Ok(())
    }

    /// What is at the path, where it is no image set.
    fn guess(&self, path: &Path) -> Option<&'static str> {
        match self.list.is_empty() {
            true => ask::guess_kind(path),
            false => None,
        }
    }

    fn reading(&self, kind: Option<&str>) -> Result<Reading> {
        let mut lists = BTreeMap::new();
        for list in &self.list {
            let (split, file) = match list.split_once('=') {
                Some((split, file)) if !Path::new(list).exists() => (Some(split.to_owned()), file),
                _ => (None, list.as_str()),
            };
            let file = place(Path::new(file))?;
            let split = split.unwrap_or_else(|| dataset::split_of_list(&file));
            check_name(&split).map_err(|error| Usage(format!("--list {list}: {error}")))?;
            if lists.insert(split.clone(), file).is_some() {
                bail!(Usage(format!(
                    "--list: two lists are of the split {split}; `--list SPLIT=FILE` names it"
                )));
            }
        }
        let kind = kind.map(image_kind).transpose()?;
        if kind.is_some_and(|kind| (kind == Kind::ImageList) == lists.is_empty()) {
            bail!(Usage(format!(
                "--list and --kind {} go together",
                Kind::ImageList
            )));
        }
        Ok(Reading {
            kind,
            lists,
            classes: match &self.classes {
                Some(table) => read_classes(table)?.iter().map(ClassRow::class_folder).collect(),
                None => Vec::new(),
            },
            skip_bad: self.skip_bad,
            partial: self.partial,
            stop: Stop::default(),
        })
    }
}

/// Where something lies.
fn place(path: &Path) -> Result<PathBuf> {
    dataset::place(path).with_context(|| path.display().to_string())
}

/// Shows what would be read of an image set.
fn show(globals: &Globals, path: &Path, reading: &Reading) -> Result<()> {
    let preview = dataset::preview(path, reading)?;
    let number = |number: Option<usize>| number.map_or("no labels".to_owned(), |n| n.to_string());
    if globals.format == Format::Json {
        let splits = preview.splits.iter().map(|split| {
            serde_json::json!({
                "split": split.name, "images": split.images, "classes": split.classes, "first": split.first,
            })
        });
        let splits: Vec<_> = splits.collect();
        return out!(
            "{}",
            serde_json::json!({
                "path": path, "kind": preview.kind.name(), "classes": preview.classes, "splits": splits,
                "unread": preview.unread,
            })
        );
    }
    let head = ["split", "images", "classes", "first images"].map(str::to_owned);
    let rows = preview.splits.iter().map(|split| {
        [
            split.name.clone(),
            split.images.to_string(),
            number(split.classes),
            split.first.join(", "),
        ]
    });
    let rows: Vec<[String; 4]> = std::iter::once(head).chain(rows).collect();
    for note in preview.notes() {
        output::aside(&note);
    }
    if globals.format == Format::Csv {
        return rows.iter().try_for_each(output::csv);
    }
    out!(
        "{} is taken for a set of the kind {}",
        path.display(),
        preview.kind
    )?;
    if !preview.classes.is_empty() {
        let first = preview
            .classes
            .iter()
            .take(10)
            .cloned()
            .collect::<Vec<_>>()
            .join(", ");
        let more = if preview.classes.len() > 10 { ", ..." } else { "" };
        out!("{} classes: {first}{more}", preview.classes.len())?;
    }
    output::columns(&rows)
}

/// A model's file, below the model's folder.
fn name_in(file: &Path, folder: &Path) -> String {
    let below = file
        .strip_prefix(folder)
        .ok()
        .filter(|below| !below.as_os_str().is_empty());
    below.unwrap_or(file).display().to_string()
}

fn image_kind(name: &str) -> Result<Kind> {
    let names = || Kind::ALL.map(Kind::name).join(", ");
    let unknown = || {
        Usage(format!(
            "--kind {name}: expected {}, {MODEL_KIND} or {STATE_KIND}",
            names()
        ))
    };
    Ok(Kind::from_name(name).ok_or_else(unknown)?)
}
