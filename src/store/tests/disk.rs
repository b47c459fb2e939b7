//! A disk that fails: it counts its operations, and remembers what a loss of power would leave.

use std::io::{Error, ErrorKind};
use std::sync::{Arc, Mutex};

use redb::StorageBackend;

use crate::rng::Stream;

#[derive(Debug, Default)]
struct State {
    /// What the operating system shows.
    bytes: Vec<u8>,
    /// What survives for certain: as of the last sync.
    durable: Vec<u8>,
    /// Writes since then; any of them may survive.
    pending: Vec<(usize, Vec<u8>)>,
    /// Changing operations until the disk fails.
    left: usize,
    /// How many there were.
    used: usize,
}

/// The disk; clones are the same disk.
#[derive(Clone, Debug, Default)]
pub struct Disk(Arc<Mutex<State>>);

impl Disk {
    /// Returns a disk that holds `bytes` and fails at the change number `left`.
    pub fn new(bytes: Vec<u8>, left: usize) -> Self {
        let durable = bytes.clone();
        Self(Arc::new(Mutex::new(State {
            bytes,
            durable,
            left,
            ..State::default()
        })))
    }

    /// Returns how many changes were made.
    pub fn used(&self) -> usize {
        self.0.lock().unwrap().used
    }

    /// Returns what the process left: all writes, synced or not.
    pub fn after_kill(&self) -> Vec<u8> {
        self.0.lock().unwrap().bytes.clone()
    }

    /// Returns what a loss of power may leave: what was synced, and of each later write all, nothing or a
    /// part.
    pub fn after_power_loss(&self, seed: u64) -> Vec<u8> {
        let state = self.0.lock().unwrap();
        let mut stream = Stream::new(seed, "test/power", 0, 0);
        let mut image = state.durable.clone();
        // A longer file may or may not have been recorded.
        if image.len() < state.bytes.len() && stream.below(2) == 0 {
            image.resize(state.bytes.len(), 0);
        }
        for (offset, data) in &state.pending {
            let kept = match stream.below(3) {
                0 => 0,
                1 => data.len(),
                _ => stream.below(data.len() as u32 + 1) as usize,
            };
            let end = (offset + kept).min(image.len());
            if *offset < end {
                image[*offset..end].copy_from_slice(&data[..end - offset]);
            }
        }
        image
    }

    fn change(&self, change: impl FnOnce(&mut State)) -> Result<(), Error> {
        let mut state = self.0.lock().unwrap();
        if state.left == 0 {
            return Err(Error::new(ErrorKind::StorageFull, "no space left on device"));
        }
        state.left -= 1;
        state.used += 1;
        change(&mut state);
        Ok(())
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> Result<u64, Error> {
        Ok(self.0.lock().unwrap().bytes.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        let state = self.0.lock().unwrap();
        let from = offset as usize;
        let bytes = state.bytes.get(from..from + out.len());
        out.copy_from_slice(bytes.ok_or_else(|| Error::from(ErrorKind::UnexpectedEof))?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<(), Error> {
        self.change(|state| state.bytes.resize(len as usize, 0))
    }

    fn sync_data(&self) -> Result<(), Error> {
        self.change(|state| {
            state.durable = state.bytes.clone();
            state.pending.clear();
        })
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), Error> {
        self.change(|state| {
            let from = offset as usize;
            state.bytes[from..from + data.len()].copy_from_slice(data);
            state.pending.push((from, data.to_vec()));
        })
    }
}
