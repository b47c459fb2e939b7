//! A picture's size.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A picture's size in pixels; as text `512x768` (width first), or `512` for a square.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Size {
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        let (width, height) = s.split_once('x').unwrap_or((s, s));
        let side = |text: &str| text.parse::<usize>().ok().filter(|n| (1..=8192).contains(n));
        match (side(width), side(height)) {
            (Some(width), Some(height)) => Ok(Self { width, height }),
            _ => Err(format!(
                "`{s}` is no size: expected WIDTHxHEIGHT or one number for a square, each 1 to 8192"
            )),
        }
    }
}

impl TryFrom<String> for Size {
    type Error = String;

    fn try_from(s: String) -> Result<Self, String> {
        s.parse()
    }
}

impl From<Size> for String {
    fn from(size: Size) -> Self {
        size.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_one_number_or_two() {
        assert_eq!(
            "64x32".parse(),
            Ok(Size {
                width: 64,
                height: 32
            })
        );
        assert_eq!(
            "256".parse::<Size>().map(|size| size.to_string()),
            Ok("256x256".into())
        );
        for bad in ["", "x", "0", "8x", "8x0", "-8", "8x8x8", "9000"] {
            assert!(bad.parse::<Size>().is_err(), "{bad}");
        }
    }
}
