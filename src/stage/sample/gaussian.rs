//! Noise around the class embedding.

use dream_schema::OutlierKind;

use super::method::{Draw, Sampler, Section, Size};
use crate::outlier::{GaussianParams, OutlierError, Sampled, gaussian};

impl Section for GaussianParams {
    const NAME: &'static str = "gaussian";
    const SECTION: &'static str = "gaussian";

    fn of_size(size: Size) -> Self {
        Self {
            count: size.count,
            k: size.k,
            ..Self::DEFAULT
        }
    }
}

impl Sampler for GaussianParams {
    fn check(&self) -> Result<(), OutlierError> {
        GaussianParams::check(self)
    }

    fn size(&self) -> Size {
        Size {
            count: self.count,
            k: self.k,
            select: self.count,
        }
    }

    fn kind(&self) -> OutlierKind {
        OutlierKind::Gaussian
    }

    fn draw(&self, draw: &Draw<'_>) -> Result<Vec<Sampled>, OutlierError> {
        let class = draw.class();
        gaussian(&class.vector, draw.features, self, draw.seed, class.class_id)
    }
}
