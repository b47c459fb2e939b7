//! Features turned in a random direction until they are a given distance away.

use dream_schema::OutlierKind;

use super::method::{Draw, Sampler, Section, Size};
use crate::outlier::{BeyondParams, OutlierError, Sampled, beyond};

impl Section for BeyondParams {
    const NAME: &'static str = "beyond";
    const SECTION: &'static str = "beyond";

    fn of_size(size: Size) -> Self {
        Self {
            count: size.count,
            k: size.k,
            ..Self::DEFAULT
        }
    }
}

impl Sampler for BeyondParams {
    fn check(&self) -> Result<(), OutlierError> {
        BeyondParams::check(self)
    }

    fn size(&self) -> Size {
        Size {
            count: self.count,
            k: self.k,
            select: self.count,
        }
    }

    fn kind(&self) -> OutlierKind {
        OutlierKind::Beyond
    }

    fn draw(&self, draw: &Draw<'_>) -> Result<Vec<Sampled>, OutlierError> {
        let class = draw.class();
        beyond(draw.features, class.vector.len(), self, draw.seed, class.class_id)
    }
}
