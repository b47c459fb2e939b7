//! What is known of a model before its weights are read.

use super::error::Result;
use super::geometry::Geometry;
use super::sampling::Sampling;
use super::scheduler::Schedule;
use super::span::{Placing, TokenSpan};
use super::tokenizer::Tokenizer;

/// A model without its weights: sizes, tokenizer and noise schedule, for what can be checked before days of
/// work begin.
pub struct Outline {
    geometry: Geometry,
    tokenizer: Tokenizer,
    schedule: Schedule,
}

impl std::fmt::Debug for Outline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outline")
            .field("geometry", &self.geometry)
            .finish_non_exhaustive()
    }
}

impl Outline {
    pub(super) fn new(geometry: Geometry, tokenizer: Tokenizer, schedule: Schedule) -> Self {
        Self {
            geometry,
            tokenizer,
            schedule,
        }
    }

    pub(super) fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// Returns the sizes.
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// Returns the tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Returns how often the model would be evaluated for a picture.
    ///
    /// # Errors
    /// If the model cannot be sampled so.
    pub fn evaluations(&self, sampling: Sampling) -> Result<usize> {
        self.schedule.evaluations(sampling.scheduler, sampling.steps)
    }

    /// Returns where a class word stands in a prompt.
    ///
    /// # Errors
    /// If it does not occur.
    pub fn placing(&self, prompt: &str, span: &TokenSpan) -> Result<Placing> {
        span.placing(&self.tokenizer, prompt)
    }
}
