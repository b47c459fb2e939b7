//! The bytes of the program.

use std::borrow::Cow;

use super::super::PickleError;
use super::{Machine, Result};

impl<'a> Machine<'a> {
    pub(super) fn byte(&mut self) -> Result<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn length(&mut self) -> Result<usize> {
        Ok(u32::from_le_bytes(self.array()?) as usize)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let bytes = self.take(N)?;
        // `take` gave N bytes.
        bytes.try_into().or_else(|_| self.error("the end of the file"))
    }

    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let rest = self.bytes.get(self.next..).unwrap_or_default();
        match rest.get(..len) {
            Some(bytes) => {
                self.next += len;
                Ok(bytes)
            }
            None => self.cut(format!("the file ends, where {len} bytes more should follow")),
        }
    }

    /// The bytes up to the end of the line.
    pub(super) fn line(&mut self) -> Result<&'a [u8]> {
        let rest = self.bytes.get(self.next..).unwrap_or_default();
        match rest.iter().position(|b| *b == b'\n') {
            Some(len) => {
                self.next += len + 1;
                Ok(&rest[..len])
            }
            None => self.cut("a line that does not end"),
        }
    }

    pub(super) fn words(&mut self) -> Result<Cow<'a, str>> {
        Ok(String::from_utf8_lossy(self.line()?))
    }

    pub(super) fn cut<T>(&self, reason: impl Into<String>) -> Result<T> {
        Err(PickleError {
            at: self.at,
            reason: reason.into(),
            cut: true,
        })
    }
}
