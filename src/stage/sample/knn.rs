//! k-NN sampling: noise around features at the rim of a class, or at its core.

use dream_schema::OutlierKind;

use super::method::{Draw, Sampler, Section, Size, check_k};
use crate::outlier::{OutlierError, Sampled, Sampling, SamplingParams, Side, sample_class};

impl Section for SamplingParams {
    const NAME: &'static str = "knn";
    const SECTION: &'static str = "sampling";

    fn of_size(size: Size) -> Self {
        Self {
            k: size.k,
            ..Self::CIFAR100
        }
    }
}

impl Sampler for SamplingParams {
    fn check(&self) -> Result<(), OutlierError> {
        SamplingParams::check(self)
    }

    fn check_features(&self, n: usize, class: u32) -> Result<(), OutlierError> {
        check_k(self.k, n, class)?;
        let select = self.select;
        match select > n {
            true => Err(OutlierError::TooFewForSelect { class, n, select }),
            false => Ok(()),
        }
    }

    fn size(&self) -> Size {
        Size {
            count: self.count(),
            k: self.k,
            select: self.select,
        }
    }

    fn noise(&self) -> usize {
        self.noise_per_round
    }

    fn kind(&self) -> OutlierKind {
        match self.kind {
            Side::Outlier => OutlierKind::Outlier,
            Side::Inlier => OutlierKind::Inlier,
        }
    }

    fn work(&self) -> (u64, &'static str) {
        (self.rounds_needed() as u64, "rounds")
    }

    fn tells(&self) -> bool {
        true
    }

    fn draw(&self, draw: &Draw<'_>) -> Result<Vec<Sampled>, OutlierError> {
        let (class, progress) = (draw.class(), draw.ctx.progress);
        sample_class(&Sampling {
            features: draw.features,
            m: class.vector.len(),
            params: self,
            seed: draw.seed,
            class: class.class_id,
            engine: draw.ctx.engine,
            progress: &|rounds| progress.advance(rounds),
            cancelled: &|| progress.cancelled(),
        })
    }
}
