use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use ::zip::write::SimpleFileOptions;
use ::zip::{CompressionMethod, ZipWriter};

use super::super::torch::TorchFile;
use super::fixture;

/// A pickle of {"w": tensor}, whose storage `0` is said to have six numbers.
fn program(kind: &str, offset: i32, shape: &[u64], strides: &[u64]) -> Vec<u8> {
    let tuple = |numbers: &[u64]| {
        let mut bytes = vec![b'('];
        for number in numbers {
            // The last bit is the sign.
            let wide = number.leading_zeros() == 0;
            bytes.extend([0x8a, if wide { 9 } else { 8 }]);
            bytes.extend(number.to_le_bytes());
            bytes.extend(wide.then_some(0));
        }
        bytes.push(b't');
        bytes
    };
    let storage = format!("((U\x07storagectorch\n{kind}\nU\x010U\x03cpuK\x06tQ");
    [
        b"\x80\x02}U\x01wctorch._utils\n_rebuild_tensor_v2\n",
        storage.as_bytes(),
        b"J",
        &offset.to_le_bytes(),
        &tuple(shape),
        &tuple(strides),
        b"\x89ccollections\nOrderedDict\n)RtRs.",
    ]
    .concat()
}

/// Writes a zip archive as `torch.save` does, with `floats` as its only storage.
fn write_zip(path: &Path, pickle: &[u8], floats: &[f32]) {
    let mut zip = ZipWriter::new(fs::File::create(path).unwrap());
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for (name, bytes) in [
        ("a/data.pkl", pickle),
        ("a/data/0", &crate::floats::to_bytes(floats)),
    ] {
        zip.start_file(name, stored).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap();
}

const FLOATS: [f32; 6] = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0];

fn open(kind: &str, offset: i32, shape: &[u64], strides: &[u64]) -> Result<Vec<f32>, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.pth");
    write_zip(&path, &program(kind, offset, shape, strides), &FLOATS);
    let file = TorchFile::open(&path).map_err(|e| e.to_string())?;
    let tensor = &file.tensors()["w"];
    assert_eq!(tensor.kind(), kind);
    let mut numbers = vec![0.0; tensor.count()];
    file.read(tensor, &mut numbers).map_err(|e| e.to_string())?;
    Ok(numbers)
}

#[test]
fn a_torchscript_program_is_called_by_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.pt");
    let mut zip = ZipWriter::new(fs::File::create(&path).unwrap());
    for name in ["a/data.pkl", "a/code/__torch__.py", "a/constants.pkl"] {
        zip.start_file(name, SimpleFileOptions::default()).unwrap();
    }
    zip.finish().unwrap();
    let said = TorchFile::open(&path).map(|_| ()).unwrap_err().to_string();
    assert!(
        said.contains("TorchScript") && said.contains("state_dict()"),
        "{said}"
    );
}

#[test]
fn numbers_are_where_strides_say() {
    assert_eq!(
        open("FloatStorage", 1, &[2, 2], &[2, 1]).unwrap(),
        [1.0, 2.0, 3.0, 4.0]
    );
    assert_eq!(
        open("FloatStorage", 0, &[2, 3], &[1, 2]).unwrap(),
        [0.0, 2.0, 4.0, 1.0, 3.0, 5.0]
    );
    assert_eq!(open("FloatStorage", 5, &[3], &[0]).unwrap(), [5.0; 3]);
    assert!(open("FloatStorage", 6, &[0, 7], &[7, 1]).unwrap().is_empty());
    assert!(
        open("LongStorage", 0, &[3], &[1])
            .unwrap_err()
            .contains("LongStorage")
    );
}

/// Shapes and strides that promise more than is there are refused when the file is opened, before anyone asks
/// for memory.
#[test]
fn promises_that_the_file_does_not_keep_are_refused() {
    let big = 1 << 62;
    let (storage, count, unknown) = (
        "bytes of its storage",
        "more numbers than there can be",
        "unknown way",
    );
    for (what, kind, offset, shape, strides, said) in [
        ("one too many", "FloatStorage", 0, &[7][..], &[1][..], storage),
        ("an offset", "FloatStorage", 1, &[6], &[1], storage),
        ("a stride", "FloatStorage", 0, &[2, 3], &[6, 1], storage),
        ("wider numbers", "DoubleStorage", 0, &[6], &[1], storage),
        (
            "a stride beyond 64 bits",
            "FloatStorage",
            0,
            &[3],
            &[big],
            storage,
        ),
        ("numbers that are not read", "LongStorage", 0, &[4], &[1], storage),
        (
            "a product beyond 64 bits",
            "FloatStorage",
            0,
            &[big, big],
            &[1, 1],
            count,
        ),
        (
            "no number, of such sides",
            "FloatStorage",
            0,
            &[big, big, 0],
            &[1, 1, 1],
            count,
        ),
        (
            "one number, over and over",
            "FloatStorage",
            0,
            &[1 << 40],
            &[0],
            "numbers for each of its",
        ),
        ("axes without strides", "FloatStorage", 0, &[2, 3], &[1], unknown),
        ("a negative offset", "FloatStorage", -1, &[2], &[1], unknown),
        ("a size of 64 bits", "FloatStorage", 0, &[u64::MAX], &[1], unknown),
        (
            "more axes than there are",
            "FloatStorage",
            0,
            &[1; 65],
            &[1; 65],
            unknown,
        ),
    ] {
        let error = open(kind, offset, shape, strides).expect_err(what);
        assert!(error.contains(said), "{what}: {error}");
    }
}

#[test]
fn archives_that_lie_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.pth");
    let said = |pickle: &[u8]| {
        write_zip(&path, pickle, &FLOATS);
        TorchFile::open(&path).unwrap_err().to_string()
    };
    let good = program("FloatStorage", 0, &[6], &[1]);
    let renamed = |from: &[u8], to: &[u8]| {
        let at = good.windows(from.len()).position(|w| w == from).unwrap();
        [&good[..at], to, &good[at + from.len()..]].concat()
    };
    assert!(said(&renamed(b"U\x010U", b"U\x019U")).contains("tensor `w`"));
    assert!(said(&renamed(b"tQ", b"t0N")).contains("unknown way"));
    assert!(said(b"]K\x01a.").contains("no dictionary"));
    assert!(said(&good[..good.len() - 1]).contains("pickle"));
    // A parameter in a parameter in a parameter, without end.
    let call = "ctorch._utils\n_rebuild_parameter\n";
    let deep = format!(
        "}}U\x01w{}N{}s.",
        format!("{call}(").repeat(9999),
        "tR".repeat(9999)
    );
    assert!(said(deep.as_bytes()).contains("unknown way"));
    // Nor do other deep things harm: lists in lists, and a dictionary in itself.
    assert!(said(&[&[b']'; 9999][..], &[b'a'; 9998], b"."].concat()).contains("no dictionary"));
    assert!(TorchFile::open(&path).is_err());
    write_zip(&path, b"}q\x00U\x0astate_dicth\x00s.", &FLOATS);
    assert!(TorchFile::open(&path).unwrap().tensors().is_empty());
    // The storage's entry says that it is longer than the file.
    write_zip(&path, &good, &FLOATS);
    let mut bytes = fs::read(&path).unwrap();
    let central = bytes.windows(4).rposition(|w| w == b"PK\x01\x02").unwrap();
    bytes[central + 20..central + 28].copy_from_slice(&[0, 0, 0, 16, 0, 0, 0, 16]);
    fs::write(&path, bytes).unwrap();
    assert!(TorchFile::open(&path).is_err());
}

/// Reads all that a file offers, into no more memory than the file's length allows.
fn read_all(path: &Path) -> Option<()> {
    let file = TorchFile::open(path).ok()?;
    for tensor in file.tensors().values().filter(|tensor| tensor.format().is_some()) {
        assert!(tensor.count() as u64 <= 16 * fs::metadata(path).unwrap().len());
        file.read(tensor, &mut vec![0.0; tensor.count()]).ok()?;
    }
    Some(())
}

fn files() -> [PathBuf; 3] {
    ["layouts.pth", "legacy.pth", "nested.pth"].map(|name| fixture("nn").join(name))
}

#[test]
fn every_cut_of_a_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cut.pth");
    for file in files() {
        let bytes = fs::read(&file).unwrap();
        read_all(&file).unwrap();
        for length in 0..bytes.len() {
            fs::write(&path, &bytes[..length]).unwrap();
            assert!(read_all(&path).is_none(), "{}: {length} bytes", file.display());
        }
    }
}

#[test]
fn no_change_of_a_byte_panics() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("changed.pth");
    for file in files() {
        let bytes = fs::read(&file).unwrap();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << (at % 8);
            fs::write(&path, changed).unwrap();
            read_all(&path);
        }
    }
}

/// The pickles of a file from before 1.6 are looked for in its first bytes, then in more of them.
#[test]
fn long_pickles_before_the_storages_are_found() {
    let old = fs::read(fixture("nn/legacy.pth")).unwrap();
    let object = old.windows(5).rposition(|w| w == b"\x80\x02}q\x00").unwrap();
    let text = [&(3_u32 << 20).to_le_bytes()[..], &vec![b'x'; 3 << 20]].concat();
    let long = [&old[..object + 2], b"X", &text, b"0", &old[object + 2..]].concat();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("long.pth");
    fs::write(&path, long).unwrap();
    let [found, expected] = [path, fixture("nn/legacy.pth")].map(|p| TorchFile::open(&p).unwrap());
    assert!(expected.tensors().len() == 6 && found.tensors().keys().eq(expected.tensors().keys()));
    read_all(found.path()).unwrap();
}

#[test]
fn views_whose_numbers_are_not_those_stored_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.pth");
    let open = |metadata: &[u8]| {
        let plain = program("FloatStorage", 0, &[2], &[1]);
        let (arguments, end) = plain.split_at(plain.len() - b"tRs.".len());
        write_zip(&path, &[arguments, metadata, end].concat(), &FLOATS);
        TorchFile::open(&path).map(|_| ()).map_err(|e| e.to_string())
    };
    assert_eq!(open(b"}U\x03neg\x89s"), Ok(()));
    for metadata in [&b"}U\x03neg\x88s"[..], b"}U\x04conj\x88s"] {
        let said = open(metadata).unwrap_err();
        assert!(said.contains("unknown way"), "{said}");
    }
}
