//! Tests of the report: its parts, its sheets, and whole pages.

mod page;
mod parts;
mod sheets;

use super::Picture;

fn grey(width: usize, height: usize, value: u8) -> Picture {
    Picture {
        width,
        height,
        rgb: vec![value; width * height * 3],
        caption: format!("grey {value}"),
    }
}
