//! What stands for a GPU that searches rounds.

use candle_core::Result;

use super::program::Program;
use super::{Arg, Launch};
use crate::engine::cuda::sampling::Machine;

/// Memory of the program.
pub(super) struct Memory {
    program: Program,
    at: u64,
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.program.free(self.at);
    }
}

impl Machine for Program {
    type Memory = Memory;

    fn memory(&self, bytes: usize) -> Result<Memory> {
        Ok(Memory {
            program: self.clone(),
            at: self.allocate(bytes),
        })
    }

    fn upload(&self, bytes: &[u8]) -> Result<Memory> {
        Ok(Memory {
            program: self.clone(),
            at: self.with(bytes),
        })
    }

    fn at(&self, memory: &Memory) -> u64 {
        memory.at
    }

    fn read(&self, memory: &Memory, bytes: usize) -> Result<Vec<u8>> {
        Ok(Program::read(self, memory.at, bytes))
    }

    fn launch(&self, launch: &Launch, args: &[Arg]) -> Result<()> {
        Program::launch(self, launch, args);
        Ok(())
    }
}
