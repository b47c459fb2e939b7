//! `dream`: the command-line program of `dream-ood`. The only place of the project that prints.

#![allow(clippy::print_stderr)]

mod args;
mod bars;
#[macro_use]
mod output;
mod commands;
mod memory;
mod remedy;
mod session;
mod table;
mod words;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use crate::commands::{Cli, Verdict};

fn main() -> ExitCode {
    match run() {
        Ok(Verdict::Good) => ExitCode::SUCCESS,
        Ok(Verdict::Found) => ExitCode::FAILURE,
        // Whoever read our output has seen enough: `dream ls | head`.
        Err(error) if output::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", output::one_line(&error));
            ExitCode::from(remedy::exit_code(&error))
        }
    }
}

fn run() -> Result<Verdict> {
    let Cli { args, command } = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => error.exit(),
        // What was asked for is the help or the version.
        Err(help) => {
            help.print()?;
            return Ok(Verdict::Good);
        }
    };
    session::set_threads(&args)?;
    command.execute(&args)
}
