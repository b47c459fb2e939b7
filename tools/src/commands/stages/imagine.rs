//! `dream imagine`.

use anyhow::{Result, bail};
use dream_ood::diffusion::TokenRule;
use dream_ood::engine::Precision;
use dream_ood::stage::imagine::{self, Params, Partner, SchedulerName, Shard, Size, Synthesis};
use dream_ood::stage::{Role, did_you_mean, embed};
use dream_ood::store::{Readable, Store};
use dream_schema::{ClassEmbedding, RunId, Status};
use serde_json::{Value, json};

use super::{Base, all_is_well, finite, json as option, model_or, print_runs};
use crate::choices::Choices;
use crate::commands::Verdict;
use crate::globals::Globals;
use crate::memory;
use crate::session::{Session, Usage};

/// Stage 4: decodes outlier embeddings into pictures.
///
/// Options that are not given come from the preset.
#[derive(Debug, clap::Args)]
pub struct Imagine {
    /// The vectors: a `sample` run, or imported outliers
    #[arg(
        long,
        value_name = "RUN",
        required_unless_present = "embeddings",
        conflicts_with = "embeddings"
    )]
    outliers: Option<String>,
    /// Class embeddings, an `embed` run: for --plain, --noise, --encoder-noise, --interpolate and --disjoint
    #[arg(long, value_name = "RUN")]
    embeddings: Option<String>,
    /// Pictures of the plain class prompts
    #[arg(long, group = "synthesis")]
    plain: bool,
    /// Adds Gaussian noise to the class embeddings: T(y) + SIGMA * e, e ~ N(0, I); SIGMA is the standard
    /// deviation of a component, not relative to |T(y)|
    #[arg(
        long,
        value_name = "SIGMA",
        group = "synthesis",
        allow_negative_numbers = true,
        value_parser = finite
    )]
    noise: Option<f64>,
    /// Adds Gaussian noise to the text encoder's output of the plain class prompts; SIGMA is the standard
    /// deviation of a component
    #[arg(
        long,
        value_name = "SIGMA",
        group = "synthesis",
        allow_negative_numbers = true,
        value_parser = finite
    )]
    encoder_noise: Option<f64>,
    /// Prompts of these words in place of the classes: words separated by commas, of none of the classes
    #[arg(long, value_name = "WORD[,WORD]", group = "synthesis", value_delimiter = ',')]
    disjoint: Vec<String>,
    /// Goes from each class embedding towards that of another class, or of one drawn at random for every
    /// picture
    #[arg(long, value_name = "CLASS|random", group = "synthesis")]
    interpolate: Option<String>,
    /// How far --interpolate goes: above 0, at most 1
    #[arg(
        long,
        value_name = "F",
        default_value_t = 0.5,
        requires = "interpolate",
        conflicts_with_all = ["outliers", "plain", "noise", "encoder_noise", "disjoint"],
        allow_negative_numbers = true,
        value_parser = finite
    )]
    fraction: f64,
    /// A diffusion model: its registered name, or its folder or checkpoint file, which is then registered.
    /// Without it, the model of the class embeddings
    #[arg(long, value_name = "NAME|PATH")]
    model: Option<String>,
    /// Seed of the initial noise, and of all other random numbers
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Starts all pictures from one initial noise
    #[arg(long)]
    fixed_noise: bool,
    /// Pictures of each class
    #[arg(long, value_name = "N")]
    per_class: Option<usize>,
    /// Only these classes: names or numbers, separated by commas
    #[arg(long, value_name = "NAME[,NAME]")]
    class: Vec<String>,
    /// The prompt, with `<class>` where the class word goes
    #[arg(long)]
    prompt: Option<String>,
    /// The prompt that guidance leads away from; empty without it
    #[arg(long, value_name = "PROMPT")]
    negative: Option<String>,
    /// plms, ddim or dpm-solver
    #[arg(long, value_parser = Choices(&SchedulerName::ALL))]
    scheduler: Option<SchedulerName>,
    /// Share of DDPM's noise that every step of ddim adds: 0 to 1
    #[arg(long, allow_negative_numbers = true,
        value_parser = finite)]
    eta: Option<f64>,
    /// Steps of the solver
    #[arg(long)]
    steps: Option<usize>,
    /// Classifier-free guidance
    #[arg(long, allow_negative_numbers = true,
        value_parser = finite)]
    guidance: Option<f64>,
    /// What becomes of a class word of several tokens: first (the vector replaces the first token, the others
    /// go) or all (it replaces each of them); without it, such a word is an error
    #[arg(long, value_name = "RULE", value_parser = Choices(&TokenRule::ALL))]
    tokens: Option<TokenRule>,
    /// Size of the pictures, if not the model's own
    #[arg(long, value_name = "WxH|N")]
    size: Option<Size>,
    /// Brings the stored pictures to this size (bicubic; `--set resize_by=bilinear`: as the public code of
    /// DREAM-OOD); latents stay as they are
    #[arg(long, value_name = "WxH|N")]
    resize: Option<Size>,
    /// How UNet and autoencoder are computed: f32, or on a GPU f16 (usual there); without it, what is
    /// usual on the device
    #[arg(long, value_parser = Choices(&Precision::ALL))]
    precision: Option<Precision>,
    /// Makes only part I of N: the run stays unfinished; merge the stores of all parts and ask again without
    /// it
    #[arg(long, value_name = "I/N")]
    shard: Option<Shard>,
    #[command(flatten)]
    base: Base,
}

impl Imagine {
    pub fn execute(&self, globals: &Globals) -> Result<Verdict> {
        let preset = self.base.preset(globals)?;
        let session = self.base.existing(globals)?;
        let vectors = self.vectors(&session)?;
        let options = [
            ("per_class", option(&self.per_class)),
            ("classes", self.classes(&session.store, vectors)?),
            ("prompt", option(&self.prompt)),
            ("negative", option(&self.negative)),
            ("scheduler", option(&self.scheduler)),
            ("eta", option(&self.eta)),
            ("steps", option(&self.steps)),
            ("guidance_scale", option(&self.guidance)),
            ("tokens", option(&self.tokens)),
            ("size", option(&self.size)),
            ("resize", option(&self.resize)),
            ("precision", option(&self.precision)),
            ("synthesis", self.synthesis()),
            ("fixed_noise", self.fixed_noise.then_some(Value::Bool(true))),
        ];
        let params: Params = self.base.apply(&preset.imagine, &options)?;
        check_classes(&params, &preset.imagine, &self.known(&session.store, vectors)?)?;
        let mut room = memory::room(globals);
        if let Some(shard) = self.shard {
            // The other parts go elsewhere.
            room.disk = room.disk.map(|bytes| bytes.saturating_mul(shard.parts()));
        }
        let spec = self.base.spec(&session, room, |reach| {
            let model = model_or(&session, &self.model, Some(vectors), reach, &preset)?;
            Ok(imagine::ask(&session.store, &params, self.seed, vectors, &model)?)
        })?;
        let Some(spec) = spec else {
            return all_is_well(globals);
        };
        let alias = self.base.alias.as_deref();
        let run = match self.shard {
            Some(shard) => session.run_part(&spec, shard, alias)?,
            None => session.run(&spec, alias)?,
        };
        print_runs(&session, std::slice::from_ref(&run))?;
        if let Some(shard) = self.shard
            && run.status != Status::Finished
        {
            session.bars.say(&format!(
                "part {shard} is in this store; merge the stores of all parts, then ask again without \
                --shard to finish the run"
            ));
        }
        Ok(Verdict::Good)
    }

    /// Returns the run that the vectors come from.
    fn vectors(&self, session: &Session<'_>) -> Result<RunId> {
        let Some(name) = self.embeddings.as_ref().or(self.outliers.as_ref()) else {
            bail!(Usage("--outliers or --embeddings is needed".into())); // clap has checked that
        };
        let id = session.resolve(name)?;
        let run = session.store.run(id)?;
        let is_space = embed::is_space(&session.store, &id.into())?;
        if self.outliers.is_some() && is_space {
            bail!(Usage(format!(
                "--outliers takes sampled vectors, and run {id} holds class embeddings: give \
                 --embeddings {name}"
            )));
        }
        if (self.embeddings.is_some() || self.plain) && !is_space {
            let option = if self.plain { "--plain" } else { "--embeddings" };
            let own = Role::Embeddings.input_of(&run);
            let hint = own.map_or(String::new(), |run| format!(": give --embeddings {run}"));
            bail!(Usage(format!(
                "{option} takes class embeddings, and run {id} is of the stage `{}`{hint}",
                run.spec.stage
            )));
        }
        Ok(id)
    }

    /// Returns the value of the parameter `synthesis`.
    fn synthesis(&self) -> Option<Value> {
        if self.plain {
            return Some(Value::Null);
        }
        if let Some(sigma) = self.noise {
            return Some(json!(Synthesis::Noise { sigma }));
        }
        if let Some(sigma) = self.encoder_noise {
            return Some(json!(Synthesis::EncoderNoise { sigma }));
        }
        if !self.disjoint.is_empty() {
            let words = self.disjoint.iter().map(|word| word.trim().to_owned()).collect();
            return Some(json!(Synthesis::Disjoint { words }));
        }
        let with = match self.interpolate.as_deref()? {
            "random" => Partner::Random,
            name => Partner::Class(name.to_owned()),
        };
        let fraction = self.fraction;
        Some(json!(Synthesis::Interpolation { with, fraction }))
    }

    /// Returns the classes that vectors are of.
    fn known(&self, store: &Store, vectors: RunId) -> Result<Vec<ClassEmbedding>> {
        let run = store.run(vectors)?;
        let own = Role::Embeddings.input_of(&run).unwrap_or(vectors);
        Ok(store.rows(own, None)?)
    }

    /// Returns the value of the parameter `classes`. A name may hold commas: what is a name as a whole is not
    /// cut.
    fn classes(&self, store: &Store, vectors: RunId) -> Result<Option<Value>> {
        if self.class.is_empty() {
            return Ok(None);
        }
        let known = self.known(store, vectors)?;
        let mut names: Vec<&str> = Vec::new();
        for given in &self.class {
            if known.iter().any(|c| c.class_name == *given) {
                names.push(given);
            } else {
                names.extend(given.split(',').map(str::trim));
            }
        }
        Ok(Some(json!(names)))
    }
}

/// Refuses suffixes and prompts that are given for classes that there are not. A preset may have them for
/// more classes than these embeddings have.
fn check_classes(params: &Params, preset: &Params, known: &[ClassEmbedding]) -> Result<()> {
    let names = || known.iter().map(|class| class.class_name.as_str());
    let tables = [
        ("suffixes", &params.suffixes, &preset.suffixes),
        ("prompts", &params.prompts, &preset.prompts),
    ];
    for (key, given, own) in tables {
        let mut given = given.keys().filter(|name| !own.contains_key(*name));
        if let Some(name) = given.find(|name| names().all(|known| known != name.as_str())) {
            let near = did_you_mean(name, names());
            bail!(Usage(format!(
                "--set {key}.{name}: there is no class `{name}`{near}"
            )));
        }
    }
    Ok(())
}
