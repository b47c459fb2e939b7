//! The stack machine that a pickle is a program of.

use std::borrow::Cow;
use std::collections::HashMap;

use super::{Id, PickleError, Value, text};

/// Letters of a type's name, and axes of an array, that are read.
const LIMIT: usize = 8;

/// A pickle being read.
pub(super) struct Machine<'a> {
    bytes: &'a [u8],
    /// Where the next byte is.
    next: usize,
    /// Where the present opcode is.
    at: usize,
    values: Vec<Value<'a>>,
    stack: Vec<Id>,
    /// Lengths that the stack had at the marks.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
}

type Result<T> = std::result::Result<T, PickleError>;

impl<'a> Machine<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            next: 0,
            at: 0,
            values: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
        }
    }

    /// Runs the program; returns the arena and the number of the result.
    pub fn run(mut self) -> Result<(Vec<Value<'a>>, Id)> {
        loop {
            self.at = self.next;
            let opcode = self.byte()?;
            if opcode == b'.' {
                let root = self.pop()?;
                return Ok((self.values, root));
            }
            self.step(opcode)?;
        }
    }

    fn error<T>(&self, reason: impl Into<String>) -> Result<T> {
        Err(PickleError {
            at: self.at,
            reason: reason.into(),
        })
    }

    fn step(&mut self, opcode: u8) -> Result<()> {
        match opcode {
            0x80 => match self.byte()? {
                0..=3 => Ok(()),
                version => self.error(format!("protocol {version}, of which 0 to 3 are read")),
            },
            b'(' => {
                self.marks.push(self.stack.len());
                Ok(())
            }
            b'0' => self.pop().map(|_| ()),
            b'N' => self.push(Value::None),
            0x88 => self.push(Value::Bool(true)),
            0x89 => self.push(Value::Bool(false)),
            b'I' | b'L' => self.integer_line(),
            b'J' => {
                let word = self.array::<4>()?;
                self.push(Value::Int(i64::from(i32::from_le_bytes(word))))
            }
            b'K' => {
                let byte = self.byte()?;
                self.push(Value::Int(i64::from(byte)))
            }
            b'M' => {
                let word = self.array::<2>()?;
                self.push(Value::Int(i64::from(u16::from_le_bytes(word))))
            }
            0x8a => self.long(),
            b'S' => match text::unquote(self.line()?) {
                Some(bytes) => self.push(Value::Bytes(bytes.into())),
                None => self.error("a string with a wrong quote or escape"),
            },
            b'V' => match text::unescape(self.line()?) {
                Some(text) => self.push(Value::Text(text)),
                None => self.error("a string with a wrong escape"),
            },
            b'U' | b'C' => {
                let len = usize::from(self.byte()?);
                let bytes = self.take(len)?;
                self.push(Value::Bytes(bytes.into()))
            }
            b'T' | b'B' => {
                let len = self.length()?;
                let bytes = self.take(len)?;
                self.push(Value::Bytes(bytes.into()))
            }
            b'X' => {
                let len = self.length()?;
                match std::str::from_utf8(self.take(len)?) {
                    Ok(text) => self.push(Value::Text(text.to_owned())),
                    Err(_) => self.error("a string that is not UTF-8"),
                }
            }
            b'p' | b'q' | b'r' => {
                let slot = self.slot(opcode)?;
                let top = self.top()?;
                self.memo.insert(slot, top);
                Ok(())
            }
            b'g' | b'h' | b'j' => {
                let slot = self.slot(opcode)?;
                match self.memo.get(&slot) {
                    Some(id) => {
                        self.stack.push(*id);
                        Ok(())
                    }
                    None => self.error(format!("the memo {slot}, which was never put")),
                }
            }
            _ => self.compound(opcode),
        }
    }

    /// What is made of other values.
    fn compound(&mut self, opcode: u8) -> Result<()> {
        match opcode {
            b']' => self.push(Value::List(Vec::new())),
            b'}' => self.push(Value::Dict(Vec::new())),
            b')' => self.push(Value::Tuple(Vec::new())),
            b'l' => {
                let items = self.marked()?;
                self.push(Value::List(items))
            }
            b't' => {
                let items = self.marked()?;
                self.push(Value::Tuple(items))
            }
            0x85..=0x87 => {
                let count = usize::from(opcode - 0x84);
                let Some(start) = self.stack.len().checked_sub(count) else {
                    return self.error("a tuple of more values than there are");
                };
                let items = self.stack.split_off(start);
                self.push(Value::Tuple(items))
            }
            b'd' => {
                let pairs = self.marked()?;
                self.push(Value::Dict(Vec::new()))?;
                self.set_items(pairs)
            }
            b'a' => {
                let item = self.pop()?;
                self.append(vec![item])
            }
            b'e' => {
                let items = self.marked()?;
                self.append(items)
            }
            b's' => {
                let value = self.pop()?;
                let key = self.pop()?;
                self.set_items(vec![key, value])
            }
            b'u' => {
                let pairs = self.marked()?;
                self.set_items(pairs)
            }
            b'c' => {
                let (module, name) = (self.words()?, self.words()?);
                self.push(Value::Name(format!("{module}.{name}")))
            }
            b'R' => self.reduce(),
            b'b' => self.build(),
            _ => self.error(format!(
                "the opcode {opcode:#04x}, which files of numbers do not need"
            )),
        }
    }

    fn push(&mut self, value: Value<'a>) -> Result<()> {
        self.stack.push(self.values.len());
        self.values.push(value);
        Ok(())
    }

    fn pop(&mut self) -> Result<Id> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.pop() {
            Some(id) if self.stack.len() >= floor => Ok(id),
            _ => self.error("a value is used that is not there"),
        }
    }

    fn top(&self) -> Result<Id> {
        match self.stack.last() {
            Some(id) => Ok(*id),
            None => self.error("a value is used that is not there"),
        }
    }

    /// The values since the last mark.
    fn marked(&mut self) -> Result<Vec<Id>> {
        match self.marks.pop() {
            // A pop never goes below the last mark.
            Some(start) if start <= self.stack.len() => Ok(self.stack.split_off(start)),
            _ => self.error("the end of a list that was never begun"),
        }
    }

    fn append(&mut self, items: Vec<Id>) -> Result<()> {
        let top = self.top()?;
        match &mut self.values[top] {
            Value::List(list) => {
                list.extend(items);
                Ok(())
            }
            _ => self.error("values are appended to what is no list"),
        }
    }

    fn set_items(&mut self, pairs: Vec<Id>) -> Result<()> {
        let top = self.top()?;
        let (pairs, rest) = pairs.as_chunks::<2>();
        match &mut self.values[top] {
            Value::Dict(dict) if rest.is_empty() => {
                dict.extend(pairs.iter().map(|[key, value]| (*key, *value)));
                Ok(())
            }
            _ => self.error("keys and values are set in what is no dictionary"),
        }
    }

    /// Calls of the few names that are known: what they would return is made here.
    fn reduce(&mut self) -> Result<()> {
        let (arguments, callable) = (self.pop()?, self.pop()?);
        // Ids on the stack are those of values.
        let (Value::Tuple(arguments), Value::Name(name)) = (&self.values[arguments], &self.values[callable])
        else {
            return self.error("a call of what is no name");
        };
        let argument = |i: usize| arguments.get(i).map(|id| &self.values[*id]);
        let made = match name.as_str() {
            // numpy.core became numpy._core in NumPy 2.
            "numpy.core.multiarray._reconstruct" | "numpy._core.multiarray._reconstruct" => match argument(0)
            {
                Some(Value::Name(class)) if class == "numpy.ndarray" => Some(Value::EmptyArray),
                _ => None,
            },
            "numpy.dtype" => match argument(0) {
                Some(Value::Text(code)) if code.len() <= LIMIT => Some(Value::Dtype(code.clone())),
                Some(Value::Bytes(code)) if code.len() <= LIMIT => {
                    Some(Value::Dtype(String::from_utf8_lossy(code).into_owned()))
                }
                _ => None,
            },
            // How Python 3 writes bytes in protocols without them.
            "_codecs.encode" => match (arguments.first(), argument(0), argument(1)) {
                (Some(id), Some(Value::Text(_)), Some(Value::Text(codec))) if codec == "latin1" => {
                    Some(Value::Encoded(*id))
                }
                _ => None,
            },
            other => {
                let other = other.to_owned();
                return self.error(format!("a call of {other}, which is not done"));
            }
        };
        match made {
            Some(value) => self.push(value),
            None => self.error("a call of NumPy with arguments that are not an array's"),
        }
    }

    /// Fills an array with its state; a type's state (the byte order, of which bytes have none) is passed over.
    fn build(&mut self) -> Result<()> {
        let state = self.pop()?;
        let target = self.top()?;
        match (&self.values[target], &self.values[state]) {
            (Value::Dtype(_), Value::Tuple(_)) => Ok(()),
            (Value::EmptyArray, Value::Tuple(state)) => match self.filled(state)? {
                Some(array) => {
                    self.values[target] = array;
                    Ok(())
                }
                None => self.error("an array whose state is none"),
            },
            _ => self.error("the state of what is no array"),
        }
    }

    /// The array of a state (version, shape, type, whether the first axis is fastest, numbers).
    fn filled(&self, state: &[Id]) -> Result<Option<Value<'a>>> {
        let [_, shape, dtype, fortran, bytes] = state else {
            return Ok(None);
        };
        let (Value::Tuple(shape), Value::Dtype(dtype)) = (&self.values[*shape], &self.values[*dtype]) else {
            return Ok(None);
        };
        if dtype.trim_start_matches('|') != "u1" {
            return self.error(format!(
                "an array of type {dtype}, of which only u1 (bytes) is read"
            ));
        }
        let side = |id: &Id| match &self.values[*id] {
            Value::Int(side) => usize::try_from(*side).ok(),
            _ => None,
        };
        if shape.len() > LIMIT {
            return Ok(None);
        }
        let Some(shape) = shape.iter().map(side).collect::<Option<Vec<usize>>>() else {
            return Ok(None);
        };
        let fortran = match &self.values[*fortran] {
            Value::Bool(fortran) => *fortran,
            Value::Int(fortran) => *fortran != 0,
            _ => return Ok(None),
        };
        Ok(Some(Value::Array(shape, fortran, *bytes)))
    }

    fn integer_line(&mut self) -> Result<()> {
        let line = self.line()?;
        let value = match line {
            b"00" => Some(Value::Bool(false)),
            b"01" => Some(Value::Bool(true)),
            _ => {
                let digits = line.strip_suffix(b"L").unwrap_or(line);
                let digits = std::str::from_utf8(digits).ok();
                digits.and_then(|d| d.parse().ok()).map(Value::Int)
            }
        };
        match value {
            Some(value) => self.push(value),
            None => self.error("a number that is none, or of more than 64 bits"),
        }
    }

    /// An integer of n bytes, little-endian, two's complement.
    fn long(&mut self) -> Result<()> {
        let len = usize::from(self.byte()?);
        let bytes = self.take(len)?;
        if len > 8 {
            return self.error("a number of more than 64 bits");
        }
        let fill = if bytes.last().is_some_and(|b| *b >= 0x80) {
            0xff
        } else {
            0
        };
        let mut word = [fill; 8];
        word[..len].copy_from_slice(bytes);
        self.push(Value::Int(i64::from_le_bytes(word)))
    }

    fn slot(&mut self, opcode: u8) -> Result<u32> {
        match opcode {
            b'q' | b'h' => Ok(u32::from(self.byte()?)),
            b'r' | b'j' => Ok(u32::from_le_bytes(self.array()?)),
            _ => match self.words()?.parse() {
                Ok(slot) => Ok(slot),
                Err(_) => self.error("a memo that is no number"),
            },
        }
    }

    fn byte(&mut self) -> Result<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn length(&mut self) -> Result<usize> {
        Ok(u32::from_le_bytes(self.array()?) as usize)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let bytes = self.take(N)?;
        // `take` gave N bytes.
        bytes.try_into().or_else(|_| self.error("the end of the file"))
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let rest = self.bytes.get(self.next..).unwrap_or_default();
        match rest.get(..len) {
            Some(bytes) => {
                self.next += len;
                Ok(bytes)
            }
            None => self.error(format!("the file ends, where {len} bytes more should follow")),
        }
    }

    /// The bytes up to the end of the line.
    fn line(&mut self) -> Result<&'a [u8]> {
        let rest = self.bytes.get(self.next..).unwrap_or_default();
        match rest.iter().position(|b| *b == b'\n') {
            Some(len) => {
                self.next += len + 1;
                Ok(&rest[..len])
            }
            None => self.error("a line that does not end"),
        }
    }

    fn words(&mut self) -> Result<Cow<'a, str>> {
        Ok(String::from_utf8_lossy(self.line()?))
    }
}
