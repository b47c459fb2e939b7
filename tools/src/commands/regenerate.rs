//! `dream regenerate`.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use dream_ood::exchange::{self, Target};
use dream_ood::stage::StageError;
use dream_ood::stage::regenerate::{Choice, Difference, regenerate};
use dream_schema::Image;
use serde_json::{Value, json};

use super::Verdict;
use crate::globals::Globals;
use crate::output;
use crate::session::{Session, Usage};

/// Decodes stored latents again, writes the pictures and compares them with the stored ones.
///
/// Exit code 1 if any differs.
#[derive(Debug, clap::Args)]
pub struct Regenerate {
    /// An `imagine` run: id, prefix or alias
    #[arg(long)]
    run: String,
    /// Only this class: name or number
    #[arg(long)]
    class: Option<String>,
    /// Only this picture of each class
    #[arg(long)]
    index: Option<u64>,
    /// Samples the latents again, too, from the stored seed, and compares them with the stored ones
    #[arg(long)]
    from_noise: bool,
    /// The folder that pictures are written to, as CLASS/INDEX.png (`sandal/00000.png`)
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Writes into a folder that is there, over pictures of the same names
    #[arg(long, requires = "output")]
    force: bool,
}

/// How those of one kind compare.
#[derive(Default)]
struct Tally {
    all: u64,
    equal: u64,
    largest: f64,
    psnr: Option<f64>,
}

impl Tally {
    fn add(&mut self, equal: bool, largest: f64, psnr: f64) {
        self.all += 1;
        self.equal += u64::from(equal);
        self.largest = self.largest.max(largest);
        self.psnr = Some(self.psnr.map_or(psnr, |least| least.min(psnr)));
    }

    fn json(&self) -> Value {
        json!({
            "compared": self.all, "equal": self.equal, "largest_difference": self.largest,
            // Equal ones have no noise: JSON has no word for infinity.
            "smallest_psnr_db": self.psnr.filter(|psnr| psnr.is_finite()),
        })
    }

    fn row(&self, what: &str, largest: String) -> [String; 5] {
        let psnr = self.psnr.map_or(String::new(), |p| format!("{p:.1} dB"));
        [
            what.into(),
            self.all.to_string(),
            self.equal.to_string(),
            largest,
            psnr,
        ]
    }
}

impl Regenerate {
    pub fn execute(&self, globals: &Globals) -> Result<Verdict> {
        let as_json = globals.as_json()?;
        if let Some(folder) = &self.output {
            Target::new(folder).overwrite(self.force).check()?;
            if folder.is_file() {
                bail!(Usage(format!(
                    "{} is a file, expected a folder",
                    folder.display()
                )));
            }
        }
        let session = Session::reading(globals)?;
        let run = session.resolve(&self.run)?;
        let choice = Choice {
            class: self
                .class
                .as_deref()
                .map(|word| session.class(run, word))
                .transpose()?,
            index: self.index,
            from_noise: self.from_noise,
        };
        let (mut pictures, mut latents) = (Tally::default(), Tally::default());
        regenerate(&session.context(), run, choice, &mut |made| {
            let Difference { largest, psnr } = made.difference;
            pictures.add(largest == 0, f64::from(largest), psnr);
            if let Some(latent) = made.latent {
                latents.add(latent.equal, f64::from(latent.largest), latent.psnr);
            }
            if let Some(folder) = &self.output {
                let file = folder.join(file_name(&made.image));
                // With the stored text: an equal picture becomes an equal file, and `dream show` finds its
                // run.
                let text: Vec<(&str, &str)> = made.text.iter().map(|(k, v)| (&**k, &**v)).collect();
                let png = exchange::encode_png(&made.picture, &text)?;
                write(&file, &png)?;
            }
            Ok(())
        })?;
        let good = pictures.equal == pictures.all && latents.equal == latents.all;
        let verdict = if good { Verdict::Good } else { Verdict::Found };
        if as_json {
            output::document(&json!({
                "run": run, "same": good, "pictures": pictures.json(),
                "latents": self.from_noise.then(|| latents.json()),
            }))?;
            return Ok(verdict);
        }
        out!(
            "{} of {} pictures are the stored ones, bit for bit",
            pictures.equal,
            pictures.all
        )?;
        if self.from_noise {
            out!(
                "{} of {} latents are the stored ones, bit for bit",
                latents.equal,
                latents.all
            )?;
        }
        if self.from_noise || !good {
            let mut rows =
                vec![["", "compared", "equal", "largest difference", "smallest PSNR"].map(str::to_owned)];
            rows.push(pictures.row("pictures", format!("{} of 255", pictures.largest)));
            if self.from_noise {
                rows.push(latents.row("latents", format!("{:.3e}", latents.largest)));
            }
            output::columns(&rows)?;
        }
        Ok(verdict)
    }
}

fn write(file: &Path, png: &[u8]) -> Result<(), StageError> {
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder).map_err(|source| StageError::FileAccess {
            path: file.to_owned(),
            source,
        })?;
    }
    Ok(exchange::write_file(&Target::new(file).overwrite(true), png)?)
}

/// Returns CLASS/INDEX.png. A class name that is not fit for a folder's is made so, and gets the class's
/// number: two may become one.
fn file_name(image: &Image) -> PathBuf {
    let plain = |c: char| if c.is_alphanumeric() || c == '-' { c } else { '_' };
    let mut folder: String = image.class_name.chars().map(plain).collect();
    if folder != image.class_name {
        folder += &format!("-{}", image.class_id);
    }
    PathBuf::from(folder).join(format!("{:05}.png", image.index))
}
