//! What a failure means to the shell, and what its user can do about it.
//!
//! The library states facts. Which command or option helps is known here alone; a test compares every command
//! and option that is named with those that there are.

use std::path::Path;

use anyhow::Error;
use dream_ood::Kind;
use dream_ood::archive::ArchiveError;
use dream_ood::ask::AskError;
use dream_ood::content::Content;
use dream_ood::dataset::DatasetError;
use dream_ood::diffusion::DiffusionError;
use dream_ood::engine::GpuError;
use dream_ood::exchange::ExchangeError;
use dream_ood::query::QueryError;
use dream_ood::stage::{Refusal, Role, StageError};
use dream_ood::store::StoreError;
use dream_schema::Status;

use crate::bars;
use crate::session::{Failed, Usage};

/// The rule of exit codes.
pub const EXIT_CODES: &str = "Exit codes: 0 done; 1 failed, or a check found something; 2 wrong usage, or a \
                              value that is refused before any work; 130 stopped by Ctrl-C, 143 by \
                              SIGTERM: what is done is stored, and the same command goes on from there.";

/// The exit code of a program that Ctrl-C stopped, as shells have it.
pub const INTERRUPTED: u8 = 130;

/// The exit code of a program that SIGTERM stopped.
pub const TERMINATED: u8 = 143;

macro_rules! remedies {
    ($($name:ident: $text:literal;)*) => {
        /// What can be done.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Remedy {
            $(#[doc = $text] $name,)*
        }

        impl Remedy {
            /// Every remedy.
            #[cfg(test)]
            const ALL: &[Self] = &[$(Self::$name,)*];

            /// Returns the sentence that says it; commands and options stand in backquotes.
            pub fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

remedies! {
    ListRuns: "`dream ls` lists the runs";
    IsItRunning: "`dream ls` says whether a process works on it";
    NewHead: "`dream encode --new-head` and `dream detect --new-head` set it";
    ListStage: "`dream ls --stage STAGE` lists the runs of a stage";
    Register: "`dream dataset add NAME PATH` registers one";
    NameTokenizer: "`dream dataset add NAME PATH --tokenizer DIR` names the folder of the tokenizer";
    SeveralTokens: "`dream embed --tokens first` or `--tokens mean` and `dream imagine --tokens first` or \
                    `--tokens all` say what becomes of several tokens";
    Member: "`dream import --member NAME` takes one of them";
    AsItSays: "`dream import --dataset NAME --split NAME --score NAME` names what it says; without that \
               column it is taken as it is asked for";
    LeaveOut: "`dream dataset add NAME PATH --skip-bad` leaves such images out";
    FetchLfs: "`git lfs pull` in its folder fetches them";
    NameConfig: "`dream dataset add NAME PATH/CONFIGURATION` reads one of them";
    SayClasses: "`dream dataset add NAME PATH --classes FILE.tsv` says which directories are classes, and in \
                 which order";
    Unpack: "unpack or convert it, then `dream dataset add NAME FOLDER`; `dream dataset add NAME PATH \
             --dry-run` shows what would be read";
    WhatIsRead: "`dream dataset add --help` says what is read, and its `--kind` what something is";
    OtherStore: "`--store FILE` names another store";
    Verify: "`dream verify` says what else is damaged";
    Repair: "`dream repair` puts it right";
    RepairFrom: "`dream repair --from FILE` takes sound copies from another store, `dream reproduce RUN \
                 --repair` makes a run again, `dream rm RUN --cascade` removes it";
    FreeRows: "`dream repair --from FILE` takes the record from another store, `dream gc --yes` removes the \
               rows";
    MergeInput: "`dream merge FILE` takes in a store that has the input";
    Recover: "`dream recover FILE -o NEW` saves every run that is whole";
    OtherOrRecover: "`--store FILE` names another store; if this was one, `dream recover FILE -o NEW` saves \
                     what is whole of it";
    MakeAgain: "the command that made it makes it again, from the beginning; `dream repair --from FILE` or \
                `dream merge FILE` takes it from a store that has it whole";
    OtherResult: "`dream repair --from FILE` or `dream merge FILE` takes it from a store that has it whole, \
                  `dream rm RUN --cascade` removes it with what was made from it, so that all is made anew";
    RemoveRun: "`dream rm RUN --yes` removes the run, so that it is made anew";
    Cascade: "`dream rm RUN --cascade` takes these too";
    MoveAlias: "`dream alias set NAME RUN --move` moves it, `dream alias rm NAME` frees it";
    ListAliases: "`dream alias ls` lists them";
    WhichIsRight: "`dream verify` says whether one of the stores is damaged, `dream reproduce RUN` which \
                   result comes out again";
    Rename: "`dream dataset rename NAME NEW` gives the registered one another name, `dream dataset add \
             NAME PATH` this one";
    MoreMemory: "raise `--memory`";
    LessMemory: "lower `--batch-size` or `--memory` where pictures are made (on a GPU `--set batch=N`), \
                 `--set training.batch_size=N` in a training";
    CudaLibraries: "libcuda.so.1 comes with NVIDIA's driver, the others with a CUDA toolkit of the version \
                    that ends their names; `LD_LIBRARY_PATH` names the folder where they are, and `--device \
                    cpu` needs none of them";
    OtherDevice: "`--device cpu` needs no GPU, and `dream imagine --precision f32` none of these kernels";
    Replace: "`--force` replaces it";
    NoBytes: "`dream export TABLE -o FILE.parquet` writes it (images also go to a folder as PNG files, `-o \
              FOLDER`), `dream sql` selects the other columns";
    GoOn: "once that is mended the same command goes on: `dream export --to` writes what is missing, \
           `dream import --from` takes it in";
    Credentials: "`dream export --help` names the variables for credentials and the endpoint";
    NameTraining: "`dream evaluate --train-activations RUN` names them";
    NameValidation: "`dream evaluate --validation-split SPLIT` or `--validation-activations RUN` names them";
}

/// Returns the exit code of a failure.
pub fn exit_code(error: &Error) -> u8 {
    if error.is::<Usage>() || refusals(error).is_some() {
        return 2;
    }
    let before_work = !error.is::<Failed>();
    match Kind::of(error.as_ref()) {
        // What is named is not there, or is there already, or cannot be had as it was asked for.
        Some(Kind::Missing | Kind::Exists | Kind::Refused) if before_work => 2,
        Some(Kind::Interrupted) if bars::terminated() => TERMINATED,
        Some(Kind::Interrupted) => INTERRUPTED,
        _ => 1,
    }
}

/// Returns what was refused before any work, where that is the error.
pub fn refusals(error: &Error) -> Option<&[Refusal]> {
    match error.downcast_ref::<StageError>() {
        Some(StageError::Refused(refusals)) => Some(refusals),
        _ => None,
    }
}

/// Returns what can be done about an error, where a command or an option helps.
pub fn of(error: &Error) -> Option<Remedy> {
    error.chain().find_map(|cause| {
        let stage = cause.downcast_ref().and_then(of_stage);
        stage
            .or_else(|| cause.downcast_ref().and_then(of_ask))
            .or_else(|| cause.downcast_ref().and_then(of_store))
            .or_else(|| cause.downcast_ref().and_then(of_query))
            .or_else(|| cause.downcast_ref().and_then(of_exchange))
            .or_else(|| cause.downcast_ref().and_then(of_archive))
            .or_else(|| cause.downcast_ref().and_then(of_dataset))
            .or_else(|| cause.downcast_ref().and_then(of_diffusion))
            .or_else(|| cause.downcast_ref().and_then(of_gpu))
            .or_else(|| cause.downcast_ref().and_then(of_tensor))
    })
}

/// Returns what can be done about an error of a stage.
pub fn of_stage(error: &StageError) -> Option<Remedy> {
    match error {
        StageError::UnknownSource { .. } => Some(Remedy::Register),
        StageError::Contradicted { .. } => Some(Remedy::AsItSays),
        StageError::InputStage { .. } => Some(Remedy::ListStage),
        StageError::InputUnfinished {
            status: Status::Running,
            ..
        } => Some(Remedy::IsItRunning),
        StageError::InputUnfinished {
            status: Status::Partial,
            ..
        } => Some(Remedy::MakeAgain),
        StageError::OtherHead(_) => Some(Remedy::NewHead),
        StageError::ScoreInput {
            role: Role::Train, ..
        } => Some(Remedy::NameTraining),
        StageError::ScoreInput { .. } => Some(Remedy::NameValidation),
        StageError::Store(error) => of_store(error),
        StageError::Dataset(error) => of_dataset(error),
        StageError::Diffusion(error) => of_diffusion(error),
        StageError::Exchange(error) => of_exchange(error),
        StageError::Candle(error) => of_tensor(error),
        _ => None,
    }
}

fn of_ask(error: &AskError) -> Option<Remedy> {
    match error {
        AskError::Stage(error) => of_stage(error),
        AskError::Store(error) => of_store(error),
        _ => None,
    }
}

fn of_store(error: &StoreError) -> Option<Remedy> {
    match error {
        StoreError::UnknownRun { .. } => Some(Remedy::ListRuns),
        StoreError::UnknownDataset { .. } => Some(Remedy::Register),
        StoreError::Missing { .. } | StoreError::IsFolder { .. } => Some(Remedy::OtherStore),
        StoreError::Corrupt { .. }
        | StoreError::CorruptBlob { .. }
        | StoreError::CorruptRecord { .. }
        | StoreError::Unsound { .. } => Some(Remedy::Verify),
        StoreError::NotAStore { path, .. } => Some(match may_be_store(path) {
            true => Remedy::OtherOrRecover,
            false => Remedy::OtherStore,
        }),
        StoreError::Truncated { .. } | StoreError::Damaged { .. } => Some(Remedy::Recover),
        StoreError::BadCopy { .. } => Some(Remedy::Verify),
        StoreError::Finished { .. } | StoreError::Conflict { .. } => Some(Remedy::RemoveRun),
        StoreError::OtherResult { .. } => Some(Remedy::OtherResult),
        StoreError::InUse { .. } => Some(Remedy::Cascade),
        StoreError::AliasTaken { .. } => Some(Remedy::MoveAlias),
        StoreError::UnknownAlias { .. } => Some(Remedy::ListAliases),
        StoreError::MergeConflict { .. } => Some(Remedy::WhichIsRight),
        StoreError::DatasetChanged { .. } => Some(Remedy::Rename),
        _ => None,
    }
}

/// Says whether something that is no store may be what is left of one: it is no other file that is known.
pub fn may_be_store(path: &Path) -> bool {
    path.is_file() && matches!(Content::at(path), Ok(Content::Unknown | Content::Redb))
}

fn of_query(error: &QueryError) -> Option<Remedy> {
    match error {
        QueryError::Store(error) => of_store(error),
        QueryError::Memory { .. } => Some(Remedy::MoreMemory),
        QueryError::Exchange(error) => of_exchange(error),
        _ => None,
    }
}

fn of_exchange(error: &ExchangeError) -> Option<Remedy> {
    match error {
        ExchangeError::Exists { .. } => Some(Remedy::Replace),
        ExchangeError::Unsupported { .. } => Some(Remedy::NoBytes),
        ExchangeError::Members { members, .. } if members.len() > 1 => Some(Remedy::Member),
        _ => None,
    }
}

fn of_archive(error: &ArchiveError) -> Option<Remedy> {
    match error {
        ArchiveError::Unreachable { .. } => Some(Remedy::GoOn),
        ArchiveError::Unfinished {
            status: Status::Running,
            ..
        } => Some(Remedy::IsItRunning),
        ArchiveError::Unfinished {
            status: Status::Partial,
            ..
        } => Some(Remedy::MakeAgain),
        ArchiveError::Denied { .. } | ArchiveError::NoBucket { .. } => Some(Remedy::Credentials),
        ArchiveError::Exchange(error) => of_exchange(error),
        ArchiveError::Store(error) => of_store(error),
        _ => None,
    }
}

fn of_dataset(error: &DatasetError) -> Option<Remedy> {
    match error {
        DatasetError::Image { reason, .. } if reason == dream_ood::content::POINTER => Some(Remedy::FetchLfs),
        DatasetError::Image { .. } => Some(Remedy::LeaveOut),
        DatasetError::Pointer { .. } => Some(Remedy::FetchLfs),
        DatasetError::Configs { .. } => Some(Remedy::NameConfig),
        DatasetError::ClassSets { .. } => Some(Remedy::SayClasses),
        DatasetError::Foreign { .. } => Some(Remedy::Unpack),
        DatasetError::Layout { .. } => Some(Remedy::WhatIsRead),
        _ => None,
    }
}

fn of_diffusion(error: &DiffusionError) -> Option<Remedy> {
    match error {
        DiffusionError::NoTokenizer { .. } => Some(Remedy::NameTokenizer),
        DiffusionError::NotOneToken { .. } => Some(Remedy::SeveralTokens),
        DiffusionError::Compute(error) => of_tensor(error),
        _ => None,
    }
}

fn of_tensor(error: &candle_core::Error) -> Option<Remedy> {
    if let candle_core::Error::Cuda(error) = error
        && let Some(error) = error.downcast_ref()
    {
        return of_gpu(error);
    }
    (Kind::of(error) == Some(Kind::Resource)).then_some(Remedy::LessMemory)
}

fn of_gpu(error: &GpuError) -> Option<Remedy> {
    match error {
        GpuError::Libraries(_) => Some(Remedy::CudaLibraries),
        GpuError::TooOld { .. } => Some(Remedy::OtherDevice),
        GpuError::Device(error) => of_tensor(error),
        GpuError::NotBuilt => None,
    }
}

#[cfg(test)]
mod tests {
    use clap::Command;

    use super::*;
    use crate::commands::Cli;

    /// Returns whether a command, or one below it, has the option.
    fn has(command: &Command, option: &str) -> bool {
        let own = command.get_arguments().any(|arg| arg.get_long() == Some(option));
        own || command.get_subcommands().any(|below| has(below, option))
    }

    #[test]
    fn remedies_name_commands_and_options_that_there_are() {
        let mut program = Cli::grammar();
        // Only then there is `--help`.
        program.build();
        for remedy in Remedy::ALL {
            let mut named = 0;
            for quoted in remedy.text().split('`').skip(1).step_by(2) {
                let mut words = quoted.split(' ').peekable();
                let mut command = &program;
                if words.next_if_eq(&"dream").is_some() {
                    while let Some(below) = words.peek().and_then(|w| command.find_subcommand(w)) {
                        (command, _) = (below, words.next());
                    }
                    assert_ne!(command.get_name(), "dream", "{quoted}: there is no such command");
                }
                for option in words.filter_map(|word| word.strip_prefix("--")) {
                    assert!(has(command, option), "{quoted}: there is no option --{option}");
                }
                named += 1;
            }
            assert!(named > 0, "{remedy:?} names nothing");
        }
    }

    #[test]
    fn what_the_library_refuses_gets_a_remedy_through_every_wrapper() {
        let unknown = || StoreError::UnknownDataset {
            name: "set".into(),
            near: Vec::new(),
        };
        let old = GpuError::TooOld { major: 7, minor: 5 };
        let old = StageError::from(candle_core::Error::Cuda(old.into()));
        assert_eq!(of(&old.into()), Some(Remedy::OtherDevice));
        assert_eq!(of(&unknown().into()), Some(Remedy::Register));
        assert_eq!(of(&StageError::from(unknown()).into()), Some(Remedy::Register));
        assert_eq!(
            of(&Error::from(QueryError::from(unknown())).context("above")),
            Some(Remedy::Register)
        );
        assert_eq!(of(&Usage("no".into()).into()), None);
        assert_eq!(exit_code(&Usage("no".into()).into()), 2);
        assert_eq!(exit_code(&unknown().into()), 2);
        assert_eq!(exit_code(&anyhow::anyhow!("something else")), 1);
        assert_eq!(exit_code(&StageError::Refused(Vec::new()).into()), 2);
        assert_eq!(exit_code(&Failed::of(StageError::Refused(Vec::new()))), 2);
        assert_eq!(exit_code(&Failed::of(unknown().into())), 1);
        assert_eq!(of(&Failed::of(unknown().into())), Some(Remedy::Register));
    }
}
