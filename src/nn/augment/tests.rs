use super::*;

fn spec() -> Augmentation {
    Augmentation {
        flip: true,
        crop_padding: 2,
        fill: 0,
        jitter: None,
        policy: None,
        mean: vec![0.5; 3],
        std: vec![0.25; 3],
    }
}

/// Pictures whose every byte tells where it was.
fn pictures(n: usize) -> Vec<u8> {
    (0..n * 8 * 8 * 3).map(|i| (i * 37 % 251) as u8 + 1).collect()
}

fn batch(bytes: &[u8]) -> Pixels<'_> {
    Pixels {
        bytes,
        height: 8,
        width: 8,
        channels: 3,
    }
}

#[test]
fn a_picture_varies_by_epoch_but_not_by_its_place_in_the_batch() {
    let bytes = pictures(40);
    let rows = |samples: &[u32], epoch| {
        let x = spec()
            .apply(batch(&bytes), samples, 7, epoch, &Device::Cpu)
            .unwrap();
        x.flatten_from(1).unwrap().to_vec2::<f32>().unwrap()
    };
    let all = rows(&(0..40).collect::<Vec<_>>(), 3);
    assert_eq!(rows(&[17], 3)[0], all[17]);
    assert!((0..40).filter(|i| rows(&[*i], 4)[0] != all[*i as usize]).count() > 30);
}

#[test]
fn every_picture_is_a_flipped_or_shifted_original() {
    let (bytes, spec) = (pictures(64), spec());
    let samples: Vec<u32> = (0..64).collect();
    let x = spec.apply(batch(&bytes), &samples, 1, 0, &Device::Cpu).unwrap();
    let x = x.flatten_from(1).unwrap().to_vec2::<f32>().unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for (i, found) in x.iter().enumerate() {
        let matches = |flip: bool, dy: isize, dx: isize| {
            (0..192).all(|at| {
                let (c, y, x) = (at / 64, (at / 8 % 8) as isize, (at % 8) as isize);
                let (y, x) = (y + dy, if flip { 7 - x } else { x } + dx);
                let inside = (0..8).contains(&y) && (0..8).contains(&x);
                let byte = if inside {
                    bytes[i * 192 + (y * 8 + x) as usize * 3 + c]
                } else {
                    0
                };
                (found[at] - (f32::from(byte) / 255.0 - 0.5) / 0.25).abs() < 1e-6
            })
        };
        let all = (0..50).map(|k| (k >= 25, k / 5 % 5 - 2, k % 5 - 2));
        let which = all
            .into_iter()
            .find(|(f, y, x)| matches(*f, *y, *x))
            .expect("no variation matches");
        seen.insert(which);
    }
    assert!(
        seen.len() > 25,
        "only {} of 50 variations in 64 pictures",
        seen.len()
    );
}

#[test]
fn still_pictures_are_the_originals_and_bad_input_is_refused() {
    let bytes = pictures(2);
    let x = spec()
        .still()
        .apply(batch(&bytes), &[1], 0, 0, &Device::Cpu)
        .unwrap();
    let first = x.flatten_all().unwrap().to_vec1::<f32>().unwrap()[0];
    assert!((first - (f32::from(bytes[192]) / 255.0 - 0.5) / 0.25).abs() < 1e-6);
    assert!(matches!(
        spec().apply(batch(&bytes), &[2], 0, 0, &Device::Cpu),
        Err(Error::Range {
            value: 2,
            limit: 2,
            ..
        })
    ));
    assert!(matches!(
        spec().apply(batch(&bytes[1..]), &[0], 0, 0, &Device::Cpu),
        Err(Error::Shape { .. })
    ));
}
