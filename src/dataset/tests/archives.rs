//! Sets in archives.

use std::io::Write;

use super::layouts::{read, tree, words};
use super::*;

pub(super) fn tar(dir: &Path) -> Vec<u8> {
    let mut tar = ::tar::Builder::new(Vec::new());
    tar.append_dir_all("./set", dir).unwrap();
    tar.into_inner().unwrap()
}

pub(super) fn zip(dir: &Path, files: &[&str]) -> Vec<u8> {
    let mut out = ::zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options =
        ::zip::write::SimpleFileOptions::default().compression_method(::zip::CompressionMethod::Stored);
    for file in files {
        out.start_file(format!("set/{file}"), options).unwrap();
        out.write_all(&fs::read(dir.join(file)).unwrap()).unwrap();
    }
    out.finish().unwrap().into_inner()
}

#[test]
fn archives_hold_the_set_of_their_folder() {
    let files = ["train/a/x.png", "train/b/y.png", "test/a/z.png", "test/b/w.png"];
    let dir = tree(&files);
    let wanted = describe(dir.path(), &Reading::default()).unwrap();
    let out = tempfile::tempdir().unwrap();
    let whole = tar(dir.path());
    for (name, bytes) in [
        ("set.tar", whole.clone()),
        ("set.tar.gz", gzip(&whole)),
        ("set.tgz", gzip(&whole)),
        ("set.zip", zip(dir.path(), &files)),
        ("name-says-nothing", zip(dir.path(), &files)),
    ] {
        let path = out.path().join(name);
        fs::write(&path, &bytes).unwrap();
        let found = describe(&path, &Reading::default()).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(
            (found.kind, found.digest),
            (Kind::ImageFolder, wanted.digest),
            "{name}"
        );
        // A class list chooses in an archive too.
        let class = |name: &str| ClassFolder {
            folder: name.into(),
            name: name.into(),
        };
        let reading = Reading {
            classes: vec![class("b")],
            ..Reading::default()
        };
        assert_eq!(
            words(&describe(&path, &reading).unwrap()),
            "test 1 [b], train 1 [b]",
            "{name}"
        );
        fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        assert!(describe(&path, &Reading::default()).is_err(), "{name} cut");
    }
}

#[test]
fn shards_of_webdataset_have_their_labels() {
    let dir = tree(&["000.png", "001.png"]);
    fs::write(dir.path().join("000.cls"), "3").unwrap();
    fs::write(dir.path().join("001.cls"), "0\n").unwrap();
    let mut out = ::tar::Builder::new(Vec::new());
    out.append_dir_all("", dir.path()).unwrap();
    let shard = dir.path().join("train-000000.tar");
    fs::write(&shard, out.into_inner().unwrap()).unwrap();
    assert_eq!(read(&shard).unwrap(), "train 2 [0 3]");
    fs::write(dir.path().join("001.cls"), "cat").unwrap();
    fs::remove_file(&shard).unwrap();
    let said = read(dir.path()).unwrap_err().to_string();
    assert!(
        said.contains("001.cls") && said.contains("no class number"),
        "{said}"
    );
    fs::remove_file(dir.path().join("001.cls")).unwrap();
    let said = read(dir.path()).unwrap_err().to_string();
    assert!(said.contains("001.png has no label"), "{said}");
}

#[test]
fn numbers_beside_pictures_in_folders_are_their_labels() {
    let dir = tree(&["part0/0.png", "part0/1.png", "part1/0.seg.png", "part.1/a/0.png"]);
    let say = |name: &str, label: &str| fs::write(dir.path().join(name), label).unwrap();
    say("part0/0.cls", "3");
    say("part0/1.cls", "0");
    say("part1/0.cls", "1");
    say("part.1/a/0.cls", "3");
    assert_eq!(read(dir.path()).unwrap(), "all 4 [0 1 3]");
    fs::remove_file(dir.path().join("part1/0.cls")).unwrap();
    let said = read(dir.path()).unwrap_err().to_string();
    assert!(said.contains("part1/0.seg.png has no label"), "{said}");
    // Splits are labelled each for itself.
    let dir = tree(&["train/part0/0.png", "train/part1/0.png", "test/0.png"]);
    fs::write(dir.path().join("train/part0/0.cls"), "1").unwrap();
    fs::write(dir.path().join("train/part1/0.cls"), "0").unwrap();
    assert_eq!(read(dir.path()).unwrap(), "test 1, train 2 [0 1]");
    // Beside no picture they are of something else.
    let dir = tree(&["images/0.png", "images/1.png", "labels/0.txt"]);
    fs::write(dir.path().join("labels/0.cls"), "1").unwrap();
    assert_eq!(read(dir.path()).unwrap(), "all 2");
}

#[test]
fn links_in_an_archive_are_followed() {
    let dir = tree(&["a/x.png", "b/y.png"]);
    let link = |to: &mut ::tar::Builder<Vec<u8>>, kind, name: &str, target: &str| {
        let mut header = ::tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(0);
        to.append_link(&mut header, name, target).unwrap();
    };
    let with = |links: &[(::tar::EntryType, &str, &str)]| {
        let mut out = ::tar::Builder::new(Vec::new());
        // A link may come before what it leads to.
        links
            .iter()
            .for_each(|(kind, name, target)| link(&mut out, *kind, name, target));
        out.append_dir_all("set", dir.path()).unwrap();
        let path = dir.path().with_extension("tar");
        fs::write(&path, out.into_inner().unwrap()).unwrap();
        let found = read(&path);
        fs::remove_file(path).unwrap();
        found
    };
    use ::tar::EntryType::{Link, Symlink};
    let both = [
        (Link, "set/a/z.png", "set/a/x.png"),
        (Symlink, "set/b/w.png", "../a/z.png"),
    ];
    assert_eq!(with(&both).unwrap(), "all 4 [a b]");
    let said = with(&[(Symlink, "set/a/z.png", "/data/x.png")])
        .unwrap_err()
        .to_string();
    assert!(said.contains("set/a/z.png is a link to /data/x.png"), "{said}");
    let said = with(&[(Symlink, "set/c", "a")]).unwrap_err().to_string();
    assert!(said.contains("a link to the folder"), "{said}");
    assert_eq!(
        with(&[(Symlink, "set/README", "nowhere")]).unwrap(),
        "all 2 [a b]"
    );
}

#[test]
fn a_tar_that_is_not_whole_is_told() {
    let dir = tree(&["a/x.png", "a/y.png", "b/z.png"]);
    let whole = tar(dir.path());
    let out = tempfile::tempdir().unwrap();
    let said = |bytes: &[u8]| {
        let path = out.path().join("set.tar");
        fs::write(&path, bytes).unwrap();
        describe(&path, &Reading::default())
            .map(drop)
            .map_err(|error| error.to_string())
    };
    assert_eq!(said(&whole), Ok(()));
    // Cut before every header and in the end mark: each part is a tar with fewer members.
    let end = whole.len() - 1024;
    let headers = (512..=end)
        .step_by(512)
        .filter(|at| *at == end || whole[at + 257..].starts_with(b"ustar"));
    let headers = headers.collect::<Vec<_>>();
    assert!(headers.len() > 4, "{headers:?}");
    for at in headers {
        assert!(said(&whole[..at]).unwrap_err().contains("it is cut"), "{at}");
    }
    // Zeros where members were, and a second archive behind the first.
    let mut zeroed = whole.clone();
    let middle = whole.len() / 2 / 512 * 512;
    zeroed[middle - 1024..middle + 1024].fill(0);
    for bytes in [zeroed, [whole.clone(), whole].concat()] {
        assert!(said(&bytes).unwrap_err().contains("there is more"));
    }
}

#[test]
fn a_member_of_a_zip_is_what_its_checksum_says() {
    let dir = tree(&["a/x.png", "b/y.png"]);
    // A picture's pixels by themselves: nothing in it would tell.
    for name in ["a/x", "b/y"] {
        let image = image::RgbImage::from_pixel(8, 8, image::Rgb([1, 2, 3]));
        image.save(dir.path().join(format!("{name}.bmp"))).unwrap();
        fs::remove_file(dir.path().join(format!("{name}.png"))).unwrap();
    }
    let mut bytes = zip(dir.path(), &["a/x.bmp", "b/y.bmp"]);
    let path = dir.path().with_extension("zip");
    fs::write(&path, &bytes).unwrap();
    describe(&path, &Reading::default()).unwrap();
    let at = bytes
        .windows(6)
        .position(|pixels| pixels == [3, 2, 1, 3, 2, 1])
        .unwrap();
    bytes[at] ^= 0x40;
    fs::write(&path, &bytes).unwrap();
    let said = describe(&path, &Reading::default()).unwrap_err().to_string();
    assert!(said.contains("checksum"), "{said}");
}

#[test]
fn members_below_the_root_of_the_machine_are_read_as_tar_does() {
    let dir = tree(&["x.png"]);
    let bytes = fs::read(dir.path().join("x.png")).unwrap();
    let mut out = ::tar::Builder::new(Vec::new());
    for name in ["/data/a/x.png", "/data/b/y.png"] {
        let mut header = ::tar::Header::new_ustar();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(bytes.len() as u64);
        header.set_entry_type(::tar::EntryType::Regular);
        header.set_cksum();
        out.append(&header, &bytes[..]).unwrap();
    }
    let path = dir.path().join("set.tar");
    fs::write(&path, out.into_inner().unwrap()).unwrap();
    assert_eq!(read(&path).unwrap(), "all 2 [a b]");
}

#[test]
fn archives_of_a_class_each_are_no_parts_of_one_set() {
    let (one, other) = (tree(&["a.png"]), tree(&["b.png"]));
    let classes = tempfile::tempdir().unwrap();
    fs::write(classes.path().join("n01440764.tar"), tar(one.path())).unwrap();
    fs::write(classes.path().join("n01443537.tar"), tar(other.path())).unwrap();
    let said = read(classes.path()).unwrap_err().to_string();
    assert!(said.contains("unpack it into a folder of its name"), "{said}");
    let splits = tempfile::tempdir().unwrap();
    for split in ["train", "test"] {
        fs::create_dir(splits.path().join(split)).unwrap();
        fs::write(splits.path().join(split).join("0.tar"), tar(one.path())).unwrap();
    }
    assert_eq!(read(splits.path()).unwrap(), "test 1, train 1");
}
