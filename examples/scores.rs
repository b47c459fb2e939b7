//! Times every score once on made-up activations: `scores [TRAIN] [TEST]`, by default the sizes of CIFAR-100
//! with all its OOD sets (50,000 and 50,000 pictures, 512 features, 100 classes).

#[path = "../benches/activations/mod.rs"]
mod activations;

use activations::{CLASSES, Set};
use dream_ood::ood::score::{Reference, SCORES};
use std::time::Instant;

#[expect(clippy::print_stdout, reason = "an example")]
fn main() {
    let mut sizes = std::env::args()
        .skip(1)
        .map(|size| size.parse::<usize>().unwrap());
    let (train, test) = (sizes.next().unwrap_or(50_000), sizes.next().unwrap_or(50_000));
    let weight = activations::centres();
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
