//! Features moved across the classifier's decision boundary (BOOD).

use dream_schema::OutlierKind;

use super::method::{Draw, Sampler, Section, Size, check_k};
use crate::outlier::{CrossingParams, Head, OutlierError, Sampled, crossing};

impl Section for CrossingParams {
    const NAME: &'static str = "boundary";
    const SECTION: &'static str = "boundary";

    fn of_size(size: Size) -> Self {
        Self {
            count: size.select,
            k: size.k,
            ..Self::DEFAULT
        }
    }
}

impl Sampler for CrossingParams {
    fn check(&self) -> Result<(), OutlierError> {
        CrossingParams::check(self)
    }

    fn check_features(&self, n: usize, class: u32) -> Result<(), OutlierError> {
        check_k(self.k, n, class)?;
        let count = self.count;
        // Each feature crosses once, or not at all.
        match count > n {
            true => Err(OutlierError::TooFewForCount { class, n, count }),
            false => Ok(()),
        }
    }

    fn size(&self) -> Size {
        Size {
            count: self.count,
            k: self.k,
            select: self.count,
        }
    }

    fn kind(&self) -> OutlierKind {
        OutlierKind::Boundary
    }

    fn draw(&self, draw: &Draw<'_>) -> Result<Vec<Sampled>, OutlierError> {
        let embeddings: Vec<&[f32]> = draw.classes.iter().map(|c| c.vector.as_slice()).collect();
        let head = Head::new(&embeddings)?;
        crossing(draw.features, &head, draw.number, self, draw.class().class_id)
    }

    fn temperature(&mut self) -> Option<&mut Option<f64>> {
        Some(&mut self.temperature)
    }
}
