//! The program that the kernels are compiled to (`tests/kernels/`), and how it is asked.

use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::{Arg, Launch};
use crate::engine::cuda::tested;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// What is compiled, each by itself, and what it reads.
const SOURCES: [&str; 7] = [
    "main", "block", "half", "hopper", "residual", "sampling", ARITHMETIC,
];
const ARITHMETIC: &str = "tensor_cores";
const FOLDERS: [&str; 4] = [
    "tests/kernels",
    "src/engine/cuda/half",
    "src/engine/cuda/residual",
    "src/engine/cuda/sampling",
];
/// Accesses outside of what was allocated, arrays overrun, misaligned vectors and integers that overflow end
/// the program. Sums and products are contracted nowhere; on a GPU they may be where a kernel lets them.
const CHECKED: [&str; 7] = [
    "-std=c++20",
    "-O1",
    "-g",
    "-Wno-unknown-pragmas",
    "-ffp-contract=off",
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=all",
];
/// For what does the arithmetic of whole instructions.
const FAST: [&str; 2] = ["-std=c++20", "-O3"];

/// A running device. Clones are the same one.
#[derive(Clone)]
pub(super) struct Program(Arc<Mutex<Pipes>>);

impl std::fmt::Debug for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Program")
    }
}

struct Pipes {
    child: Child,
    questions: BufWriter<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Pipes {
    fn open(program: &Path) -> Self {
        let mut child = Command::new(program)
            .env("ASAN_OPTIONS", "detect_leaks=0")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let questions = BufWriter::new(child.stdin.take().unwrap());
        let answers = BufReader::new(child.stdout.take().unwrap());
        Self {
            child,
            questions,
            answers,
        }
    }

    fn ask(&mut self, question: &[u8], answer: usize) -> std::io::Result<Vec<u8>> {
        let mut bytes = vec![0; answer];
        self.questions.write_all(question)?;
        self.questions.flush()?;
        self.answers.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

impl Drop for Pipes {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Program {
    /// Starts a device; none where a GPU is tested, and, with a word on stderr, where there is no C++
    /// compiler. With `DREAM_TEST_KERNELS=1` the latter is a failure.
    pub(super) fn start() -> Option<Self> {
        if tested() {
            return None;
        }
        static COMPILED: OnceLock<Option<PathBuf>> = OnceLock::new();
        let program = COMPILED.get_or_init(|| match compiler() {
            Ok(version) => Some(compiled(&version)),
            Err(reason) => {
                let required = std::env::var("DREAM_TEST_KERNELS").is_ok_and(|v| v == "1");
                assert!(!required, "CUDA kernels cannot be tested on this CPU: {reason}");
                let mut stderr = std::io::stderr();
                let _ = writeln!(stderr, "CUDA kernels are not tested on this CPU: {reason}");
                None
            }
        });
        let program = program.as_ref()?;
        // AddressSanitizer may find its place in memory taken, by chance: another start is another chance.
        let started = (0..20).find_map(|_| {
            let mut pipes = Pipes::open(program);
            pipes.ask(&question(b'A', &[0]), 8).ok().map(|_| pipes)
        });
        let pipes = started.expect("the emulated device does not start");
        Some(Self(Arc::new(Mutex::new(pipes))))
    }

    /// Writes a question, and reads `answer` bytes.
    fn ask(&self, question: &[u8], answer: usize) -> Vec<u8> {
        let mut pipes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pipes.ask(question, answer).unwrap_or_else(|_| {
            let mut said = String::new();
            if let Some(mut stderr) = pipes.child.stderr.take() {
                let _ = stderr.read_to_string(&mut said);
            }
            panic!("{said}");
        })
    }

    /// So many new bytes, each 0xff, which is NaN as a number.
    pub(super) fn allocate(&self, count: usize) -> u64 {
        let answer = self.ask(&question(b'A', &[count as u64]), 8);
        u64::from_ne_bytes(answer.try_into().unwrap())
    }

    pub(super) fn free(&self, at: u64) {
        if std::thread::panicking() {
            return; // perhaps because the device is gone
        }
        self.ask(&question(b'F', &[at]), 0);
    }

    pub(super) fn write(&self, at: u64, bytes: &[u8]) {
        let mut question = question(b'W', &[at, bytes.len() as u64]);
        question.extend_from_slice(bytes);
        self.ask(&question, 0);
    }

    pub(super) fn read(&self, at: u64, count: usize) -> Vec<u8> {
        self.ask(&question(b'R', &[at, count as u64]), count)
    }

    pub(super) fn numbers<T: bytemuck::Pod>(&self, at: u64, count: usize) -> Vec<T> {
        bytemuck::pod_collect_to_vec(&self.read(at, count * size_of::<T>()))
    }

    /// New memory that holds these numbers.
    pub(super) fn with<T: bytemuck::Pod>(&self, numbers: &[T]) -> u64 {
        let at = self.allocate(size_of_val(numbers));
        self.write(at, bytemuck::cast_slice(numbers));
        at
    }

    /// Reads so many numbers and frees their memory.
    pub(super) fn take<T: bytemuck::Pod>(&self, at: u64, count: usize) -> Vec<T> {
        let numbers = self.numbers(at, count);
        self.free(at);
        numbers
    }

    /// Runs a kernel.
    pub(super) fn launch(&self, launch: &Launch, args: &[Arg]) {
        let mut question = question(b'L', &[launch.kernel.len() as u64]);
        question.extend_from_slice(launch.kernel.as_bytes());
        let sizes = launch.grid.iter().chain(&launch.block).chain([&launch.memory]);
        let number = |question: &mut Vec<u8>, n: usize| {
            question.extend_from_slice(&(n as u64).to_ne_bytes());
        };
        for n in sizes {
            number(&mut question, *n);
        }
        number(&mut question, args.len());
        for arg in args {
            let bytes = arg.bytes();
            number(&mut question, bytes.len());
            question.extend_from_slice(&bytes);
        }
        self.ask(&question, 1);
    }
}

fn question(kind: u8, numbers: &[u64]) -> Vec<u8> {
    let mut question = vec![kind];
    question.extend(numbers.iter().flat_map(|n| n.to_ne_bytes()));
    question
}

/// The version of the C++ compiler, if there is one that can do what is needed.
fn compiler() -> Result<String, String> {
    if !cfg!(all(unix, any(target_arch = "x86_64", target_arch = "aarch64"))) {
        return Err("there is no emulation for it".to_owned());
    }
    let version = Command::new("c++").arg("--version").output();
    let version = version.map_err(|e| format!("there is no C++ compiler (c++: {e})"))?;
    let mut probe = Command::new("c++")
        .args(CHECKED)
        .args(["-x", "c++", "-", "-o", "/dev/null"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| format!("c++: {e}"))?;
    if let Some(mut stdin) = probe.stdin.take() {
        let _ = stdin.write_all(b"#include <deque>\nint main() {}\n");
    }
    let probe = probe.wait_with_output().map_err(|e| format!("c++: {e}"))?;
    match probe.status.success() {
        true => Ok(String::from_utf8_lossy(&version.stdout).into_owned()),
        false => Err(format!(
            "the C++ compiler cannot make a checked program:\n{}",
            String::from_utf8_lossy(&probe.stderr)
        )),
    }
}

/// Compiles the program, or finds what an earlier test made of the same files beside its own executable.
fn compiled(version: &str) -> PathBuf {
    let mut hash = blake3::Hasher::new();
    hash.update(format!("{version}{CHECKED:?}{FAST:?}").as_bytes());
    for folder in FOLDERS {
        let mut files: Vec<PathBuf> = std::fs::read_dir(Path::new(ROOT).join(folder))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|e| e != "rs"))
            .collect();
        files.sort();
        for file in files {
            hash.update(&std::fs::read(file).unwrap());
        }
    }
    let beside = std::env::current_exe().unwrap();
    let folder = beside.parent().unwrap().join("emulated-kernels");
    let program = folder.join(&hash.finalize().to_hex()[..16]);
    if !program.exists() {
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let made = tempfile::tempdir_in(&folder).unwrap();
        compile(made.path());
        std::fs::rename(made.path().join("program"), &program).unwrap();
    }
    program
}

fn compile(folder: &Path) {
    let object = |name: &str| folder.join(format!("{name}.o"));
    let run = |command: &mut Command| {
        let done = command.output().unwrap();
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{said}");
    };
    std::thread::scope(|scope| {
        for name in SOURCES {
            let source = Path::new(ROOT).join(format!("tests/kernels/{name}.cpp"));
            let options = if name == ARITHMETIC { &FAST[..] } else { &CHECKED };
            let mut command = Command::new("c++");
            command
                .args(options)
                .arg("-I")
                .arg(Path::new(ROOT).join("tests/kernels"));
            command.arg("-c").arg(source).arg("-o").arg(object(name));
            scope.spawn(move || run(&mut command));
        }
    });
    let objects = SOURCES.map(object);
    run(Command::new("c++")
        .args(CHECKED)
        .args(objects)
        .arg("-o")
        .arg(folder.join("program")));
}
