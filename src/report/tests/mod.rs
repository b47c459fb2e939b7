//! Tests of the report: its parts, its sheets, and whole pages.

mod page;
mod parts;
mod sheets;

use super::Picture;
use crate::bitmap::Bitmap;

fn grey(width: usize, height: usize, value: u8) -> Picture {
    Picture {
        bitmap: Bitmap {
            width,
            height,
            rgb: vec![value; width * height * 3],
        },
        caption: format!("grey {value}"),
    }
}
