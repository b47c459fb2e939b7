//! Whatever bytes a reader is given, it answers with a value or an error: it does not panic, and asks for no
//! more memory than the bytes justify. Small valid files are changed in many ways, always the same ones.
//!
//! A longer run: `OUTSIDE_EXECUTIONS=1000000 [OUTSIDE_READERS=npy,state] cargo test --release --test outside
//! -- --ignored --nocapture`.

mod memory;
mod mutate;
mod pictures;
mod seeds;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use dream_ood::outside::{READERS, Reader};

use memory::Counting;

#[global_allocator]
static MEMORY: Counting = Counting::new();

/// Changed files that a reader gets in an ordinary run.
const EXECUTIONS: u64 = 1500;
/// Bytes that a reader may ask for, whatever it is given: buffers, and what decompressors set aside.
const FREE: usize = 64 << 20;
/// Bytes that it may ask for beside, for each byte of the file: tensors may share their numbers.
const PER_BYTE: usize = 256;

/// Hands a reader its valid files, and then `executions` changed ones. Returns how many of these it could
/// read.
fn try_out(reader: &Reader, executions: u64) -> u64 {
    let folder = tempfile::tempdir().unwrap();
    let seeds = seeds::of(reader.name);
    assert!(
        !seeds.is_empty(),
        "{}: there are no valid files in tests/outside/seeds.rs",
        reader.name
    );
    for (number, seed) in seeds.iter().enumerate() {
        let read = attempt(reader, folder.path(), seed, &format!("valid file {number}"));
        assert_eq!(read, Ok(()), "{}: valid file {number}", reader.name);
    }
    let mut read = 0;
    for number in 0..executions {
        let bytes = mutate::mutated(reader.name, &seeds, number);
        read += u64::from(attempt(reader, folder.path(), &bytes, &format!("change {number}")).is_ok());
    }
    read
}

fn attempt(reader: &Reader, folder: &Path, bytes: &[u8], what: &str) -> Result<(), String> {
    let before = MEMORY.begin();
    // The Parquet library panics on some damaged files, which its reader catches: nothing to write about.
    std::panic::set_hook(Box::new(|_| {}));
    let result = catch_unwind(AssertUnwindSafe(|| reader.read_bytes(folder, bytes)));
    let _ = std::panic::take_hook();
    let asked = MEMORY.peak() - before;
    let name = reader.name;
    let Ok(result) = result else {
        let kept = std::env::temp_dir().join(format!("outside-{name}.{}", reader.extension));
        std::fs::write(&kept, bytes).unwrap();
        panic!("{name}: {what} panics; it is kept as {}", kept.display());
    };
    let bound = FREE + PER_BYTE * bytes.len();
    assert!(
        asked <= bound,
        "{name}: {what}, {} bytes, asks for {asked} bytes",
        bytes.len()
    );
    if let Err(said) = &result {
        assert!(!said.is_empty(), "{name}: {what}: an error without words");
    }
    result
}

#[test]
fn no_bytes_panic_or_ask_for_more_memory_than_they_justify() {
    for reader in READERS {
        try_out(reader, EXECUTIONS);
    }
}

#[test]
#[ignore = "takes hours"]
#[expect(clippy::print_stderr, reason = "counts are what it is run for")]
fn nor_do_many_more() {
    let count = std::env::var("OUTSIDE_EXECUTIONS").map_or(100_000, |text| text.parse().unwrap());
    let chosen = std::env::var("OUTSIDE_READERS").ok();
    let is_chosen = |name: &str| {
        chosen
            .as_ref()
            .is_none_or(|all| all.split(',').any(|one| one == name))
    };
    for reader in READERS.iter().filter(|reader| is_chosen(reader.name)) {
        let started = std::time::Instant::now();
        let read = try_out(reader, count);
        let seconds = started.elapsed().as_secs_f64();
        eprintln!(
            "{}: {count} changed files in {seconds:.0} s, {read} of them readable",
            reader.name
        );
    }
}
