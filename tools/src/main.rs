//! `dream`: the command-line program of `dream-ood`. The only place of the project that prints.

#![allow(clippy::print_stdout, clippy::print_stderr)]

mod args;
mod bars;
mod commands;
mod memory;
mod output;
mod session;
mod table;
mod words;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let args = args::Args::parse();
    match commands::dispatch(&args) {
        Ok(commands::Verdict::Good) => ExitCode::SUCCESS,
        Ok(commands::Verdict::Found) => ExitCode::FAILURE,
        // Whoever read our output has seen enough: `dream ls | head`.
        Err(error) if output::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", output::one_line(&error));
            if error.downcast_ref::<session::Usage>().is_some() || output::refusals(&error).is_some() {
                ExitCode::from(2)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}
