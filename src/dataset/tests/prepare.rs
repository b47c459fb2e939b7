//! Pictures brought to the size of a network.

use super::*;

fn photo() -> (Value, Pixels) {
    let photo = json("prepare.json");
    let image = image::load_from_memory(&bytes(&photo["png"]))
        .unwrap()
        .into_rgb8();
    let pixels = Pixels {
        width: 23,
        height: 17,
        channels: 3,
        bytes: image.into_raw(),
    };
    (photo, pixels)
}

#[test]
fn grey_is_pillows_luma() {
    let (photo, pixels) = photo();
    let preparation = Preparation::new(23, 17, Channels::Gray);
    let expected: Vec<u8> = bytes(&photo["grey"]).into_iter().flat_map(|v| [v; 3]).collect();
    assert_eq!(preparation.apply(pixels, "photo").unwrap(), expected);
}

#[test]
fn scaling_is_pillows_bilinear_to_one_level() {
    let (photo, pixels) = photo();
    for case in photo["scaled"].as_array().unwrap() {
        let size = |i: usize| case["size"][i].as_u64().unwrap() as usize;
        let preparation = Preparation {
            width: size(0),
            height: size(1),
            channels: if case["mode"] == "L" {
                Channels::Gray
            } else {
                Channels::Rgb
            },
            fit: Fit::Stretch,
            resize: None,
        };
        let actual = preparation.apply(pixels.clone(), "photo").unwrap();
        let expected = bytes(&case["pixels"]);
        assert_eq!(actual.len(), expected.len());
        let largest = actual.iter().zip(&expected).map(|(a, b)| a.abs_diff(*b)).max();
        assert!(
            largest <= Some(1),
            "{} {:?}: {largest:?}",
            case["mode"],
            case["size"]
        );
    }
}

#[test]
fn fitting_crops_pads_or_stretches() {
    // Columns 0 to 5 of one row, twice as high as it looks: 6 wide, 2 high.
    let image = Pixels {
        width: 6,
        height: 2,
        channels: 1,
        bytes: [0, 1, 2, 3, 4, 5].repeat(2),
    };
    let fitted = |width, height, fit| {
        let preparation = Preparation {
            width,
            height,
            channels: Channels::Rgb,
            fit,
            resize: None,
        };
        let rgb = preparation.apply(image.clone(), "row");
        rgb.map(|rgb| rgb.into_iter().step_by(3).collect::<Vec<u8>>())
    };
    assert_eq!(fitted(2, 2, Fit::Crop).unwrap(), [2, 3, 2, 3]);
    assert_eq!(fitted(3, 2, Fit::Crop).unwrap(), [2, 3, 4, 2, 3, 4]);
    assert_eq!(fitted(6, 2, Fit::Pad).unwrap(), image.bytes);
    assert_eq!(
        fitted(8, 3, Fit::Pad).unwrap(),
        [[0, 0, 1, 2, 3, 4, 5, 0], [0, 0, 1, 2, 3, 4, 5, 0], [0; 8]].concat()
    );
    assert_eq!(fitted(6, 4, Fit::Stretch).unwrap(), image.bytes.repeat(2));
    assert!(matches!(
        fitted(5, 2, Fit::Pad),
        Err(DatasetError::TooLarge {
            width: 6,
            target: (5, 2),
            ..
        })
    ));
    let nothing = Preparation::new(0, 2, Channels::Rgb);
    assert!(matches!(
        load(&fixture("shapes"), &Reading::default(), "test", &nothing),
        Err(DatasetError::TargetSize { .. })
    ));
}

#[test]
fn parts_are_cut_and_scaled() {
    let (_, pixels) = photo();
    let preparation = Preparation::new(4, 3, Channels::Rgb);
    let window = |x, y, width, height| Window { x, y, width, height };
    let part = preparation.cut(pixels.clone(), window(5, 2, 4, 3)).unwrap();
    let rows = (2..5).flat_map(|y| pixels.bytes[(y * 23 + 5) * 3..][..12].to_vec());
    assert_eq!(part, rows.collect::<Vec<u8>>());
    // The whole as a part is the whole stretched.
    let stretch = Preparation {
        fit: Fit::Stretch,
        ..preparation
    };
    assert_eq!(
        preparation.cut(pixels.clone(), window(0, 0, 23, 17)).unwrap(),
        stretch.apply(pixels.clone(), "photo").unwrap()
    );
    for bad in [
        window(20, 0, 4, 3),
        window(0, 0, 0, 3),
        window(0, usize::MAX, 1, 2),
        window(24, 0, 1, 1),
    ] {
        let error = preparation.cut(pixels.clone(), bad).unwrap_err();
        assert!(matches!(error, DatasetError::Window { .. }), "{error}");
    }
    // Shorter side to 12, then the middle: 23 x 17 becomes 16 x 12.
    let resized = Preparation {
        resize: Some(12),
        ..Preparation::new(8, 8, Channels::Rgb)
    };
    let scaled = Preparation {
        fit: Fit::Stretch,
        ..Preparation::new(16, 12, Channels::Rgb)
    };
    let scaled = scaled.apply(pixels.clone(), "photo").unwrap();
    let middle: Vec<u8> = (2..10)
        .flat_map(|y| scaled[(y * 16 + 4) * 3..][..24].to_vec())
        .collect();
    assert_eq!(resized.apply(pixels.clone(), "photo").unwrap(), middle);
    let small = Preparation {
        resize: Some(7),
        ..resized
    };
    assert!(matches!(
        small.apply(pixels, "photo"),
        Err(DatasetError::Resize { resize: 7, .. })
    ));
}
