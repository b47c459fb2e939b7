//! Scores of features that are changed before the last layer reads them, and what else is made of features
//! and last layer.

mod ash;
mod cadref;
mod dice;
mod gradnorm;
mod head;
mod histogram;
mod lts;
mod react;
mod scale;
mod top;
mod vra;
mod weiper;

pub(super) use top::{kept, largest, ratio};

pub use ash::{AshB, AshP, AshS};
pub use cadref::{CaRef, CadRef};
pub use dice::Dice;
pub use gradnorm::GradNorm;
pub use lts::Lts;
pub use react::React;
pub use scale::Scale;
pub use vra::Vra;
pub use weiper::Weiper;
