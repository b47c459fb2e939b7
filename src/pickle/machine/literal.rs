//! Numbers and strings in the program.

use super::super::Value;
use super::{FALSE, Machine, Result, TRUE, text};

impl Machine<'_> {
    pub(super) fn number(&mut self, opcode: u8) -> Result<()> {
        let integer = match opcode {
            b'J' => i64::from(i32::from_le_bytes(self.array()?)),
            b'K' => i64::from(self.byte()?),
            b'M' => i64::from(u16::from_le_bytes(self.array()?)),
            0x8a | 0x8b => return self.long(opcode),
            b'G' => {
                self.array::<8>()?;
                return self.push(Value::Float);
            }
            b'F' => {
                let line = std::str::from_utf8(self.line()?).ok();
                return match line.and_then(|line| line.parse::<f64>().ok()) {
                    Some(_) => self.push(Value::Float),
                    None => self.error("a number that is none"),
                };
            }
            _ => return self.integer_line(),
        };
        self.push(Value::Int(integer))
    }

    pub(super) fn integer_line(&mut self) -> Result<()> {
        let line = self.line()?;
        match line {
            b"00" => return self.push_id(FALSE),
            b"01" => return self.push_id(TRUE),
            _ => {}
        }
        let written = line.strip_suffix(b"L").unwrap_or(line);
        let digits = written.strip_prefix(b"-").unwrap_or(written);
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
            return self.error("a number that is none");
        }
        let integer = std::str::from_utf8(written)
            .ok()
            .and_then(|text| text.parse().ok());
        self.push(integer.map_or(Value::Long(written), Value::Int))
    }

    /// An integer of n bytes, little-endian, two's complement.
    pub(super) fn long(&mut self, opcode: u8) -> Result<()> {
        let len = match opcode {
            0x8a => usize::from(self.byte()?),
            _ => self.length()?,
        };
        let bytes = self.take(len)?;
        if len > 8 {
            return self.push(Value::Long(bytes));
        }
        let negative = bytes.last().is_some_and(|byte| *byte >= 0x80);
        let mut word = [if negative { 0xff } else { 0 }; 8];
        word[..len].copy_from_slice(bytes);
        self.push(Value::Int(i64::from_le_bytes(word)))
    }

    pub(super) fn string(&mut self, opcode: u8) -> Result<()> {
        match opcode {
            b'S' => match text::unquote(self.line()?) {
                Some(bytes) => self.push(Value::Bytes(bytes.into())),
                None => self.error("a string with a wrong quote or escape"),
            },
            b'V' => match text::unescape(self.line()?) {
                Some(text) => self.push(Value::Text(text.into())),
                None => self.error("a string with a wrong escape"),
            },
            _ => {
                let len = match opcode {
                    b'U' | b'C' | 0x8c => usize::from(self.byte()?),
                    b'T' | b'B' | b'X' => self.length()?,
                    _ => usize::try_from(u64::from_le_bytes(self.array()?)).unwrap_or(usize::MAX),
                };
                let bytes = self.take(len)?;
                if !matches!(opcode, b'X' | 0x8c | 0x8d) {
                    return self.push(Value::Bytes(bytes.into()));
                }
                match std::str::from_utf8(bytes) {
                    Ok(text) => self.push(Value::Text(text.into())),
                    Err(_) => self.error("a string that is not UTF-8"),
                }
            }
        }
    }
}
