//! Small valid files for each reader: fixtures that other programs wrote, and files that we write.

use std::io::{Cursor, Write};
use std::path::Path;

use super::pictures;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// Returns the valid files of the reader of that name.
pub fn of(reader: &str) -> Vec<Vec<u8>> {
    match reader {
        "archive" => pictures::archives(),
        "arrays" => {
            let [npy, tensors] = ["exchange/f32_2x3x4.npy", "exchange/vectors.safetensors"];
            let mut files = fixtures(&[npy, "exchange/fortran.npy", tensors, "nn/layouts.pth"]);
            files.push(archive(&[("a.npy", &files[0]), ("labels.npy", &files[1])]));
            files.push(PICKLED.to_vec());
            files
        }
        "saved_scores" => fixtures(&["ood/saved_scores.pkl"]),
        "cifar_binary" => vec![(0..3073).map(|i| (i % 10) as u8).collect()],
        "cifar_python" => (0..6)
            .flat_map(|p| fixtures(&[&format!("dataset/cifar/protocol{p}.pickle")]))
            .collect(),
        "classes" => vec![
            b"class_id\tname\ttoken_word\tprompt_suffix\n0\ta hen\then\t\n1\tkite\tkite\t bird\n".to_vec(),
            b"wnid\tname\ttoken_word\nn01498041\tstingray\tstingray\n".to_vec(),
        ],
        "content" => fixtures(&[
            "nn/nested.pth",
            "exchange/f32_2x3x4.npy",
            "exchange/vectors.safetensors",
        ]),
        "csv" => vec![
            b"class_name,vector\nhen,\"[0.5,-1.0]\"\nkite,\"[2, 1e-3]\"\n".to_vec(),
            b"class_id,index,kind,anchor,round,knn_distance,v_0,v_1\n3,7,inlier,2,1,,1.5,2\n".to_vec(),
            b"0.5 -1\n2 0.001\n".to_vec(),
        ],
        "block" | "record" | "store" => {
            let folder = tempfile::tempdir().unwrap();
            dream_ood::outside::stored(reader, folder.path()).unwrap()
        }
        "downsampled" => fixtures(&["dataset/downsampled/val_data"]),
        "idx" => pictures::idx(),
        "image_arrow" => fixtures(&[
            "dataset/arrow/dict/test/data-00000-of-00001.arrow",
            "dataset/arrow/names.arrow",
        ]),
        "image_arrays" => pictures::arrays(),
        "image_list" => vec![
            b"a.png 0\n# no\nb.png,1\r\n\"c.png\"\t1\n".to_vec(),
            b"a.png -1\n./b.png\n".to_vec(),
        ],
        "image_parquet" => ["none", "snappy", "zstd", "gzip"]
            .iter()
            .flat_map(|codec| fixtures(&[&format!("dataset/compressed/{codec}.parquet")]))
            .collect(),
        "matlab" => fixtures(&["dataset/svhn/test_32x32.mat", "dataset/svhn/train_32x32.mat"]),
        "npy" => fixtures(&[
            "exchange/f16_2x1x4.npy",
            "exchange/f32_2x3x4.npy",
            "exchange/f64_3x4.npy",
        ]),
        "parquet" => fixtures(&[
            "exchange/features_lists.parquet",
            "exchange/features_wide.parquet",
        ]),
        "pickle" => (0..6)
            .flat_map(|p| fixtures(&[&format!("pickle/protocol{p}.pickle")]))
            .collect(),
        "picture" => {
            let [lossy, alpha, palette] = ["lossy.webp", "alpha.webp", "palette.bmp"];
            let more = [lossy, alpha, palette, "ascii.ppm"].map(|name| format!("dataset/pictures/{name}"));
            let mut files = pictures::all();
            files.extend(fixtures(&more.each_ref().map(String::as_str)));
            files
        }
        "preset" => {
            let text = String::from_utf8(read(&root().join("data/presets/quick.toml"))).unwrap();
            let classes = root().join("data/classes/");
            vec![
                text.replace("../classes/", classes.to_str().unwrap())
                    .into_bytes(),
            ]
        }
        "records" => fixtures(&["exchange/features_lists.parquet", "exchange/features_f64.parquet"]),
        "safetensors" => fixtures(&["exchange/vectors.safetensors"]),
        "state" => fixtures(&[
            "nn/nested.pth",
            "nn/legacy.pth",
            "nn/layouts.pth",
            "nn/layouts.safetensors",
        ]),
        "torch_pickle" => vec![
            b"\x80\x02}U\x01wctorch._utils\n_rebuild_tensor_v2\n((U\x07storagectorch\nFloatStorage\n\
              U\x010U\x03cpuK\x40tQK\x00K\x08K\x08\x86K\x08K\x01\x86\x89ccollections\nOrderedDict\n)RtRs."
                .to_vec(),
        ],
        _ => Vec::new(),
    }
}

/// `pickle.dumps(numpy.zeros((1, 2), dtype="f4"), 2)`.
const PICKLED: &[u8] = b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n\
    K\x00\x85C\x01b\x87R(K\x01K\x01K\x02\x86cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R(K\x03U\x01<NNN\
    J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89C\x08\x00\x00\x00\x00\x00\x00\x00\x00tb.";

pub fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for (name, bytes) in files {
        zip.start_file(*name, stored).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// The root of the repository: the crate of the fuzz targets, which takes this file in, is a folder of it.
fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = here
        .ancestors()
        .find(|folder| folder.join("tests/fixtures").is_dir());
    root.expect("the fixtures are in the repository")
}

fn fixtures(names: &[&str]) -> Vec<Vec<u8>> {
    let folder = root().join("tests/fixtures");
    names.iter().map(|name| read(&folder.join(name))).collect()
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
