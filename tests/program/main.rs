//! Whole-program tests: the binary `dream` as a user runs it, on the data that ships.

mod bad_input;
mod check;
mod datasets;
mod every_command;
mod foreign;
mod given;
mod golden;
mod imagine;
mod import;
mod mend;
mod models;
mod output;
mod partial;
mod pipeline;
mod questions;
mod sample;
mod submit;
mod support;
mod sweep;
mod training;
mod whole;
