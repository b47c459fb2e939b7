//! Memory for packed numbers: aligned, zero, and in large pages where it is large.
//!
//! The first touch of a page costs a trip into the system, and gigabytes of weights have a million pages of 4
//! KiB. An anonymous map that asks for pages of 2 MiB takes a small part of that time, and its addresses are
//! translated sooner afterwards.

use memmap2::MmapMut;
use std::ops::{Deref, DerefMut};

/// Columns of a tile.
pub(crate) const LANES: usize = 16;

/// 16 numbers on a cache line.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Lane(pub(crate) [f32; LANES]);

/// The least memory that a map of its own pays for.
const LARGE: usize = 2 << 20;

/// A fixed number of lanes.
pub(crate) struct Lanes {
    count: usize,
    memory: Memory,
}

enum Memory {
    Heap(Vec<Lane>),
    /// At least `count` lanes long.
    Pages(MmapMut),
}

impl Lanes {
    /// Returns `count` lanes of zeros.
    pub(crate) fn zeros(count: usize) -> Self {
        let bytes = count * size_of::<Lane>();
        let pages = (bytes >= LARGE).then(|| MmapMut::map_anon(bytes).ok()).flatten();
        let memory = match pages {
            Some(pages) => {
                // Only a wish: without it the pages are small.
                #[cfg(target_os = "linux")]
                let _ = pages.advise(memmap2::Advice::HugePage);
                Memory::Pages(pages)
            }
            None => Memory::Heap(vec![Lane([0.0; LANES]); count]),
        };
        Self { count, memory }
    }
}

impl Deref for Lanes {
    type Target = [Lane];

    fn deref(&self) -> &[Lane] {
        match &self.memory {
            Memory::Heap(lanes) => lanes,
            // SAFETY: the map is private, `count` lanes long and begins at a page, so at a multiple of a
            // lane's alignment; any bytes are numbers.
            Memory::Pages(pages) => unsafe { std::slice::from_raw_parts(pages.as_ptr().cast(), self.count) },
        }
    }
}

impl DerefMut for Lanes {
    fn deref_mut(&mut self) -> &mut [Lane] {
        match &mut self.memory {
            Memory::Heap(lanes) => lanes,
            // SAFETY: as above, and borrowed mutably.
            Memory::Pages(pages) => unsafe {
                std::slice::from_raw_parts_mut(pages.as_mut_ptr().cast(), self.count)
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_of_either_memory_are_zero_and_keep_what_is_written() {
        for count in [0, 5, LARGE / size_of::<Lane>() + 3] {
            let mut lanes = Lanes::zeros(count);
            assert_eq!(lanes.len(), count);
            assert!(lanes.iter().all(|lane| lane.0 == [0.0; LANES]));
            if let Some(last) = lanes.last_mut() {
                *last = Lane([7.0; LANES]);
            }
            assert_eq!(
                lanes.last().map(|lane| lane.0),
                (count > 0).then_some([7.0; LANES])
            );
        }
    }
}
