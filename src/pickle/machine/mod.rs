//! The stack machine that a pickle is a program of. Opcodes are those of CPython's `pickletools`, protocols 0
//! to 5.

mod literal;
mod read;
mod text;

use std::collections::HashMap;

use super::{Call, Id, Pickle, PickleError, Value};

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

/// The values that every arena begins with, so that opcodes of one byte need no memory of their own.
const NONE: Id = Id(0);
const FALSE: Id = Id(1);
const TRUE: Id = Id(2);

impl<'a> Machine<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            next: 0,
            at: 0,
            values: vec![Value::None, Value::Bool(false), Value::Bool(true)],
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
        }
    }

    /// Runs the program.
    pub(super) fn run(mut self) -> Result<Pickle<'a>> {
        loop {
            self.at = self.next;
            let opcode = self.byte()?;
            if opcode == b'.' {
                let root = self.pop()?;
                return Ok(Pickle {
                    values: self.values,
                    root,
                    length: self.next,
                });
            }
            self.step(opcode)?;
        }
    }

    fn error<T>(&self, reason: impl Into<String>) -> Result<T> {
        Err(PickleError {
            at: self.at,
            reason: reason.into(),
            cut: false,
        })
    }

    fn step(&mut self, opcode: u8) -> Result<()> {
        match opcode {
            0x80 => match self.byte()? {
                0..=5 => Ok(()),
                version => self.error(format!("protocol {version}, of which 0 to 5 are read")),
            },
            // How long the part is that follows; it says so itself.
            0x95 => self.array::<8>().map(|_| ()),
            // A buffer need not be writable.
            0x98 => Ok(()),
            b'I' | b'L' | b'J' | b'K' | b'M' | 0x8a | 0x8b | b'F' | b'G' => self.number(opcode),
            b'S' | b'V' | b'U' | b'C' | b'T' | b'B' | b'X' | 0x8c..=0x8e | 0x96 => self.string(opcode),
            b'(' | b'0' | b'1' | b'2' | b'N' | 0x88 | 0x89 => self.arrange(opcode),
            b'p' | b'q' | b'r' | 0x94 | b'g' | b'h' | b'j' => self.remember(opcode),
            b']' | b'}' | b')' | b'l' | b't' | b'd' | 0x85..=0x87 | 0x8f | 0x91 => self.collect(opcode),
            b'a' | b'e' | 0x90 | b's' | b'u' | b'b' => self.fill(opcode),
            b'c' | 0x93 | b'P' | b'Q' => self.refer(opcode),
            b'R' | 0x81 | 0x92 | b'i' | b'o' => self.call(opcode),
            _ => self.error(format!(
                "the opcode {opcode:#04x}, which files of numbers do not need"
            )),
        }
    }

    /// What only moves on the stack.
    fn arrange(&mut self, opcode: u8) -> Result<()> {
        match opcode {
            b'(' => {
                self.marks.push(self.stack.len());
                Ok(())
            }
            // The topmost thing may be a mark.
            b'0' if self.marks.last() == Some(&self.stack.len()) => self.marked().map(|_| ()),
            b'0' => self.pop().map(|_| ()),
            b'1' => self.marked().map(|_| ()),
            b'2' => {
                let top = self.top()?;
                self.push_id(top)
            }
            0x88 => self.push_id(TRUE),
            0x89 => self.push_id(FALSE),
            _ => self.push_id(NONE),
        }
    }

    fn remember(&mut self, opcode: u8) -> Result<()> {
        let slot = match opcode {
            b'q' | b'h' => u32::from(self.byte()?),
            b'r' | b'j' => u32::from_le_bytes(self.array()?),
            // An entry of the memo takes an opcode: they are fewer than 2^32 where ids are.
            0x94 => self.memo.len() as u32,
            _ => match self.words()?.parse() {
                Ok(slot) => slot,
                Err(_) => return self.error("a memo that is no number"),
            },
        };
        if matches!(opcode, b'p' | b'q' | b'r' | 0x94) {
            let top = self.top()?;
            self.memo.insert(slot, top);
            return Ok(());
        }
        match self.memo.get(&slot).copied() {
            Some(id) => self.push_id(id),
            None => self.error(format!("the memo {slot}, which was never put")),
        }
    }

    /// Lists and the like, made of what is on the stack.
    fn collect(&mut self, opcode: u8) -> Result<()> {
        let value = match opcode {
            b']' => Value::List(Vec::new()),
            b'}' => Value::Dict(Vec::new()),
            b')' => Value::Tuple(Vec::new()),
            0x8f => Value::Set(Vec::new()),
            b'l' => Value::List(self.marked()?),
            b't' => Value::Tuple(self.marked()?),
            0x91 => Value::Set(self.marked()?),
            b'd' => {
                let pairs = self.marked()?;
                self.push(Value::Dict(Vec::new()))?;
                return self.set(pairs);
            }
            _ => {
                let count = usize::from(opcode - 0x84);
                let floor = self.marks.last().copied().unwrap_or(0);
                match self.stack.len().checked_sub(count) {
                    Some(start) if start >= floor => Value::Tuple(self.stack.split_off(start)),
                    _ => return self.error("a tuple of more values than there are"),
                }
            }
        };
        self.push(value)
    }

    /// What is put into a value that is there already.
    fn fill(&mut self, opcode: u8) -> Result<()> {
        match opcode {
            b'a' => {
                let item = self.pop()?;
                self.append(vec![item])
            }
            b'e' | 0x90 => {
                let items = self.marked()?;
                self.append(items)
            }
            b's' => {
                let value = self.pop()?;
                let key = self.pop()?;
                self.set(vec![key, value])
            }
            b'u' => {
                let pairs = self.marked()?;
                self.set(pairs)
            }
            _ => {
                let state = self.pop()?;
                let top = self.top()?;
                match self.value(top) {
                    Value::Call(call) => {
                        call.state = Some(state);
                        Ok(())
                    }
                    _ => self.error("the state of what no call has made"),
                }
            }
        }
    }

    fn append(&mut self, items: Vec<Id>) -> Result<()> {
        let top = self.top()?;
        let target = match self.value(top) {
            Value::List(list) | Value::Set(list) => list,
            Value::Call(call) => &mut call.items,
            _ => return self.error("values are appended to what is no list"),
        };
        target.extend(items);
        Ok(())
    }

    fn set(&mut self, pairs: Vec<Id>) -> Result<()> {
        let top = self.top()?;
        let (pairs, rest) = pairs.as_chunks::<2>();
        let entries = match self.value(top) {
            Value::Dict(entries) if rest.is_empty() => entries,
            Value::Call(call) if rest.is_empty() => &mut call.entries,
            _ => return self.error("keys and values are set in what is no dictionary"),
        };
        entries.extend(pairs.iter().map(|[key, value]| (*key, *value)));
        Ok(())
    }

    /// Names, of functions and of what is not in the pickle.
    fn refer(&mut self, opcode: u8) -> Result<()> {
        let value = match opcode {
            b'c' => self.name()?,
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                Value::Name(module, name)
            }
            b'P' => {
                let words = self.words()?;
                Value::Persistent(self.add(Value::Text(words))?)
            }
            _ => Value::Persistent(self.pop()?),
        };
        self.push(value)
    }

    /// The name in two lines.
    fn name(&mut self) -> Result<Value<'a>> {
        let (module, name) = (self.words()?, self.words()?);
        Ok(Value::Name(
            self.add(Value::Text(module))?,
            self.add(Value::Text(name))?,
        ))
    }

    fn call(&mut self, opcode: u8) -> Result<()> {
        let (function, arguments) = match opcode {
            // The function is among the values since the mark, or in the program.
            b'o' => {
                let mut values = self.marked()?;
                if values.is_empty() {
                    return self.error("a call of nothing");
                }
                let function = values.remove(0);
                (function, self.add(Value::Tuple(values))?)
            }
            b'i' => {
                let name = self.name()?;
                let arguments = self.marked()?;
                (self.add(name)?, self.add(Value::Tuple(arguments))?)
            }
            0x92 => {
                let (_keywords, arguments) = (self.pop()?, self.pop()?);
                (self.pop()?, arguments)
            }
            _ => {
                let arguments = self.pop()?;
                (self.pop()?, arguments)
            }
        };
        self.push(Value::Call(Box::new(Call {
            function,
            arguments,
            items: Vec::new(),
            entries: Vec::new(),
            state: None,
        })))
    }

    /// Puts a value into the arena.
    fn add(&mut self, value: Value<'a>) -> Result<Id> {
        let Ok(number) = u32::try_from(self.values.len()) else {
            return self.error("more than 2^32 values");
        };
        self.values.push(value);
        Ok(Id(number))
    }

    fn value(&mut self, id: Id) -> &mut Value<'a> {
        &mut self.values[id.0 as usize] // ids are made by `add` alone
    }

    fn push(&mut self, value: Value<'a>) -> Result<()> {
        let id = self.add(value)?;
        self.push_id(id)
    }

    fn push_id(&mut self, id: Id) -> Result<()> {
        self.stack.push(id);
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
}
