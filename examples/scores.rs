//! Times every score once on made-up activations: `scores [TRAIN] [TEST]`, by default the sizes of CIFAR-100
//! with all its OOD sets (50,000 and 50,000 pictures, 512 features, 100 classes).

use dream_ood::ood::Observed;
use dream_ood::ood::score::{Reference, SCORES};
use dream_ood::rng::Stream;
use std::time::Instant;

const WIDTH: usize = 512;
const CLASSES: usize = 100;

struct Set {
    features: Vec<f32>,
    logits: Vec<f32>,
    labels: Vec<u32>,
}

impl Set {
    /// Features around a centre a class, rectified, and what a head of the centres makes of them.
    fn new(n: usize, centres: &[f32], index: u64) -> Self {
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

    fn observed<'a>(&'a self, weight: &'a [f32], bias: &'a [f32]) -> Observed<'a> {
        Observed::of_logits(&self.logits, CLASSES)
            .and_then(|o| o.with_features(&self.features, WIDTH))
            .and_then(|o| o.with_labels(&self.labels))
            .and_then(|o| o.with_head(weight, bias))
            .unwrap()
    }
}

#[expect(clippy::print_stdout, reason = "an example")]
fn main() {
    let mut sizes = std::env::args()
        .skip(1)
        .map(|size| size.parse::<usize>().unwrap());
    let (train, test) = (sizes.next().unwrap_or(50_000), sizes.next().unwrap_or(50_000));
    let weight = Stream::new(0, "bench/centres", 0, 0).normals(CLASSES * WIDTH);
    let bias = vec![0.0; CLASSES];
    let (train, test) = (Set::new(train, &weight, 0), Set::new(test, &weight, 1));
    let validation = Set::new(5_000, &weight, 2);
    let reference = Reference {
        train: Some(train.observed(&weight, &bias)),
        validation: Some(validation.observed(&weight, &bias)),
    };
    let test = test.observed(&weight, &bias);
    let mut total = 0.0;
    for score in SCORES {
        let name = score.card().name;
        let begun = Instant::now();
        let fitted = score.fit(&score.values(&[]).unwrap(), &reference).unwrap();
        let fit = begun.elapsed().as_secs_f64();
        let found = fitted.score(&test).unwrap();
        let all = begun.elapsed().as_secs_f64();
        total += all;
        println!(
            "{name:12} fit {fit:7.2} s, score {:7.2} s, first {}",
            all - fit,
            found[0]
        );
    }
    println!("all          {total:7.2} s");
}
