//! From files to a model in memory: a folder in the diffusers layout, or one checkpoint file in the original
//! layout.
//!
//! Both end as a [`Plan`]: configurations that have been checked against each other, and opened files of
//! weights whose tensors are not read yet. Then the networks are built, while the digest of the files is
//! taken beside it.

mod diffusers;
mod single;
mod variants;

use std::path::{Path, PathBuf};

use super::compvis::{self, Names};
use super::config::{TextConfig, UnetConfig, VaeConfig};
use super::error::{DiffusionError, Result};
use super::folder::Folder;
use super::geometry::Geometry;
use super::outline::Outline;
use super::scheduler::Schedule;
use super::text::TextEncoder;
use super::tokenizer::Tokenizer;
use super::unet::Unet;
use super::vae::Vae;
use super::weights::{self, PartFiles, Scope, Weights};
use crate::engine::{Engine, Part};

/// A model in memory.
pub(crate) struct Parts {
    pub(crate) outline: Outline,
    pub(crate) text: TextEncoder,
    pub(crate) unet: Unet,
    pub(crate) vae: Vae,
    pub(crate) digest: [u8; 32],
}

/// A model that is ready to be read.
struct Plan {
    folder: Folder,
    configs: Configs,
    tokenizer: Tokenizer,
    schedule: Schedule,
    weights: PlannedWeights,
}

/// The networks' sizes.
pub(crate) struct Configs {
    pub(crate) text: TextConfig,
    pub(crate) unet: UnetConfig,
    pub(crate) vae: VaeConfig,
}

enum PlannedWeights {
    /// Files of their own for text encoder, UNet and autoencoder.
    Apart([PartFiles; 3]),
    /// One file for all.
    Together(PartFiles),
}

/// Reads a model. `tokenizer`: where its tokenizer is, if not in the model's folder or beside its file.
pub(crate) fn load(path: &Path, tokenizer: Option<&Path>, engine: &Engine) -> Result<Parts> {
    let plan = plan(path, tokenizer)?;
    let folder = &plan.folder;
    let outline = plan.configs.outline(plan.tokenizer, plan.schedule);
    std::thread::scope(|scope| {
        let digest = scope.spawn(|| folder.digest());
        let (text, unet, vae) = build(plan.configs, &plan.weights, engine)?;
        let digest = digest
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        Ok(Parts {
            outline,
            text,
            unet,
            vae,
            digest,
        })
    })
}

/// Reads the autoencoder of a model alone.
pub(crate) fn load_vae(path: &Path, tokenizer: Option<&Path>, engine: &Engine) -> Result<Vae> {
    let plan = plan(path, tokenizer)?;
    let (files, [_, _, names]) = plan.weights.parts(&plan.configs);
    let weights = Weights::new(&files[2].label, &files[2].files, engine, names);
    read(weights, |scope| Vae::load(plan.configs.vae, scope))
}

impl Outline {
    /// Reads the model at `path` (a folder, or one checkpoint file) but for its weights. `tokenizer`: the
    /// folder of its tokenizer, if that is elsewhere.
    ///
    /// # Errors
    /// If a file cannot be read or asks for something unsupported.
    pub fn read(path: &Path, tokenizer: Option<&Path>) -> Result<Self> {
        let plan = plan(path, tokenizer)?;
        Ok(plan.configs.outline(plan.tokenizer, plan.schedule))
    }
}

/// Returns the files that [`Pipeline::open`](super::Pipeline::open) would take the weights of `path` from:
/// for each part the plain file where there is one, else a variant (`fp16`, `bf16`, `non_ema`), or the index
/// of several.
pub fn weight_files(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_path_buf()];
    }
    let folder = Folder::new(path, None);
    let parts = [variants::TEXT, variants::UNET, variants::VAE];
    parts
        .map(|part| folder.path(&variants::choose(&folder, part)))
        .into()
}

/// Says whether `path` is a checkpoint file with a whole model in it, of the original Stable Diffusion code's
/// tensor names.
pub fn is_checkpoint(path: &Path) -> bool {
    path.is_file()
        && weights::open(path).is_ok_and(|file| file.names().any(|name| name.starts_with(compvis::UNET)))
}

/// Says whether the folder at `path` holds a part of a model, or what goes with one, and no whole model.
pub fn is_part(path: &Path) -> bool {
    diffusers::holds_part(path)
}

fn plan(path: &Path, tokenizer: Option<&Path>) -> Result<Plan> {
    let tokenizer = tokenizer.map(tokenizer_folder);
    if path.is_file() {
        single::plan(path, tokenizer)
    } else {
        diffusers::plan(path, tokenizer)
    }
}

/// The folder with the tokenizer's files: itself, or `tokenizer` in it.
fn tokenizer_folder(path: &Path) -> PathBuf {
    let below = path.join("tokenizer");
    if Tokenizer::is_in(path) || !Tokenizer::is_in(&below) {
        path.to_path_buf()
    } else {
        below
    }
}

impl Configs {
    fn outline(&self, tokenizer: Tokenizer, schedule: Schedule) -> Outline {
        let geometry = Geometry::new(tokenizer.length(), &self.unet, &self.vae);
        Outline::new(geometry, tokenizer, schedule)
    }

    /// Checks that the networks fit each other. The paths are where each configuration comes from.
    fn check(&self, paths: [&Path; 3]) -> Result<()> {
        let [text_path, unet_path, vae_path] = paths;
        let Self { text, unet, vae } = self;
        text.check(text_path)?;
        unet.check(unet_path)?;
        vae.check(vae_path)?;
        let disagreement = |message: String| {
            Err(DiffusionError::Config {
                path: unet_path.to_path_buf(),
                message,
            })
        };
        if unet.cross_attention_dim != text.hidden_size {
            return disagreement(format!(
                "cross_attention_dim = {}, but the text encoder's hidden_size is {}",
                unet.cross_attention_dim, text.hidden_size
            ));
        }
        let channels = [unet.in_channels, unet.out_channels, vae.latent_channels];
        if channels.iter().any(|c| *c != vae.latent_channels) {
            return disagreement(format!(
                "in_channels, out_channels and the VAE's latent_channels differ: {channels:?}"
            ));
        }
        Ok(())
    }
}

/// Reads the tokenizer of a text encoder.
fn read_tokenizer(folder: &mut Folder, config: &TextConfig) -> Result<Tokenizer> {
    let tokenizer = Tokenizer::load(folder, config.max_position_embeddings)?;
    let largest = tokenizer.largest_id() as usize;
    if largest >= config.vocab_size {
        return Err(DiffusionError::Config {
            path: folder.path("tokenizer"),
            message: format!(
                "token ids reach {largest}, but the text encoder's token table has {} rows: it is the \
                 tokenizer of another model",
                config.vocab_size
            ),
        });
    }
    Ok(tokenizer)
}

impl PlannedWeights {
    /// Where the weights of text encoder, UNet and autoencoder are, and by which names.
    fn parts(&self, configs: &Configs) -> ([&PartFiles; 3], [Names; 3]) {
        match self {
            Self::Apart([text, unet, vae]) => {
                ([text, unet, vae], [Names::TextModel, Names::Same, Names::Same])
            }
            Self::Together(all) => {
                let unet = Names::CompvisUnet {
                    layers: configs.unet.layers_per_block,
                };
                let vae = Names::CompvisVae {
                    levels: configs.vae.block_out_channels.len(),
                };
                ([all, all, all], [Names::CompvisText, unet, vae])
            }
        }
    }
}

fn build(configs: Configs, weights: &PlannedWeights, engine: &Engine) -> Result<(TextEncoder, Unet, Vae)> {
    let (files, names) = weights.parts(&configs);
    let Configs { text, unet, vae } = configs;
    let open = |i: usize, part| -> Result<Weights> {
        let engine = engine.part(part)?;
        Ok(Weights::new(&files[i].label, &files[i].files, &engine, names[i])) // i < 3
    };
    Ok((
        read(open(0, Part::Text)?, |scope| TextEncoder::load(text, scope))?,
        read(open(1, Part::Unet)?, |scope| Unet::load(unet, scope))?,
        read(open(2, Part::Vae)?, |scope| Vae::load(vae, scope))?,
    ))
}

fn read<T>(weights: Weights, load: impl FnOnce(&Scope) -> Result<T>) -> Result<T> {
    let network = load(&weights.root())?;
    weights.finish()?;
    Ok(network)
}
