//! Scores of the logits alone.

mod energy;
mod entropy;
mod gen_entropy;
mod klm;
mod logit_gap;
mod max_logit;
mod msp;
mod openmax;
mod temperature;
mod weibull;
mod xent;

pub use energy::Energy;
pub use entropy::Entropy;
pub use gen_entropy::Gen;
pub use klm::Klm;
pub use logit_gap::LogitGap;
pub use max_logit::MaxLogit;
pub use msp::Msp;
pub use openmax::OpenMax;
pub use temperature::Temperature;
pub use xent::Xent;
