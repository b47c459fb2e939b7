//! Contact sheets, pixel by pixel.

use super::super::sheet::reduced;
use super::super::*;
use super::grey;
use crate::bitmap::Bitmap;

/// Returns (width, height, RGB bytes) of a PNG, by the decoder of the `png` crate.
fn decode(bytes: &[u8]) -> (usize, usize, Vec<u8>) {
    let mut decoder = png::Decoder::new(std::io::Cursor::new(bytes));
    decoder.set_transformations(png::Transformations::EXPAND);
    let mut reader = decoder.read_info().unwrap();
    let mut out = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut out).unwrap();
    out.truncate(info.buffer_size());
    if info.color_type == png::ColorType::Grayscale {
        out = out.into_iter().flat_map(|v| [v; 3]).collect();
    }
    (info.width as usize, info.height as usize, out)
}

#[test]
fn contact_sheet_pixels() {
    let mut first = grey(2, 1, 0);
    first.bitmap.rgb = vec![255, 0, 0, 0, 0, 255]; // red, blue
    let sheet = contact_sheet(&[first, grey(2, 1, 7), grey(2, 1, 9)], 2, 2).unwrap();
    let (width, height, rgb) = decode(&sheet);
    // Two cells of 4 x 2, a gap of 2, two rows.
    assert_eq!((width, height), (10, 6));
    let row = |y: usize| -> Vec<[u8; 3]> {
        (0..width)
            .map(|x| rgb[(y * width + x) * 3..][..3].try_into().unwrap())
            .collect()
    };
    let (r, b, w) = ([255, 0, 0], [0, 0, 255], [255; 3]);
    let top = [r, r, b, b, w, w, [7; 3], [7; 3], [7; 3], [7; 3]];
    assert_eq!(row(0), top);
    assert_eq!(row(1), top);
    assert_eq!(row(2), [w; 10]);
    assert_eq!(row(3), [w; 10]);
    assert_eq!(row(4), [[9; 3], [9; 3], [9; 3], [9; 3], w, w, w, w, w, w]);
}

#[test]
fn smaller_pictures_stand_in_the_middle_and_grey_stays_grey() {
    let (width, height, rgb) = decode(&contact_sheet(&[grey(3, 3, 0), grey(1, 1, 5)], 9, 1).unwrap());
    assert_eq!((width, height), (7, 3));
    let at = |x: usize, y: usize| rgb[(y * width + x) * 3];
    assert_eq!(
        [at(0, 0), at(3, 0), at(5, 1), at(4, 1), at(5, 0)],
        [0, 255, 5, 255, 255]
    );
}

#[test]
fn comparison_sheet_has_a_row_a_class_and_three_groups() {
    let class = |a, b, c| ClassSheet {
        class_name: String::new(),
        real: vec![grey(1, 1, a)],
        inliers: vec![grey(1, 1, b)],
        outliers: vec![grey(1, 1, c), grey(1, 1, c + 1)],
    };
    let (width, height, rgb) = decode(&comparison_sheet(&[class(1, 2, 3), class(11, 12, 13)], 2, 1).unwrap());
    assert_eq!((width, height), (17, 3));
    let row = |y: usize| -> Vec<u8> { (0..width).map(|x| rgb[(y * width + x) * 3]).collect() };
    let white = 255;
    // Each group: two cells and the gap between; groups four apart.
    assert_eq!(
        row(0),
        [
            1, white, white, white, white, white, white, 2, white, white, white, white, white, white, 3,
            white, 4
        ]
    );
    assert_eq!(row(1), [white; 17]);
    assert_eq!(row(2)[0], 11);
    let no_inliers = ClassSheet {
        real: vec![grey(1, 1, 1)],
        outliers: vec![grey(1, 1, 3)],
        ..ClassSheet::default()
    };
    assert_eq!(
        decode(&comparison_sheet(&[no_inliers], 1, 1).unwrap()).0,
        6,
        "a kind that no class has takes no room"
    );
}

#[test]
fn impossible_sheets_are_refused() {
    let wrong = Picture {
        bitmap: Bitmap {
            width: 2,
            height: 2,
            rgb: vec![0; 11],
        },
        caption: "torn".to_owned(),
    };
    let refused = contact_sheet(std::slice::from_ref(&wrong), 1, 1).unwrap_err();
    assert!(matches!(
        refused,
        ReportError::PictureSize {
            expected: 12,
            actual: 11,
            ..
        }
    ));
    assert!(refused.to_string().contains("torn"));
    assert!(matches!(
        contact_sheet(&[], 1, 1),
        Err(ReportError::EmptySheet { pictures: 0, .. })
    ));
    assert!(matches!(
        contact_sheet(&[grey(1, 1, 0)], 0, 1),
        Err(ReportError::EmptySheet { .. })
    ));
    assert!(matches!(
        contact_sheet(&[grey(1, 1, 0)], 1, 1 << 20),
        Err(ReportError::SheetTooLarge { .. })
    ));
    assert!(contact_sheet(&[grey(0, 0, 0)], 1, 1).is_err());
    let class = ClassSheet {
        real: vec![wrong],
        ..ClassSheet::default()
    };
    assert!(
        render(&Report {
            pictures: vec![class],
            ..Report::default()
        })
        .is_err()
    );
}

#[test]
fn reducing_takes_means_over_squares() {
    let whole = Bitmap {
        width: 3,
        height: 2,
        rgb: [0, 10, 20, 30, 40, 50].iter().flat_map(|v| [*v; 3]).collect(),
    };
    let small = reduced(&whole, 2);
    assert_eq!((small.width, small.height), (2, 1));
    assert_eq!(small.rgb, [20, 20, 20, 35, 35, 35]);
    assert_eq!(reduced(&whole, 3), whole);
}
