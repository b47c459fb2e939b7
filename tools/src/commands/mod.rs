//! The commands, one file each: its options and what it does.

use anyhow::Result;
use clap::{CommandFactory as _, Parser, Subcommand};

use crate::device::Devices;
use crate::globals::{ANSWERS, ASKS, COMPUTES, Globals, LISTS, PAINTS, PRINTS, SAVES, Shared, WRITES};
use crate::remedy;
use crate::session::Usage;

mod alias;
mod compare;
mod completions;
mod dataset;
mod demo;
mod diff;
mod du;
mod export;
mod gc;
mod ids;
mod import;
mod lineage;
mod list;
mod man;
mod merge;
mod nearest;
mod note;
mod place;
mod query;
mod recover;
mod regenerate;
mod repair;
mod report;
mod reproduce;
mod rm;
mod run;
mod scores;
mod seeds;
mod show;
#[cfg(feature = "sql")]
mod sql;
mod stages;
mod submit;
mod upgrade;
mod verify;

/// What a command found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Done, and nothing is wrong: exit code 0.
    Good,
    /// A check found something: exit code 1.
    Found,
}

/// What `--version` says behind the name.
const VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    "\ncommit: ",
    env!("DREAM_COMMIT"),
    "\ntarget: ",
    env!("DREAM_TARGET"),
    "\nfeatures: ",
    env!("DREAM_FEATURES"),
);

/// Runs the DREAM-OOD pipeline on an embedded artifact store, and answers questions about its runs.
#[derive(Debug, Parser)]
#[command(
    name = "dream",
    version,
    long_version = VERSION,
    max_term_width = 110,
    arg_required_else_help = true,
    after_help = remedy::EXIT_CODES
)]
pub struct Cli {
    #[command(flatten)]
    pub globals: Globals,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// Returns the grammar of the command line. The help of a command does not show shared options that it
    /// has no use for.
    pub fn grammar() -> clap::Command {
        let program = Self::command();
        let shared: Vec<clap::Arg> = program
            .get_arguments()
            .filter(|arg| arg.is_global_set())
            .cloned()
            .collect();
        let hidden = |command: clap::Command, uses: &[Shared]| {
            let idle = |arg: &&clap::Arg| Shared::is_idle(arg.get_id().as_str(), uses);
            let idle = shared.iter().filter(idle).cloned();
            command.args(idle.map(|arg| arg.hide(true)))
        };
        // `--seed -1` is a wrong number, not an option that there is not.
        let negative = |arg: clap::Arg| match arg.get_action().takes_values() {
            true => arg.allow_negative_numbers(true),
            false => arg,
        };
        let program = program.mut_subcommands(|command| command.mut_args(negative));
        let program = USES.iter().fold(program, |program, (name, uses)| {
            program.mut_subcommand(name.to_lowercase(), |command| hidden(command, uses))
        });
        stages::SET_EXAMPLES
            .iter()
            .fold(program, |program, (name, example)| {
                let help = format!("Changes any parameter of the stage, as in `--set {example}`");
                program.mut_subcommand(name, |command| {
                    command.mut_arg("set", |set| set.help(help.clone()).long_help(help))
                })
            })
    }
}

/// The commands, each with the shared options that it uses. Their help texts are the docs of their options'
/// types.
macro_rules! commands {
    ($($(#[$when:meta])* $name:ident($options:ty): $uses:expr,)*) => {
        // A doc here would be shown as that of the program.
        #[derive(Debug, Subcommand)]
        pub enum Command {
            $($(#[$when])* $name($options),)*
        }

        /// The commands with the shared options that each has a use for.
        const USES: &[(&str, &[Shared])] = &[$($(#[$when])* (stringify!($name), $uses),)*];

        impl Command {
            /// Returns the shared options that it has a use for.
            pub fn uses(&self) -> &'static [Shared] {
                match self {
                    $($(#[$when])* Self::$name(_) => $uses,)*
                }
            }

            /// Refuses several GPUs to what does all its work on one.
            pub fn refuse_several(&self, devices: &Devices) -> Result<(), Usage> {
                let share = matches!(
                    self,
                    Self::Demo(_)
                        | Self::Run(_)
                        | Self::Submit(_)
                        | Self::Imagine(_)
                        | Self::Reproduce(_)
                );
                if devices.gpus() < 2 || share {
                    return Ok(());
                }
                Err(Usage(format!(
                    "--device {devices}: this works on one GPU; several share the pictures of `imagine`, \
                     `run`, `demo`, `submit` and `reproduce`"
                )))
            }

            /// Executes the command.
            pub fn execute(&self, globals: &Globals) -> Result<Verdict> {
                match self {
                    $($(#[$when])* Self::$name(options) => options.execute(globals),)*
                }
            }
        }
    };
}

commands! {
    Demo(demo::Demo): PAINTS,
    Run(run::RunFile): PAINTS,
    Submit(submit::Submit): PAINTS,
    Dataset(dataset::Dataset): ANSWERS,
    Embed(stages::Embed): COMPUTES,
    Encode(stages::Encode): COMPUTES,
    Sample(stages::Sample): COMPUTES,
    Imagine(stages::Imagine): PAINTS,
    Select(stages::Select): COMPUTES,
    Detect(stages::Detect): COMPUTES,
    Observe(stages::Observe): COMPUTES,
    Evaluate(stages::Evaluate): COMPUTES,
    Compare(compare::Compare): ANSWERS,
    Scores(scores::Scores): LISTS,
    Ls(list::Ls): ANSWERS,
    Show(show::Show): ANSWERS,
    Lineage(lineage::Lineage): ANSWERS,
    Diff(diff::Diff): ANSWERS,
    Query(query::Query): ASKS,
    #[cfg(feature = "sql")]
    Sql(sql::Sql): ASKS,
    Nearest(nearest::Nearest): ANSWERS,
    Export(export::Export): WRITES,
    Import(import::Import): ANSWERS,
    Regenerate(regenerate::Regenerate): PAINTS,
    Reproduce(reproduce::Reproduce): PAINTS,
    Report(report::Report): ANSWERS,
    Rm(rm::Rm): ANSWERS,
    Alias(alias::Alias): ANSWERS,
    Note(note::Note): ANSWERS,
    Verify(verify::Verify): ANSWERS,
    Repair(repair::Repair): ANSWERS,
    Recover(recover::Recover): SAVES,
    Gc(gc::Gc): ANSWERS,
    Du(du::Du): ANSWERS,
    Merge(merge::Merge): ANSWERS,
    Upgrade(upgrade::Upgrade): ANSWERS,
    Completions(completions::Completions): PRINTS,
    Man(man::Man): PRINTS,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound_and_every_command_and_option_has_a_help_text() {
        let mut program = Cli::grammar();
        program.build();
        program.clone().debug_assert();
        let mut waiting: Vec<&clap::Command> = program.get_subcommands().collect();
        while let Some(command) = waiting.pop() {
            let name = command.get_name();
            assert!(command.get_about().is_some(), "{name} has no help text");
            for arg in command.get_arguments() {
                assert!(arg.get_help().is_some(), "{name} {}: no help text", arg.get_id());
            }
            waiting.extend(command.get_subcommands());
        }
    }
}
