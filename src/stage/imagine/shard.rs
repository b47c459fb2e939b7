//! A part of a run, for several machines to make together.

use std::ops::Range;
use std::str::FromStr;

/// Part `part` of `parts`, counted from 1: in every class, a stretch of consecutive pictures. The parts are
/// disjoint, together they are the whole, and their sizes differ by at most one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    part: u64,
    parts: u64,
}

impl Shard {
    /// The run as a whole.
    pub const WHOLE: Self = Self { part: 1, parts: 1 };

    /// Returns part `part` of `parts`, counted from 1; none if there is no such part.
    pub fn new(part: u64, parts: u64) -> Option<Self> {
        (1..=parts).contains(&part).then_some(Self { part, parts })
    }

    /// Returns which part it is, counted from 1.
    pub fn part(self) -> u64 {
        self.part
    }

    /// Returns how many parts there are.
    pub fn parts(self) -> u64 {
        self.parts
    }

    /// Returns the pictures of a class with `per_class` pictures that belong to this part.
    pub fn indices(&self, per_class: usize) -> Range<u64> {
        let edge = |i: u64| (u128::from(i) * per_class as u128 / u128::from(self.parts)) as u64;
        edge(self.part - 1)..edge(self.part)
    }
}

impl std::fmt::Display for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.part, self.parts)
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        let numbers = s
            .split_once('/')
            .and_then(|(part, parts)| Some((part.parse::<u64>().ok()?, parts.parse::<u64>().ok()?)));
        match numbers {
            Some((_, 0)) => Err("0 parts: at least one is needed".to_owned()),
            Some((part, parts)) => Self::new(part, parts)
                .ok_or_else(|| format!("the parts of {parts} are counted from 1 to {parts}")),
            None => Err("expected I/N, such as 1/4 for the first of four parts".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn parts_are_counted_from_one() {
        let shard: Shard = "2/3".parse().unwrap();
        assert_eq!((shard.to_string().as_str(), shard.indices(10)), ("2/3", 3..6));
        for bad in ["0/2", "3/2", "0/0", "1/0", "1", "a/b", "-1/2", "1/2/3", ""] {
            assert!(bad.parse::<Shard>().is_err(), "{bad}");
        }
        assert_eq!(Shard::WHOLE.indices(7), 0..7);
    }

    proptest! {
        #[test]
        fn parts_make_up_the_whole(parts in 1_u64..50, per_class in 0_usize..500) {
            let mut next = 0;
            for part in 1..=parts {
                let indices = Shard { part, parts }.indices(per_class);
                prop_assert_eq!(indices.start, next);
                let size = indices.end - indices.start;
                prop_assert!(size == per_class as u64 / parts || size == (per_class as u64).div_ceil(parts));
                next = indices.end;
            }
            prop_assert_eq!(next, per_class as u64);
        }
    }
}
