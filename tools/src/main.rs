//! `dream`: the command-line program of `dream-ood`. The only place of the project that prints.

mod bars;
mod choices;
mod device;
mod globals;
#[macro_use]
mod output;
mod commands;
mod host;
mod memory;
mod remedy;
mod session;
mod table;
mod target;

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;
use clap::FromArgMatches as _;

use crate::commands::{Cli, Verdict};

fn main() -> ExitCode {
    memory::keep_freed();
    dream_ood::keep_caught_panics_quiet();
    fail_beyond_file_limit();
    match run() {
        Ok(Verdict::Good) => ExitCode::SUCCESS,
        Ok(Verdict::Found) => ExitCode::FAILURE,
        // Whoever read our output has seen enough: `dream ls | head`.
        Err(error) if output::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            output::aside(format_args!("error: {}", output::one_line(&error)));
            ExitCode::from(remedy::exit_code(&error))
        }
    }
}

/// Lets a write beyond the largest file that is allowed (`ulimit -f`) fail, as it does on a full disk, so
/// that what it began is removed; without this it ends the process.
fn fail_beyond_file_limit() {
    #[cfg(unix)]
    let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, std::sync::Arc::default());
}

/// Returns the arguments, `help --help` as `help help`: clap takes what follows `help` for a command.
fn arguments() -> Vec<OsString> {
    let mut arguments: Vec<OsString> = std::env::args_os().collect();
    if let [_, help, option] = arguments.as_mut_slice()
        && *help == *"help"
        && (*option == *"--help" || *option == *"-h")
    {
        *option = OsString::from("help");
    }
    arguments
}

fn run() -> Result<Verdict> {
    let given = match Cli::grammar().try_get_matches_from(arguments()) {
        Ok(given) => given,
        Err(error) if error.use_stderr() => error.exit(),
        // What was asked for is the help or the version.
        Err(help) => {
            help.print()?;
            return Ok(Verdict::Good);
        }
    };
    let Cli { globals, command } = Cli::from_arg_matches(&given).unwrap_or_else(|error| error.exit());
    globals::refuse_unused(&given, command.uses())?;
    #[cfg(feature = "sql")]
    if let commands::Command::Sql(sql) = &command {
        sql.check(&given)?;
    }
    globals.device.check()?;
    command.refuse_several(&globals.device)?;
    session::set_threads(&globals)?;
    command.execute(&globals)
}
