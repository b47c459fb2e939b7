"""The Python package beside LanceDB and `datasets`, all in one run: opening, the vectors of one class as an
array of NumPy, and an epoch of a `DataLoader` over pictures. Needs dream_ood (`pip install ./tools/python`),
lancedb, datasets, pyarrow, pillow and torch.

    python tools/bench/python.py [--vectors 200000] [--width 256] [--pictures 100000] [--workers 2] [--folder
    DIR]

Vectors and pictures are made by a seed and put into each in its own way: a LanceDB table with a scalar index
on the class, a data set of Hugging Face saved to disk and opened from there. Times are medians of the
repeats.
"""

import argparse
import io
import pathlib
import shutil
import statistics
import tempfile
import time

import datasets
import dream_ood
import lancedb
import numpy as np
import PIL.Image
import pyarrow as pa
import torch
from lancedb.index import BTree
from torch.utils.data import DataLoader

CLASSES = 100
BATCH = 256


def measured(name, repeat, run):
    """Prints the median time of a function, after one call to warm up."""
    run()
    seconds = []
    for _ in range(repeat):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    print(f"{name:42} {statistics.median(seconds) * 1e3:10.2f} ms", flush=True)


def once(name, run):
    """Prints the time of a function that is called once."""
    start = time.perf_counter()
    result = run()
    print(f"{name:42} {(time.perf_counter() - start) * 1e3:10.1f} ms", flush=True)
    return result


def vectors_of(count, width):
    """Vectors and the class of each."""
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(CLASSES), count // CLASSES)
    return random.normal(size=(len(labels), width)).astype(np.float32), labels


def pictures_of(count):
    """Pictures of 32x32 as PNG, and the class of each; a thousand differ, which is enough to defeat a
    cache."""
    random = np.random.default_rng(1)
    files = []
    for _ in range(1000):
        file = io.BytesIO()
        PIL.Image.fromarray(random.integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(file, "png")
        files.append(file.getvalue())
    return [files[place % len(files)] for place in range(count)], np.arange(count) * CLASSES // count


def main():
    datasets.disable_progress_bars()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--vectors", type=int, default=200_000)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--pictures", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument(
        "--folder", type=pathlib.Path, help="where the files go; a temporary folder without it"
    )
    args = parser.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp(dir=args.folder))
    try:
        made(args, folder)
        compared(args, folder)
    finally:
        shutil.rmtree(folder)


def made(args, folder):
    """Puts vectors and pictures into each."""
    vectors, labels = vectors_of(args.vectors, args.width)
    names = [f"class {n}" for n in range(CLASSES)]
    embeddings = np.eye(CLASSES, args.width, dtype=np.float32)
    store = dream_ood.open(folder / "dream.redb", write=True)
    classes = store.import_class_embeddings(names, embeddings, alias="classes")
    once(
        "write vectors: dream_ood",
        lambda: store.import_features(vectors, labels, embeddings=classes, alias="features"),
    )
    flat = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), args.width)
    table = pa.table({"class_id": pa.array(labels.astype(np.int32)), "vector": flat})
    lance = lancedb.connect(folder / "lance")

    def write_lance():
        lance.create_table("features", table).create_index("class_id", config=BTree())

    once("write vectors: lancedb", write_lance)
    once("write vectors: datasets", lambda: datasets.Dataset(table).save_to_disk(folder / "features"))

    files, labels = pictures_of(args.pictures)
    once(
        "write pictures: dream_ood",
        lambda: store.import_images(files, labels, embeddings=classes, alias="dreams"),
    )
    store.close()
    columns = {"image": files, "label": labels}
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
    encoded = {"image": [{"bytes": file, "path": None} for file in files], "label": labels}

    def write_datasets():
        datasets.Dataset.from_dict(encoded, features=features).save_to_disk(folder / "pictures")

    once("write pictures: datasets", write_datasets)
    once("write pictures: lancedb", lambda: lance.create_table("pictures", pa.table(columns)))


def compared(args, folder):
    """Measures what is asked of each."""
    path = folder / "dream.redb"
    measured("open: dream_ood", args.repeat, lambda: dream_ood.open(path))
    measured("open: lancedb", args.repeat, lambda: lancedb.connect(folder / "lance").open_table("features"))
    measured("open: datasets", args.repeat, lambda: datasets.load_from_disk(folder / "features"))

    store = dream_ood.open(path)
    table = lancedb.connect(folder / "lance").open_table("features")
    arrow = datasets.load_from_disk(folder / "features").with_format("arrow")
    count = args.vectors // CLASSES

    def of_store():
        found = store.query("features", run="features", class_=50, columns=["vector"]).numpy()
        assert found.shape == (count, args.width)

    def of_lance():
        found = table.search().where("class_id = 50").select(["vector"]).limit(count).to_arrow()
        assert found["vector"].combine_chunks().flatten().to_numpy().reshape(-1, args.width).shape[0] == count

    def of_datasets():
        # It has no index: rows of a class are found by their numbers, which are looked through.
        found = np.flatnonzero(arrow[:]["class_id"].to_numpy() == 50)
        part = arrow[found[0] : found[-1] + 1]["vector"].combine_chunks()
        assert part.flatten().to_numpy().reshape(-1, args.width).shape[0] == count

    measured("a class of vectors: dream_ood", args.repeat, of_store)
    measured("a class of vectors: lancedb", args.repeat, of_lance)
    measured("a class of vectors: datasets", args.repeat, of_datasets)
    epochs(args, folder, store)


class OfDatasets(torch.utils.data.Dataset):
    """Pictures of a data set of Hugging Face, as tensors."""

    def __init__(self, path):
        self.data = datasets.load_from_disk(path)

    def __len__(self):
        return len(self.data)

    def __getitems__(self, places):
        batch = self.data[places]
        return list(zip(map(tensor, batch["image"]), batch["label"]))


class OfLance(torch.utils.data.Dataset):
    """Pictures of a LanceDB table, as tensors, which each worker opens for itself."""

    def __init__(self, path):
        self.path, self.table = path, None
        self.count = lancedb.connect(path).open_table("pictures").count_rows()

    def __len__(self):
        return self.count

    def __getitems__(self, places):
        if self.table is None:
            self.table = lancedb.connect(self.path).open_table("pictures")
        batch = self.table.take_offsets(places).to_list()
        return [(tensor(PIL.Image.open(io.BytesIO(row["image"]))), row["label"]) for row in batch]


def tensor(picture):
    pixels = np.array(picture.convert("RGB"))
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous().float().div_(255)


def epochs(args, folder, store):
    """An epoch over all pictures, shuffled, by workers that are started anew (LanceDB's threads do not live
    through a fork)."""
    images = store.images("dreams")
    for name, data, method in [
        ("dream_ood", images.to_torch(), "fork"),
        ("datasets", OfDatasets(folder / "pictures"), "fork"),
        ("lancedb", OfLance(folder / "lance"), "spawn"),
    ]:
        context = method if args.workers else None
        loader = DataLoader(
            data, BATCH, shuffle=True, num_workers=args.workers, multiprocessing_context=context
        )

        def epoch(loader=loader):
            assert sum(len(labels) for _, labels in loader) == args.pictures

        once(f"an epoch, shuffled: {name}", epoch)


if __name__ == "__main__":
    main()
