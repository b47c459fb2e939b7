//! How much memory there is for pictures in the making, and what else there is room for. The library asks for
//! numbers; here they are found.

use std::path::Path;
use std::str::FromStr;

use dream_ood::engine::Engine;
use dream_ood::stage::Room;

use crate::device::Devices;
use crate::globals::Globals;

/// What is assumed where the machine does not say.
const ASSUMED: u64 = 4 << 30;

/// Tells the allocator to keep blocks of a few megabytes that are freed: most of what is read from a store is
/// freed soon, and the next block would ask the system for the same pages again. (Measured: two page faults
/// of three, and a third of the time of reading 30 MB.)
pub fn keep_freed() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: it sets two numbers of glibc's; no thread allocates yet.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 8 << 20);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 16 << 20);
    }
}

/// A number of bytes: `512M`, `8G`, `1.5GiB`, or plain bytes; units are powers of 1024.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bytes(pub u64);

impl FromStr for Bytes {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        let wrong =
            || format!("`{s}` is no amount of memory; expected a number with K, M, G or T, such as 8G");
        let digits = s.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = s[digits.len()..].to_ascii_uppercase();
        let unit = unit.trim_end_matches('B').trim_end_matches('I');
        let shift = match unit {
            "" => 0,
            "K" => 10,
            "M" => 20,
            "G" => 30,
            "T" => 40,
            _ => return Err(wrong()),
        };
        let number: f64 = digits.parse().map_err(|_| wrong())?;
        let bytes = number * (1_u64 << shift) as f64;
        if bytes.is_finite() && bytes >= 1.0 && bytes < u64::MAX as f64 {
            Ok(Self(bytes as u64))
        } else {
            Err(wrong())
        }
    }
}

/// Returns the bytes that pictures in the making may take: half of what is free now, because weights, the
/// store's cache and other programs need room, too.
pub fn for_pictures(engine: &Engine) -> u64 {
    let free = engine.free_memory().or_else(free_of_machine);
    free.unwrap_or(ASSUMED) / 2
}

/// Returns what there is room for, for checks before any work. What another processor than the CPU has free
/// is known only once it is used.
pub fn room(globals: &Globals) -> Room {
    Room {
        memory: (globals.device == Devices::Cpu).then(free_of_machine).flatten(),
        disk: free_of_disk(&globals.store),
        pictures: globals.batch_size.map(|n| n as usize),
        processor: Some(globals.device.processor()),
    }
}

/// What is free where the store lies, or will lie.
#[cfg(unix)]
fn free_of_disk(store: &Path) -> Option<u64> {
    let folder = match store.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let disk = rustix::fs::statvfs(folder).ok()?;
    disk.f_bavail.checked_mul(disk.f_frsize)
}

/// Other systems are not asked.
#[cfg(not(unix))]
fn free_of_disk(_: &Path) -> Option<u64> {
    None
}

/// Returns the bytes that a query may hold: half of what is free now.
pub fn for_queries() -> u64 {
    free_of_machine().unwrap_or(ASSUMED) / 2
}

/// What Linux says is available, and not more than what the control group of this process and its own limit
/// of addresses (`ulimit -v`) allow.
fn free_of_machine() -> Option<u64> {
    let available = meminfo(&std::fs::read_to_string("/proc/meminfo").ok()?)?;
    let group = Path::new("/sys/fs/cgroup");
    let number = |file: &str| {
        std::fs::read_to_string(group.join(file))
            .ok()?
            .trim()
            .parse()
            .ok()
    };
    let (limit, used): (Option<u64>, Option<u64>) = (number("memory.max"), number("memory.current"));
    let own = Path::new("/proc/self");
    let text = |file: &str| std::fs::read_to_string(own.join(file)).ok();
    let addresses = text("limits").and_then(|text| address_space(&text));
    let taken = text("status").and_then(|text| kilobytes(&text, "VmSize:"));
    let rest = |(limit, used): (u64, u64)| limit.saturating_sub(used);
    let ends = [limit.zip(used).map(rest), addresses.zip(taken).map(rest)];
    ends.into_iter().flatten().chain([available]).min()
}

/// Returns `MemAvailable` of `/proc/meminfo`, in bytes.
fn meminfo(text: &str) -> Option<u64> {
    kilobytes(text, "MemAvailable:")
}

/// Returns a number that a file of Linux's tells in kB, in bytes.
fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|l| l.strip_prefix(name))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1024)
}

/// Returns the soft limit of addresses that `/proc/self/limits` tells, in bytes; none if there is no limit.
fn address_space(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|l| l.strip_prefix("Max address space"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts() {
        let read = |s: &str| s.parse::<Bytes>().map(|b| b.0);
        assert_eq!(read("512"), Ok(512));
        assert_eq!(read("8G"), Ok(8 << 30));
        assert_eq!(read("1.5GiB"), Ok(3 << 29));
        assert_eq!(read("64mb"), Ok(64 << 20));
        for bad in ["", "G", "-1G", "0", "8X", "1e400T", "NaN", "8 G B"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn available_memory() {
        let text = "MemTotal:       24737344 kB\nMemFree: 1 kB\nMemAvailable:   21004288 kB\n";
        assert_eq!(meminfo(text), Some(21_004_288 * 1024));
        assert_eq!(meminfo("MemTotal: 3 kB\n"), None);
        assert_eq!(meminfo("MemAvailable: many kB\n"), None);
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
                      Max address space         3000000000           unlimited            bytes     \n";
        assert_eq!(address_space(limits), Some(3_000_000_000));
        assert_eq!(address_space(&limits.replace("3000000000", "unlimited ")), None);
    }
}
