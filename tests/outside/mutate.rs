//! Changes of valid files, each named by the reader and its number, so that it can be made again.

use dream_ood::rng::Stream;

/// The domain of the changes' random numbers.
const DOMAIN: &str = "tests/outside";
/// The most changes of one file.
const CHANGES: u32 = 6;
/// The longest stretch that is taken out, put in or repeated.
const STRETCH: usize = 64;
/// Numbers at which readers go wrong.
const NUMBERS: [u64; 12] = [
    0,
    1,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0xffff_ffff,
    1 << 40,
    i64::MAX as u64,
    u64::MAX,
];
/// Words at which readers of text go wrong.
const WORDS: [&str; 12] = [
    "-1",
    "99999999999999999999",
    "1e999",
    "NaN",
    "null",
    "[]",
    "{}",
    "\"",
    "\n",
    "\t",
    "\u{feff}",
    "../",
];

/// Returns one of the files, changed; `number` says how.
pub fn mutated(name: &str, seeds: &[Vec<u8>], number: u64) -> Vec<u8> {
    let mut random = Random(Stream::new(0, &format!("{DOMAIN}/{name}"), 0, number));
    let mut bytes = seeds[random.below(seeds.len())].clone();
    for _ in 0..=random.0.below(CHANGES) {
        let other = &seeds[random.below(seeds.len())];
        change(&mut random, &mut bytes, other);
    }
    bytes
}

struct Random(Stream);

impl Random {
    /// A number less than `n`, or 0.
    fn below(&mut self, n: usize) -> usize {
        self.0.below((n as u32).max(1)) as usize
    }

    /// A stretch of `length` bytes.
    fn stretch(&mut self, length: usize) -> std::ops::Range<usize> {
        let start = self.below(length + 1);
        start..start + self.below((length - start).min(STRETCH) + 1)
    }
}

fn change(random: &mut Random, bytes: &mut Vec<u8>, other: &[u8]) {
    let at = random.below(bytes.len());
    match random.below(9) {
        0 if !bytes.is_empty() => bytes[at] ^= 1 << random.below(8),
        1 if !bytes.is_empty() => bytes[at] = random.0.next_u32() as u8,
        2 => {
            let number = NUMBERS[random.below(NUMBERS.len())];
            let width = 1 << random.below(4);
            let little = number.to_le_bytes();
            let mut written = little[..width].to_vec();
            if random.below(2) == 1 {
                written.reverse();
            }
            for (to, from) in bytes.iter_mut().skip(at).zip(written) {
                *to = from;
            }
        }
        3 => drop(bytes.drain(random.stretch(bytes.len()))),
        4 => {
            let stretch = bytes[random.stretch(bytes.len())].to_vec();
            bytes.splice(at..at, stretch);
        }
        5 => {
            let stretch = &other[random.stretch(other.len())];
            bytes.splice(at..at, stretch.iter().copied());
        }
        6 => bytes.truncate(at),
        7 => {
            let word = WORDS[random.below(WORDS.len())];
            bytes.splice(at..at, word.bytes());
        }
        _ => digits(random, bytes, at),
    }
}

/// Another number in the place of the digits from `at` on.
fn digits(random: &mut Random, bytes: &mut Vec<u8>, at: usize) {
    let Some(start) = bytes.iter().skip(at).position(u8::is_ascii_digit).map(|i| at + i) else {
        return;
    };
    let length = bytes[start..]
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let number = NUMBERS[random.below(NUMBERS.len())].to_string();
    bytes.splice(start..start + length, number.into_bytes());
}
