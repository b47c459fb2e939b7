//! Reading ahead: several blocks at once, by several threads, and no more than whoever takes them is likely
//! to want.

use std::collections::VecDeque;

use rayon::prelude::*;

use super::BlockInfo;

/// Bytes of blocks that are read at once.
const BYTES: u64 = 16 << 20;

/// What was read and has not been taken yet.
pub(crate) struct Ahead<T> {
    waiting: VecDeque<T>,
    window: usize,
}

impl<T: Send> Ahead<T> {
    /// Begins with nothing.
    pub fn new() -> Self {
        Self {
            waiting: VecDeque::new(),
            window: 0,
        }
    }

    /// Returns the next of what `read` makes of `infos`, in their order. One is read at first, then two, then
    /// four, up to `most` and two a thread.
    pub fn next(
        &mut self,
        infos: &mut impl Iterator<Item = BlockInfo>,
        most: usize,
        read: impl Fn(BlockInfo) -> T + Sync,
    ) -> Option<T> {
        if self.waiting.is_empty() {
            let threads = rayon::current_num_threads();
            self.window = (2 * self.window).clamp(1, (2 * threads).min(most).max(1));
            let (mut next, mut bytes) = (Vec::new(), 0);
            while next.len() < self.window && bytes < BYTES {
                let Some(info) = infos.next() else { break };
                bytes += info.bytes;
                next.push(info);
            }
            if next.len() < 2 {
                self.waiting.extend(next.into_iter().map(&read));
            } else {
                self.waiting
                    .extend(next.into_par_iter().map(&read).collect::<Vec<_>>());
            }
        }
        self.waiting.pop_front()
    }
}
