//! `dream regenerate`.

use std::path::PathBuf;

use anyhow::{Result, bail};
use dream_ood::exchange;
use dream_ood::stage::StageError;
use dream_ood::stage::regenerate::regenerate;
use dream_schema::Image;

use super::Verdict;
use crate::args::Args;
use crate::session::Session;

/// Decodes stored latents again, writes the pictures and compares them with the stored ones. Exit code 1 if any differs.
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
    /// The folder that pictures are written to, as CLASS/INDEX.png
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
}

impl Regenerate {
    pub fn execute(&self, args: &Args) -> Result<Verdict> {
        let session = Session::reading(args)?;
        let run = session.resolve(&self.run)?;
        let class = session.class(run, self.class.as_deref())?;
        let (mut equal, mut all, mut largest, mut psnr) = (0_u64, 0_u64, 0, f64::INFINITY);
        regenerate(&session.context(), run, class, self.index, &mut |made| {
            all += 1;
            equal += u64::from(made.difference.largest == 0);
            largest = largest.max(made.difference.largest);
            psnr = psnr.min(made.difference.psnr);
            if let Some(folder) = &self.output {
                let (width, height) = (made.picture.width as u32, made.picture.height as u32);
                let file = folder.join(file_name(&made.image));
                let png = exchange::encode_png(width, height, &made.picture.rgb, &[])?;
                write(&file, &png).map_err(|e| StageError::File {
                    path: file,
                    message: format!("{e:#}"),
                })?;
            }
            Ok(())
        })?;
        println!("{equal} of {all} pictures are the stored ones, bit for bit");
        if equal < all {
            println!("largest difference {largest} of 255, smallest PSNR {psnr:.1} dB");
            return Ok(Verdict::Found);
        }
        Ok(Verdict::Good)
    }
}

fn write(file: &std::path::Path, png: &[u8]) -> Result<()> {
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    Ok(std::fs::write(file, png)?)
}

/// Returns CLASS/INDEX.png, with the class name made fit for a file.
fn file_name(image: &Image) -> PathBuf {
    let plain = |c: char| if c.is_alphanumeric() || c == '-' { c } else { '_' };
    let folder: String = image.class_name.chars().map(plain).collect();
    PathBuf::from(folder).join(format!("{:05}.png", image.index))
}

impl Session<'_> {
    /// Returns the class that a name or number means in a run.
    pub fn class(&self, run: dream_schema::RunId, class: Option<&str>) -> Result<Option<u32>> {
        let Some(class) = class else { return Ok(None) };
        if let Ok(number) = class.parse() {
            return Ok(Some(number));
        }
        let mut known = Vec::new();
        for ancestor in dream_ood::stage::lineage::ancestors(&self.store, run)? {
            for row in self
                .store
                .rows::<dream_schema::ClassEmbedding>(ancestor.id, None)?
            {
                if row.class_name == class {
                    return Ok(Some(row.class_id));
                }
                known.push(row.class_name);
            }
        }
        bail!("run {run} has no class `{class}`; it has {}", known.join(", "))
    }
}
