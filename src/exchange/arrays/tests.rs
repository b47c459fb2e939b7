use std::io::Write;

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::*;

/// A `.npy` file of these bytes.
fn npy(descr: &str, fortran: bool, shape: &str, bytes: &[u8]) -> Vec<u8> {
    let order = if fortran { "True" } else { "False" };
    let dict = format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}\n");
    let length = (dict.len() as u16).to_le_bytes();
    [b"\x93NUMPY\x01\x00", &length[..], dict.as_bytes(), bytes].concat()
}

fn floats(numbers: &[f32]) -> Vec<u8> {
    crate::floats::to_bytes(numbers)
}

/// An archive of these files, stored or deflated.
fn archive(files: &[(&str, Vec<u8>)], deflated: bool) -> Vec<u8> {
    if deflated {
        return deflated_archive(files);
    }
    let mut zip = ZipWriter::new(io::Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for (name, bytes) in files {
        zip.start_file(*name, stored).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// What `zip` without its feature does not write.
fn deflated_archive(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let (mut out, mut central) = (Vec::new(), Vec::new());
    for (name, bytes) in files {
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(bytes).unwrap();
        let packed = encoder.finish().unwrap();
        let mut crc = flate2::Crc::new();
        crc.update(bytes);
        let start = out.len() as u32;
        let mut common = vec![20, 0, 0, 0, 8, 0, 0, 0, 0, 0];
        common.extend(crc.sum().to_le_bytes());
        common.extend((packed.len() as u32).to_le_bytes());
        common.extend((bytes.len() as u32).to_le_bytes());
        common.extend((name.len() as u16).to_le_bytes());
        common.extend([0, 0]);
        out.extend(b"PK\x03\x04");
        out.extend(&common);
        out.extend(name.as_bytes());
        out.extend(&packed);
        central.extend(b"PK\x01\x02\x14\x00");
        central.extend(&common);
        central.extend([0; 10]);
        central.extend(start.to_le_bytes());
        central.extend(name.as_bytes());
    }
    let (start, length, count) = (out.len() as u32, central.len() as u32, files.len() as u16);
    out.extend(central);
    out.extend(b"PK\x05\x06\x00\x00\x00\x00");
    out.extend(count.to_le_bytes());
    out.extend(count.to_le_bytes());
    out.extend(length.to_le_bytes());
    out.extend(start.to_le_bytes());
    out.extend([0, 0]);
    out
}

fn open(bytes: &[u8]) -> Result<ArrayFile, ExchangeError> {
    thread_local! {
        static FOLDER: tempfile::TempDir = tempfile::tempdir().unwrap();
        static NEXT: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
    }
    // Numbers are read after the file was opened.
    let number = NEXT.replace(NEXT.get() + 1);
    let path = FOLDER.with(|folder| folder.path().join(number.to_string()));
    std::fs::write(&path, bytes).unwrap();
    ArrayFile::open(&path)
}

/// All numbers of the vectors of a file.
fn numbers(file: &ArrayFile, member: Option<&str>) -> Vec<f32> {
    let array = file.vectors(member).unwrap();
    let mut numbers = file.numbers(array).unwrap();
    let mut all = vec![0.0; array.count()];
    // In two pieces.
    let (first, rest) = all.split_at_mut(1);
    numbers.fill(first).unwrap();
    numbers.fill(rest).unwrap();
    assert!(numbers.fill(&mut [0.0]).is_err());
    all
}

const SIX: [f32; 6] = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0];

#[test]
fn numbers_are_those_of_their_checksum() {
    let six = npy("<f4", false, "(2, 3)", &floats(&SIX));
    let turned = npy("<f4", true, "(2, 3)", &floats(&SIX));
    let labels = npy("<i4", false, "(2,)", &[7_i32, 1].map(i32::to_le_bytes).concat());
    let sound = archive(
        &[("x.npy", six), ("f.npy", turned), ("labels.npy", labels)],
        false,
    );
    for (member, bytes) in [
        ("x", 5.0_f32.to_le_bytes()),
        ("f", 5.0_f32.to_le_bytes()),
        ("labels", 7_i32.to_le_bytes()),
    ] {
        let mut damaged = sound.clone();
        let from = damaged
            .windows(member.len() + 4)
            .position(|name| name == format!("{member}.npy").as_bytes());
        let from = from.unwrap();
        let at = from + damaged[from..].windows(4).position(|four| four == bytes).unwrap();
        damaged[at + 2] ^= 1;
        let file = open(&damaged).unwrap();
        let said = match member {
            "labels" => file.column(&["labels"], 2).unwrap_err().to_string(),
            _ => {
                let array = file.vectors(Some(member)).unwrap();
                let mut out = vec![0.0; 6];
                match file.numbers(array) {
                    Ok(mut numbers) => numbers.fill(&mut out).unwrap_err().to_string(),
                    Err(error) => error.to_string(),
                }
            }
        };
        assert!(said.contains("checksum"), "{member}: {said}");
    }
}

#[test]
fn arrays_of_every_order_and_packing_are_the_same() {
    let plain = npy("<f4", false, "(2, 3)", &floats(&SIX));
    assert_eq!(numbers(&open(&plain).unwrap(), None), SIX);
    let turned = npy("<f4", true, "(2, 3)", &floats(&[0.0, 3.0, 1.0, 4.0, 2.0, 5.0]));
    assert_eq!(numbers(&open(&turned).unwrap(), None), SIX);
    let python2 = npy("<f4", false, "(2L, 3L)", &floats(&SIX));
    assert_eq!(numbers(&open(&python2).unwrap(), None), SIX);
    let labels = npy("<i8", false, "(2,)", &[7_i64, -1].map(i64::to_le_bytes).concat());
    for deflated in [false, true] {
        let files = [
            ("x.npy", plain.clone()),
            ("labels.npy", labels.clone()),
            ("f.npy", turned.clone()),
        ];
        let file = open(&archive(&files, deflated)).unwrap();
        assert_eq!(numbers(&file, Some("x")), SIX);
        assert_eq!(numbers(&file, Some("f")), SIX);
        assert_eq!(
            file.column(&["labels"], 2).unwrap(),
            Some(("labels", vec![7, -1]))
        );
        let other = file.column(&["labels"], 3).unwrap_err().to_string();
        assert!(other.contains("for each of the 3 rows"), "{other}");
        assert_eq!(file.column(&["places"], 3).unwrap(), None);
        let said = file.vectors(None).unwrap_err().to_string();
        assert!(
            said.contains("several arrays") && said.contains("`x` <f4 [2, 3]"),
            "{said}"
        );
        let said = file.vectors(Some("y")).unwrap_err().to_string();
        assert!(
            said.contains("no array of that name") && said.contains("`labels`"),
            "{said}"
        );
    }
}

#[test]
fn promises_that_the_file_does_not_keep_are_refused() {
    let said = |bytes: &[u8]| open(bytes).unwrap_err().to_string();
    let huge = npy("<f4", false, "(100, 1000000000000, 768)", &[0; 64]);
    assert!(said(&huge).contains("1000000000000"), "{}", said(&huge));
    let overflow = npy("<f4", false, "(9223372036854775807, 9223372036854775807)", &[]);
    assert!(said(&overflow).contains("more bytes than there are"));
    let empty = npy("<f4", false, "(9223372036854775807, 9223372036854775807, 0)", &[]);
    assert!(said(&empty).contains("more bytes than there are"));
    let long = said(&npy("<f4", false, "(2, 3)", &[0; 25]));
    assert!(long.contains("the length of the file"), "{long}");
    for deflated in [false, true] {
        let bomb = archive(&[("a.npy", huge.clone())], deflated);
        assert!(said(&bomb).contains("1000000000000"), "{}", said(&bomb));
    }
    // Within what deflate could hold, but not there.
    let short = archive(&[("a.npy", npy("<f4", false, "(2, 300)", &[0; 64]))], true);
    assert!(said(&short).contains("bytes in"), "{}", said(&short));
    // Nor where the archive says that it is.
    let mut lying = short;
    let (there, said_to_be) = (136_u32.to_le_bytes(), 2472_u32.to_le_bytes());
    while let Some(at) = lying.windows(4).position(|size| size == there) {
        lying[at..at + 4].copy_from_slice(&said_to_be);
    }
    let file = open(&lying).unwrap();
    let array = file.vectors(None).unwrap();
    assert!(file.numbers(array).unwrap().fill(&mut [0.0; 600]).is_err());
}

#[test]
fn what_is_no_file_of_vectors_is_called_by_its_name() {
    let said = |bytes: &[u8]| open(bytes).unwrap_err().to_string();
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 307328\n";
    assert!(said(pointer).contains("Git LFS pointer") && said(pointer).contains("307328"));
    assert!(said(b"<html>quota</html>").contains("web page"));
    assert!(said(b"").contains("empty file"));
    assert!(said(&archive(&[("a.png", vec![1])], false)).contains("np.savez"));
    let objects = open(&npy("|O", false, "(1,)", b"\x80\x03N.")).unwrap();
    let said = objects.vectors(None).unwrap_err().to_string();
    assert!(said.contains("Python objects"), "{said}");
    let integers = open(&npy("<i8", false, "(1, 2)", &[0; 16])).unwrap();
    assert!(integers.vectors(None).unwrap_err().to_string().contains("<i8"));
    for (shape, words) in [
        ("(0, 4)", "<f4 [0, 4]: there is no row"),
        ("(4, 0)", "there is no number"),
    ] {
        let empty = open(&npy("<f4", true, shape, &[])).unwrap();
        let said = empty.vectors(None).unwrap_err().to_string();
        assert!(said.contains(words), "{said}");
    }
    // It would be -1, a label of none.
    let large = archive(&[("labels.npy", npy("<u8", false, "(1,)", &[0xff; 8]))], false);
    let said = open(&large)
        .unwrap()
        .column(&["labels"], 1)
        .unwrap_err()
        .to_string();
    assert!(said.contains("number 0 is 18446744073709551615"), "{said}");
}

/// `pickle.dumps(numpy.arange(6, dtype="f4").reshape(2, 3), 2)`, and the same with its axes turned.
#[test]
fn pickled_arrays_are_read() {
    let pickle = |order: &[u8], bytes: &[f32]| {
        let head = b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n\
                     K\x00\x85C\x01b\x87R(K\x01K\x02K\x03\x86\
                     cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R(K\x03U\x01<NNN\
                     J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb";
        [&head[..], order, b"C\x18", &floats(bytes), b"tb."].concat()
    };
    assert_eq!(numbers(&open(&pickle(b"\x89", &SIX)).unwrap(), None), SIX);
    let turned = pickle(b"\x88", &[0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
    assert_eq!(numbers(&open(&turned).unwrap(), None), SIX);
}

#[test]
fn numbers_of_other_machines_are_turned_around() {
    let dir = tempfile::tempdir().unwrap();
    let numbers: Vec<u8> = [1.5_f32, -2.0, 3.0, 0.25, 8.0, 1e-3]
        .iter()
        .flat_map(|v| v.to_be_bytes())
        .collect();
    let labels: Vec<u8> = [7_i64, -1].iter().flat_map(|v| v.to_be_bytes()).collect();
    for (deflated, fortran) in [(false, false), (true, false), (false, true)] {
        let files = [
            ("a.npy", npy(">f4", fortran, "(2, 3)", &numbers)),
            ("labels.npy", npy(">i8", false, "(2,)", &labels)),
        ];
        let path = dir.path().join("big.npz");
        std::fs::write(&path, archive(&files, deflated)).unwrap();
        let file = ArrayFile::open(&path).unwrap();
        let mut read = [0.0; 6];
        file.numbers(&file.arrays()[0]).unwrap().fill(&mut read).unwrap();
        let expected = match fortran {
            false => [1.5, -2.0, 3.0, 0.25, 8.0, 1e-3],
            true => [1.5, 3.0, 8.0, -2.0, 0.25, 1e-3],
        };
        assert_eq!(read, expected, "deflated {deflated}, Fortran {fortran}");
        assert_eq!(
            file.column(&["labels"], 2).unwrap(),
            Some(("labels", vec![7, -1]))
        );
    }
    // pickle.dumps(np.array([1.5], ">f4"), 2)
    let pickled = b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R\
        (K\x01K\x01\x85cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R(K\x03U\x01>NNNJ\xff\xff\xff\xff\
        J\xff\xff\xff\xffK\x00tb\x89C\x04\x3f\xc0\x00\x00tb.";
    let path = dir.path().join("big.pkl");
    std::fs::write(&path, pickled).unwrap();
    let file = ArrayFile::open(&path).unwrap();
    let mut read = [0.0];
    file.numbers(&file.arrays()[0]).unwrap().fill(&mut read).unwrap();
    assert_eq!(read, [1.5]);
}

#[test]
fn arrays_of_a_pickle_that_share_their_numbers_are_no_more_than_the_file_has() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shared.pkl");
    let open = |arrays: usize| {
        // 240 bytes, and arrays of 60 numbers that are each made of them.
        let mut pickle = [&b"\x80\x02}(U\x05bytesC\xf0"[..], &[0; 240], b"q\x01"].concat();
        for array in 0..arrays {
            pickle.extend(format!("U\x03{array:03}").bytes());
            pickle.extend(
                b"cnumpy.core.numeric\n_frombuffer\n(h\x01cnumpy\ndtype\nU\x02f4K\x00K\x01\x87RK\x3c\x85\
                U\x01CtR",
            );
        }
        pickle.extend(b"u.");
        std::fs::write(&path, pickle).unwrap();
        ArrayFile::open(&path)
    };
    assert_eq!(open(1).unwrap().arrays().len(), 1);
    let said = open(200).unwrap_err().to_string();
    assert!(said.contains("more than the file has"), "{said}");
}
