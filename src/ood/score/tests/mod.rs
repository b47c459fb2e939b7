//! Against OpenOOD, pytorch-ood, libmr and the authors' programs (tools/check/scores.py), and against bad
//! input.

mod fixture;
mod input;
mod peers;
mod registry;
