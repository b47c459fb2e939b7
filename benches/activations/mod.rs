//! Made-up activations for timing scores.

use dream_ood::ood::Observed;
use dream_ood::rng::Stream;

pub const WIDTH: usize = 512;
pub const CLASSES: usize = 100;

/// Features around a centre a class, rectified, and what a head of the centres makes of them.
pub struct Set {
    features: Vec<f32>,
    logits: Vec<f32>,
    labels: Vec<u32>,
}

impl Set {
    pub fn new(n: usize, centres: &[f32], index: u64) -> Self {
        let mut features = Stream::new(0, "bench/features", 0, index).normals(n * WIDTH);
        let labels: Vec<u32> = (0..n).map(|row| (row * 7 % CLASSES) as u32).collect();
        for (row, label) in features.chunks_mut(WIDTH).zip(&labels) {
            let centre = &centres[*label as usize * WIDTH..][..WIDTH];
            row.iter_mut()
                .zip(centre)
                .for_each(|(x, c)| *x = (*x + c).max(0.0));
        }
        let logit =
            |row: &[f32], centre: &[f32]| row.iter().zip(centre).map(|(a, b)| a * b).sum::<f32>() / 32.0;
        let rows = features.chunks(WIDTH);
        let logits = rows.flat_map(|row| centres.chunks(WIDTH).map(move |centre| logit(row, centre)));
        Self {
            logits: logits.collect(),
            features,
            labels,
        }
    }

    pub fn observed<'a>(&'a self, weight: &'a [f32], bias: &'a [f32]) -> Observed<'a> {
        Observed::of_logits(&self.logits, CLASSES)
            .and_then(|o| o.with_features(&self.features, WIDTH))
            .and_then(|o| o.with_labels(&self.labels))
            .and_then(|o| o.with_head(weight, bias))
            .unwrap()
    }
}

/// Returns the weight of a head whose rows are the classes' centres: `[CLASSES, WIDTH]`.
pub fn centres() -> Vec<f32> {
    Stream::new(0, "bench/centres", 0, 0).normals(CLASSES * WIDTH)
}
