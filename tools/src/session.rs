//! What a command works with: the store, the device, the clock, the progress bars.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow, bail};
use dream_ood::Kind;
use dream_ood::ask::{self, Scope};
use dream_ood::query::{Class, QueryOptions};
use dream_ood::stage::imagine::Shard;
use dream_ood::stage::{BatchSize, Context, How, Input, Machine, Progress as _, StageError};
use dream_ood::stop::Stop;
use dream_ood::store::{Readable, Store, StoreError, check_alias};
use dream_schema::{Run, RunId, RunSpec, Status, Table};

use crate::bars::Bars;
use crate::commands::Verdict;
use crate::globals::Globals;
use crate::remedy::may_be_store;
use crate::{host, memory};

/// How long a task of a job waits for another process that holds its store.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

/// Words that the program does not understand, found after clap's own checks: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// What a stage failed with in its work: exit code 1, whatever it was.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Failed(#[source] StageError);

impl Failed {
    /// Tells what a stage failed with from what it refused before.
    pub fn of(error: StageError) -> anyhow::Error {
        match error {
            StageError::Refused(_) => error.into(),
            error => Self(error).into(),
        }
    }
}

/// Everything that a command works with.
pub struct Session<'a> {
    /// The options that all commands share.
    pub globals: &'a Globals,
    /// The store.
    pub store: Arc<Store>,
    /// Progress on the terminal.
    pub bars: Arc<Bars>,
    ask: ask::Session,
    /// A store that was made for this session.
    _new: Option<NewStore>,
}

/// A store that may have been made for this command: such a one is taken away again if nothing was put into
/// it, as where the command is refused.
pub struct NewStore {
    store: Arc<Store>,
    is_new: bool,
}

impl std::ops::Deref for NewStore {
    type Target = Store;

    fn deref(&self) -> &Store {
        &self.store
    }
}

impl Drop for NewStore {
    fn drop(&mut self) {
        // Nobody else has written to it: it is still open here.
        if self.is_new && self.store.is_empty().unwrap_or(false) {
            let _ = std::fs::remove_file(self.store.path());
        }
    }
}

impl<'a> Session<'a> {
    /// Opens the store for writing, made new if there is none.
    pub fn writing(globals: &'a Globals) -> Result<Self> {
        let new = store_to_be(globals)?;
        let mut session = Self::new(globals, new.store.clone(), Bars::new)?;
        session._new = Some(new);
        Ok(session)
    }

    /// Opens the store at `path` for writing, made new if there is none, laid over others. Another process
    /// that holds it is waited for: an earlier attempt at the same work may be about to end.
    pub fn laid_over(globals: &'a Globals, path: &Path, beneath: Vec<Store>) -> Result<Self> {
        let store = with_holder(ask::open_laid_over(path, beneath, PATIENCE))?;
        Self::new(globals, Arc::new(store), Bars::new)
    }

    /// Opens a store that must be there, to be changed.
    pub fn existing(globals: &'a Globals) -> Result<Self> {
        Self::new(globals, Arc::new(store_to_write(globals)?), Bars::new)
    }

    /// Opens the store for runs, made new if there is none unless it `must_be_there`. One that may only be
    /// read is opened so: what it has of them is an answer.
    pub fn answering(globals: &'a Globals, must_be_there: bool) -> Result<Self> {
        match Store::check_writable(&globals.store) {
            Err(StoreError::NotWritable { .. }) => Self::beside(globals),
            Ok(()) | Err(_) if must_be_there => Self::existing(globals),
            Ok(()) | Err(_) => Self::writing(globals),
        }
    }

    /// Refuses a store that may only be read, unless it has the answer to what is `asked`.
    pub fn require_room_for(&self, asked: &Input) -> Result<()> {
        match asked.answer(&self.store) {
            Some(_) => Ok(()),
            None => Ok(Store::check_writable(&self.globals.store)?),
        }
    }

    /// Opens a store that must be there, for reading only.
    pub fn reading(globals: &'a Globals) -> Result<Self> {
        Self::new(globals, Arc::new(store_to_read(globals)?), Bars::reading)
    }

    /// Opens a store that must be there, for reading only, for work that is stopped in order: it has files
    /// aside to remove.
    pub fn beside(globals: &'a Globals) -> Result<Self> {
        Self::new(globals, Arc::new(store_to_read(globals)?), Bars::new)
    }

    /// Opens the store to check what could be done with it, as [`store_to_check`] does.
    pub fn checking(globals: &'a Globals) -> Result<Self> {
        Self::new(globals, Arc::new(store_to_check(globals)?), Bars::reading)
    }

    fn new(globals: &'a Globals, store: Arc<Store>, bars: fn(bool) -> Bars) -> Result<Self> {
        let (engine, beside) = globals.device.open()?;
        let machine = Machine {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            device: globals.device.to_string(),
            engine: engine.describe(),
            host: host::name(),
            process: Some(ask::own_process()),
        };
        let bars = Arc::new(bars(globals.quiet));
        Ok(Self {
            globals,
            ask: ask::Session {
                store: store.clone(),
                engine,
                beside,
                machine,
                now,
                progress: bars.clone(),
            },
            store,
            bars,
            _new: None,
        })
    }

    /// Returns what stages run with.
    pub fn context(&self) -> Context<'_> {
        self.ask.context(self.batch_size())
    }

    /// Returns the wish to stop that bars carry.
    pub fn stop(&self) -> Stop {
        let bars = self.bars.clone();
        Stop::when(move || bars.cancelled())
    }

    /// Returns what a question may take, and when it is to stop.
    pub fn query_options(&self) -> QueryOptions {
        query_options(self.globals, &self.bars)
    }

    fn batch_size(&self) -> BatchSize {
        match (self.globals.batch_size, self.globals.memory) {
            (Some(n), _) => BatchSize::Pictures(n as usize),
            (None, Some(bytes)) => BatchSize::Memory(bytes.0),
            (None, None) => BatchSize::Memory(memory::for_pictures(&self.ask.engine)),
        }
    }

    /// Returns the run of that id, prefix or alias.
    pub fn resolve(&self, name: &str) -> Result<RunId> {
        Ok(self.store.resolve(name)?)
    }

    /// Refuses a finished run that has no rows of a table, and never will: what it has instead is said.
    pub fn require_rows(&self, id: RunId, table: Table) -> Result<()> {
        let run = self.store.run(id)?;
        if run.status != Status::Finished || self.store.count(id, table)? > 0 {
            return Ok(());
        }
        let mut has = Vec::new();
        for other in Table::ALL {
            if self.store.count(id, other)? > 0 {
                has.push(other.name());
            }
        }
        let (stage, has) = (&run.spec.stage, has.join(", "));
        bail!(Usage(format!(
            "run {id} has no {table}: it is a run of `{stage}`, with {has}"
        )))
    }

    /// Returns the number of the class that a word means in a run and what it came from.
    pub fn class(&self, run: RunId, word: &str) -> Result<u32> {
        match ask::class(&self.store, Scope::Lineage(run), word)? {
            Class::Id(number) => Ok(number),
            Class::Name(name) => bail!("run {run} has no number for the class `{name}`"),
        }
    }

    /// Says which runs are missing in the tables of runs because their records are damaged; that is something
    /// found.
    pub fn say_damaged(&self) -> Result<Verdict> {
        let (_, damaged) = self.store.legible_runs()?;
        for (run, reason) in &damaged {
            self.bars.say(&format!(
                "run {run} is left out: its record is damaged ({reason}); `dream verify` says more"
            ));
        }
        Ok(match damaged.is_empty() {
            true => Verdict::Good,
            false => Verdict::Found,
        })
    }

    /// Returns the run that an alias names.
    pub fn named(&self, alias: &str) -> Result<Option<RunId>> {
        let aliases = self.store.aliases()?;
        Ok(aliases
            .into_iter()
            .find(|(name, _)| name == alias)
            .map(|(_, run)| run))
    }

    /// Says why a run cannot get this alias, if it cannot: it is no name, or another run has it.
    pub fn alias_fault(&self, alias: &str, run: RunId) -> Result<Option<String>> {
        if let Err(error) = check_alias(alias) {
            return Ok(Some(error.to_string()));
        }
        let other = self.named(alias)?.filter(|other| *other != run);
        let taken = |other| {
            format!(
                "`{alias}` names run {other} already; choose another name, or free it with `dream alias rm \
                 {alias}`"
            )
        };
        Ok(other.map(taken))
    }

    /// Executes a stage, or finds its result, and says so.
    pub fn run(&self, spec: &RunSpec, alias: Option<&str>) -> Result<Run> {
        self.say_how(spec.id(), alias, || dream_ood::stage::run(&self.context(), spec))
    }

    /// Makes one part of an `imagine` run, and says how far the run is.
    pub fn run_part(&self, spec: &RunSpec, shard: Shard, alias: Option<&str>) -> Result<Run> {
        self.say_how(spec.id(), alias, || {
            dream_ood::stage::run_part(&self.context(), spec, shard)
        })
    }

    fn say_how(
        &self,
        id: RunId,
        alias: Option<&str>,
        execute: impl FnOnce() -> Result<(Run, How), StageError>,
    ) -> Result<Run> {
        if let Some(alias) = alias
            && let Some(fault) = self.alias_fault(alias, id)?
        {
            bail!(Usage(format!("--alias {fault}")));
        }
        let started = std::time::Instant::now();
        let (run, how) = execute().map_err(Failed::of)?;
        if let Some(alias) = alias {
            self.store.set_alias(alias, run.id)?;
        }
        self.say(&run, how, started);
        Ok(run)
    }

    /// Says how a run that was begun at `started` came about.
    pub fn say(&self, run: &Run, how: How, started: std::time::Instant) {
        let seconds = format!("{:.1} s", started.elapsed().as_secs_f64());
        let how = match (how, run.status) {
            (How::Known, _) => "already in the store".to_owned(),
            (How::Resumed, Status::Finished) => format!("resumed and finished in {seconds}"),
            (How::Executed, Status::Finished) => format!("done in {seconds}"),
            (How::Remade, Status::Finished) => {
                format!("made from the beginning in {seconds}: rows of it had been lost")
            }
            (How::Resumed | How::Remade | How::Executed, _) => {
                format!("part done in {seconds}, the run is unfinished")
            }
        };
        self.bars.say(&format!("{:>10} {} {how}", run.spec.stage, run.id));
    }
}

/// Returns what a question may take, and when it is to stop.
pub fn query_options(globals: &Globals, bars: &Arc<Bars>) -> QueryOptions {
    let memory = globals.memory.map_or_else(memory::for_queries, |bytes| bytes.0);
    let bars = bars.clone();
    QueryOptions {
        memory: usize::try_from(memory).unwrap_or(usize::MAX),
        spill: None,
        cancelled: Arc::new(move || bars.cancelled()),
    }
}

/// Opens the store for writing, made new if there is none.
pub fn store_to_be(globals: &Globals) -> Result<NewStore> {
    let is_new = !globals.store.exists();
    let store = Arc::new(with_holder(Store::open_or_create(&globals.store))?);
    Ok(NewStore { store, is_new })
}

/// Opens a store that must be there, for writing.
pub fn store_to_write(globals: &Globals) -> Result<Store> {
    with_holder(Store::open(&globals.store))
}

/// Opens a store that must be there, for reading only.
pub fn store_to_read(globals: &Globals) -> Result<Store> {
    Ok(ask::open_to_read(&globals.store)?)
}

/// Opens a store that a command names beside its own, for reading only.
///
/// # Errors
/// In words of its own where it is none: what helps with the command's own store does not here.
pub fn other_store(path: &Path) -> Result<Store> {
    ask::open_to_read(path).map_err(|error| match Kind::of(&error) {
        Some(Kind::Missing) => Usage(format!("there is no store at {}", path.display())).into(),
        Some(Kind::Corrupt) if !matches!(error, StoreError::NotAStore { .. }) || may_be_store(path) => {
            anyhow!("{error}; `dream recover FILE -o NEW` saves what is whole of a store")
        }
        Some(Kind::Corrupt) => Usage(error.to_string()).into(),
        _ => error.into(),
    })
}

/// Says of a store that is held by another process which one that is, where it can be seen.
fn with_holder(opened: Result<Store, StoreError>) -> Result<Store> {
    Ok(ask::with_holder(opened, &host::name())?)
}

/// Opens the store to check what could be done with it, for reading only; where there is none, an empty one
/// in memory stands in.
pub fn store_to_check(globals: &Globals) -> Result<Store> {
    match globals.store.exists() {
        true => store_to_read(globals),
        false => Ok(Store::in_memory()?),
    }
}

/// Returns microseconds since 1970-01-01 UTC.
pub fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    // A clock before 1970 is a broken one; the time of a run is for people to read and decides nothing.
    since.map_or(0, |d| d.as_micros() as i64)
}

/// Sets how many threads compute, for the whole program: to be called once, before anything is computed.
pub fn set_threads(globals: &Globals) -> Result<()> {
    let Some(threads) = globals.threads else {
        return Ok(());
    };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads as usize);
    pool.build_global().context("setting --threads")
}

/// Returns the folder of what ships with the program: `$DREAM_DATA`, else `data` here, beside the program, or
/// in the source tree.
pub fn data_dir() -> Result<PathBuf> {
    if let Some(dir) = std::env::var_os("DREAM_DATA") {
        let dir = PathBuf::from(dir);
        if !dir.join("presets").is_dir() {
            bail!("DREAM_DATA={}: there is no `presets` folder in it", dir.display());
        }
        return Ok(dir);
    }
    let mut places = vec![PathBuf::from("data")];
    if let Ok(program) = std::env::current_exe() {
        places.extend(program.ancestors().skip(1).map(|dir| dir.join("data")));
    }
    places.push(Path::new(env!("CARGO_MANIFEST_DIR")).join("../data"));
    let found = places.into_iter().find(|dir| dir.join("presets").is_dir());
    found.context(
        "the bundled data is nowhere to be found; set DREAM_DATA to the `data` folder of the source tree",
    )
}
