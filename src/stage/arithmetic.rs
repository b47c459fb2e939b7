//! In which precision a stage's network is computed: a parameter of the run, because it changes results.

use super::{Context, Refusals, StageError};
use crate::engine::{Engine, Precision, Processor, Work};

/// What a stage computes, and how.
#[derive(Clone, Copy, Debug)]
pub struct Arithmetic {
    /// The parameter that says how.
    pub key: &'static str,
    /// What is computed.
    pub work: Work,
    /// How.
    pub precision: Precision,
}

impl Arithmetic {
    /// The arithmetic of a stage without a choice.
    pub const PLAIN: Self = Self {
        key: "precision",
        work: Work::Other,
        precision: Precision::F32,
    };

    /// Refuses a precision that the processor does not have for this work.
    pub(super) fn check(self, on: Processor, refusals: &mut Refusals) {
        let able = self.work.precisions(on);
        if !able.contains(&self.precision) {
            let names: Vec<_> = able.iter().map(|precision| precision.name()).collect();
            let found = format!("the device `{on}` does not compute this in {}", self.precision);
            refusals.require(false, self.key, found, &names.join(" or "));
        }
    }

    /// Does `work` with the engine for it.
    ///
    /// # Errors
    /// If the context's engine cannot compute it so, unless f32 may stand in; then whatever the work fails
    /// with.
    pub(super) fn within<T>(
        self,
        ctx: &Context<'_>,
        work: impl FnOnce(&Context<'_>) -> Result<T, StageError>,
    ) -> Result<T, StageError> {
        if self.precision == Precision::F32 {
            return work(ctx);
        }
        let (engine, beside) = (&self.engine(ctx, ctx.engine)?, ctx.beside.iter());
        let beside = beside.map(|engine| self.engine(ctx, engine));
        let beside = &beside.collect::<Result<Vec<_>, _>>()?;
        work(&Context {
            engine,
            beside,
            ..*ctx
        })
    }

    fn engine(self, ctx: &Context<'_>, engine: &Engine) -> Result<Engine, StageError> {
        let Self { work, precision, .. } = self;
        if let Some(engine) = engine.at(work, precision) {
            return Ok(engine);
        }
        let name = engine.name();
        if !ctx.f32_stands_in {
            let what = format!(
                "{}: {precision}, which the engine `{name}` does not compute in",
                self.key
            );
            return Err(StageError::Mismatch(what));
        }
        let note = format!("f32 stands in for {precision}, which the engine `{name}` does not compute in");
        ctx.progress.note(&note);
        Ok(engine.clone())
    }
}

/// Returns the one form that a precision has as a parameter. That of CPUs is left out, so that runs from
/// before there was a choice keep their ids; and so is what is usual on GPUs where the network is one that is
/// computed in f32 there, too.
pub(super) fn settled(precision: Option<Precision>, work: Work) -> Option<Precision> {
    precision.filter(|precision| match precision {
        Precision::F32 => false,
        Precision::Tf32 => work != Work::Other,
        Precision::F16 | Precision::Bf16 => true,
    })
}
