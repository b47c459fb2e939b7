"""The store beside LanceDB, DuckDB and FAISS: one command, one Markdown table.

    python tools/bench/store.py --dream target/release/dream --sizes 10000 100000 1000000

needs lancedb, pylance, duckdb, faiss-cpu, pyarrow and numpy, and `dream_ood` (`pip install ./tools/python`)
for the column of that name, which is left out without it. Vectors of 768 numbers in 100 classes are made
as a Parquet file in the layout of `dream export outliers`; each program takes it in and answers the same
questions. Every measurement is a process of its own: its time is that of the whole process for `dream`, and
for the Python packages that of the calls alone, without interpreter and imports; its memory is the most that
it had resident. Reads are repeated and the median is taken; files are in the page cache. What is written is
on the disk when its time ends: `dream` and DuckDB's database see to it themselves, for the rest it is done
here. All is removed at the end.
"""

import argparse
import importlib.util
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WIDTH, CLASSES, CLASS, INDEX = 768, 100, 42, 17
QUERIES = {
    "mean and extremes by class": "SELECT class_name, count(*), avg(knn_distance), min(knn_distance), "
    "max(knn_distance) FROM outliers GROUP BY class_name ORDER BY class_name",
    "rows by round and class": 'SELECT round, class_id, count(*) AS n, max("index") FROM outliers '
    "GROUP BY round, class_id ORDER BY n DESC, round, class_id LIMIT 20",
    "the farthest three of each class": 'SELECT class_id, "index", knn_distance FROM '
    '(SELECT class_id, "index", knn_distance, row_number() OVER '
    '(PARTITION BY class_id ORDER BY knn_distance DESC, "index") AS r '
    "FROM outliers) AS ranked WHERE r <= 3 ORDER BY class_id, r",
}
FILTER = "knn_distance > 2.2"


def schema():
    import pyarrow as pa

    return pa.schema([
        ("class_id", pa.int32()),
        ("class_name", pa.string()),
        ("index", pa.int64()),
        ("kind", pa.string()),
        ("vector", pa.list_(pa.float32(), WIDTH)),
        ("anchor", pa.int64()),
        ("round", pa.int32()),
        ("knn_distance", pa.float32()),
    ])


def make(folder, rows):
    """Writes the vectors, the class embeddings and the class table."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    each = rows // CLASSES
    random = np.random.default_rng(0)
    path = folder / "outliers.parquet"
    with pq.ParquetWriter(path, schema(), use_dictionary=["class_name", "kind"]) as writer:
        for label in range(CLASSES):
            vectors = random.standard_normal(each * WIDTH, dtype=np.float32)
            columns = [
                pa.array(np.full(each, label, np.int32)),
                pa.array([name(label)] * each),
                pa.array(np.arange(each, dtype=np.int64)),
                pa.array(["outlier"] * each),
                pa.FixedSizeListArray.from_arrays(pa.array(vectors), WIDTH),
                pa.array(np.arange(each, dtype=np.int64) % 50),
                pa.array((np.arange(each) // 100).astype(np.int32)),
                pa.array(random.gamma(9.0, 1 / 9, each).astype(np.float32)),
            ]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema()))
    np.save(folder / "embeddings.npy", random.standard_normal((CLASSES, WIDTH), dtype=np.float32))
    lines = ["class_id\tname\ttoken_word"]
    lines += [f"{label}\t{name(label)}\t{name(label)}" for label in range(CLASSES)]
    (folder / "classes.tsv").write_text("\n".join(lines) + "\n")


def name(label):
    return f"class{label:03}"


class Lance:
    """LanceDB, and DuckDB over its tables where SQL is asked."""

    def __init__(self, folder):
        import lancedb

        self.folder, self.db = folder, lancedb.connect(str(folder / "lance"))

    def table(self):
        return self.db.open_table("outliers")

    def ingest(self):
        import pyarrow.parquet as pq

        batches = pq.ParquetFile(self.folder / "outliers.parquet").iter_batches(8192)
        self.db.create_table("outliers", data=batches, schema=schema())
        sync(self.folder / "lance")

    def found(self, where, columns):
        return self.table().search().where(where).select(columns).limit(10**9).to_arrow()

    def one_class(self):
        return save(self.folder / "lance.npy", self.found(f"class_id = {CLASS}", ["vector"]))

    def one_vector(self):
        return self.found(f"class_id = {CLASS} AND index = {INDEX}", ["vector"]).num_rows

    def filter(self):
        return self.found(FILTER, ["class_id", "index", "knn_distance"]).num_rows

    def export(self):
        import pyarrow.parquet as pq

        with pq.ParquetWriter(self.folder / "lance.parquet", schema(), compression="zstd") as writer:
            for batch in self.table().to_lance().to_batches():
                writer.write_batch(batch)
        sync(self.folder / "lance.parquet")

    def nearest(self):
        vector = self.found(f"class_id = {CLASS} AND index = {INDEX}", ["vector"])["vector"][0].as_py()
        return self.table().search(vector).distance_type("l2").limit(10).to_arrow().num_rows

    def query(self, sql):
        import duckdb

        outliers = self.table().to_lance()  # noqa: F841 (DuckDB finds it by its name)
        return len(duckdb.sql(sql).fetchall())

    def size(self):
        return on_disk(self.folder / "lance")


class Duck:
    """DuckDB."""

    def __init__(self, folder):
        import duckdb

        self.folder, self.db = folder, duckdb.connect(str(folder / "duck.db"))

    def ingest(self):
        columns = f"* REPLACE (vector::FLOAT[{WIDTH}] AS vector)"
        path = self.folder / "outliers.parquet"
        self.db.sql(f"CREATE TABLE outliers AS SELECT {columns} FROM '{path}'")
        self.db.sql("CHECKPOINT")

    def found(self, where, columns):
        table = self.db.sql(f"SELECT {columns} FROM outliers WHERE {where}").arrow()
        return table.read_all() if hasattr(table, "read_all") else table

    def one_class(self):
        return save(self.folder / "duck.npy", self.found(f"class_id = {CLASS}", "vector"))

    def one_vector(self):
        return self.found(f'class_id = {CLASS} AND "index" = {INDEX}', "vector").num_rows

    def filter(self):
        return self.found(FILTER, 'class_id, "index", knn_distance').num_rows

    def export(self):
        self.db.sql(f"COPY outliers TO '{self.folder / 'duck.parquet'}' (FORMAT parquet, COMPRESSION zstd)")
        sync(self.folder / "duck.parquet")

    def nearest(self):
        one = f'(SELECT vector FROM outliers WHERE class_id = {CLASS} AND "index" = {INDEX})'
        return self.query(
            f'SELECT class_id, "index", array_distance(vector, {one}) AS d FROM outliers ORDER BY d LIMIT 10'
        )

    def query(self, sql):
        return len(self.db.sql(sql).fetchall())

    def size(self):
        return on_disk(self.folder / "duck.db")


class Faiss:
    """A flat index of FAISS."""

    def __init__(self, folder):
        import faiss

        faiss.omp_set_num_threads(os.cpu_count())
        self.folder, self.faiss = folder, faiss

    def ingest(self):
        import pyarrow.parquet as pq

        index = self.faiss.IndexFlatL2(WIDTH)
        for batch in pq.ParquetFile(self.folder / "outliers.parquet").iter_batches(8192, columns=["vector"]):
            index.add(batch["vector"].flatten().to_numpy().reshape(-1, WIDTH))
        self.faiss.write_index(index, str(self.folder / "flat.faiss"))
        sync(self.folder / "flat.faiss")

    def nearest(self):
        index = self.faiss.read_index(str(self.folder / "flat.faiss"))
        return self.search(index)

    def nearest_in_memory(self):
        index = self.faiss.read_index(str(self.folder / "flat.faiss"))
        started = time.perf_counter()
        self.search(index)
        return time.perf_counter() - started

    def search(self, index):
        place = CLASS * (index.ntotal // CLASSES) + INDEX
        return len(index.search(index.reconstruct(place).reshape(1, -1), 10)[0])

    def size(self):
        return on_disk(self.folder / "flat.faiss")


def save(path, table):
    """Writes the vectors of an Arrow table as an .npy file."""
    import numpy as np

    vectors = table.column("vector").combine_chunks().flatten().to_numpy(zero_copy_only=False)
    np.save(path, vectors.astype(np.float32, copy=False).reshape(-1, WIDTH))
    sync(path)
    return table.num_rows


def files_of(path):
    return [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]


def sync(path):
    """Waits until a file, or all files of a folder, are on the disk."""
    for file in files_of(path):
        with open(file, "rb") as opened:
            os.fsync(opened.fileno())


def on_disk(path):
    return sum(file.stat().st_blocks * 512 for file in files_of(path))


class Dream:
    """The commands of the program."""

    def __init__(self, program, folder):
        self.program, self.folder = str(Path(program).resolve()), folder

    def command(self, task, argument):
        one = f"SELECT vector FROM outliers WHERE class_id = {CLASS} AND index = {INDEX}"
        nearest = ["nearest", "outliers", "--to", f"outliers:bench:{name(CLASS)}:{INDEX}", "--l2"]
        filtered = f"SELECT class_id, index, knn_distance FROM outliers WHERE {FILTER}"
        return {
            "ingest": ["import", "outliers", "outliers.parquet", "--embeddings", "embed", "--alias", "bench"],
            "one_class": ["export", "outliers", "--class", name(CLASS), "-o", "dream.npy", "--force"],
            "one_vector": ["sql", one, "--format", "csv"],
            "filter": ["sql", filtered, "--format", "csv"],
            "export": ["export", "outliers", "-o", "dream.parquet", "--force"],
            "query": ["sql", argument, "--format", "csv"],
            "nearest": nearest,
            "nearest_in_memory": nearest,
        }[task]

    def embed(self):
        command = ["import", "class_embeddings", "embeddings.npy", "--classes", "classes.tsv"]
        self.timed([*command, "--alias", "embed"])

    def measure(self, task, argument=""):
        return self.timed(self.command(task, argument))

    def timed(self, command):
        started = time.perf_counter()
        process = subprocess.Popen([self.program, "-q", *command], cwd=self.folder, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            raise SystemExit(f"dream {' '.join(command)} failed")
        return time.perf_counter() - started, usage.ru_maxrss * 1024

    def size(self):
        return on_disk(self.folder / "dream.redb")


class Opened:
    """The Python package `dream_ood`, over the store that the program filled, which every task opens."""

    def __init__(self, folder):
        import dream_ood

        self.folder, self.package = folder, dream_ood

    def query(self, sql):
        return self.package.open(self.folder / "dream.redb").sql(sql).to_arrow().num_rows

    def found(self, store, **which):
        return store.query("outliers", class_=name(CLASS), columns=["vector"], **which).to_arrow()

    def one_class(self):
        return save(self.folder / "opened.npy", self.found(self.package.open(self.folder / "dream.redb")))

    def one_vector(self):
        store = self.package.open(self.folder / "dream.redb")
        return self.found(store, where=f"index = {INDEX}").num_rows

    def filter(self):
        return self.query(f"SELECT class_id, index, knn_distance FROM outliers WHERE {FILTER}")

    def nearest(self):
        store = self.package.open(self.folder / "dream.redb")
        vector = self.found(store, where=f"index = {INDEX}")["vector"][0].values.to_numpy()
        return store.nearest("outliers", vector, k=10, distance="l2").to_arrow().num_rows

    def size(self):
        return on_disk(self.folder / "dream.redb")


PEERS = {"LanceDB": Lance, "DuckDB": Duck, "FAISS": Faiss}
ENGINES = {"dream_ood": Opened, **PEERS}


class Package:
    """A Python package, each task in a process of its own."""

    def __init__(self, engine, folder):
        self.engine, self.folder = engine, folder

    def measure(self, task, argument=""):
        command = [sys.executable, __file__, "--child", self.engine, task, argument, str(self.folder)]
        out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        told = json.loads(out.splitlines()[-1])
        return told["seconds"], told["memory"]

    def size(self):
        return ENGINES[self.engine](self.folder).size()


def child(engine, task, argument, folder):
    """Does one task and tells its time and memory."""
    engine = ENGINES[engine](Path(folder))
    import pyarrow.parquet  # noqa: F401 (imports are not measured)

    started = time.perf_counter()
    result = getattr(engine, task)(*([argument] if argument else []))
    seconds = result if task == "nearest_in_memory" else time.perf_counter() - started
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"seconds": seconds, "memory": memory}))


def does(engine, task):
    """Whether a program has an answer of its own to a task."""
    match engine:
        case "dream":
            return True
        case "dream_ood":
            return task not in ("ingest", "export", "nearest_in_memory")
        case "FAISS":
            return task in ("ingest", "nearest", "nearest_in_memory")
        case _:
            return task != "nearest_in_memory"


def is_there(engine):
    """Whether the package that is ours is installed; without the others there is nothing to measure."""
    there = engine != "dream_ood" or importlib.util.find_spec(engine) is not None
    if not there:
        print("dream_ood is not installed, and left out", file=sys.stderr)
    return there


def run(engines, rows, repeats):
    """Returns {(task, engine): (seconds, memory)} and the bytes on disk."""
    tasks = [("ingest from Parquet", "ingest", "")]
    tasks += [(f"a class: {rows // CLASSES:,} vectors", "one_class", ""), ("one vector", "one_vector", "")]
    tasks += [("filter on knn_distance", "filter", ""), ("export to Parquet", "export", "")]
    tasks += [(title, "query", sql) for title, sql in QUERIES.items()]
    tasks += [("the 10 nearest of one (L2)", "nearest", "")]
    tasks += [("the same, FAISS's index in memory", "nearest_in_memory", "")]
    results = {}
    for title, task, argument in tasks:
        for engine, program in engines.items():
            if not does(engine, task):
                continue
            times = 1 if task in ("ingest", "export") else repeats
            measured = [program.measure(task, argument) for _ in range(times)]
            seconds = statistics.median(second for second, _ in measured)
            results[title, engine] = seconds, max(memory for _, memory in measured)
            print(f"{rows:>9} {title:36} {engine:8} {seconds:9.3f} s", file=sys.stderr)
    return results, {engine: program.size() for engine, program in engines.items()}


def number(seconds):
    return f"{seconds:.2f}" if seconds >= 0.1 else f"{seconds:.3f}"


def side_by_side(rows, results, sizes, engines):
    others = [engine for engine in engines if engine != "dream"]
    print(f"\n{rows:,} x {WIDTH} f32 in {CLASSES} classes: seconds (peak memory in MB)\n")
    print("| | dream | " + " | ".join(others) + " | times as fast as LanceDB | DuckDB | FAISS | dream_ood "
          "as LanceDB |")
    print("|-|" + "-|" * (len(others) + 5))
    for title in dict.fromkeys(title for title, _ in results):
        cell = {e: results.get((title, e)) for e in engines}
        shown = [f"{number(c[0])} ({c[1] / 1e6:.0f})" if c else "" for c in cell.values()]
        pairs = [(e, "dream") for e in PEERS] + [("LanceDB", "dream_ood")]
        ratio = [f"{cell[a][0] / cell[b][0]:.1f}" if cell.get(a) and cell.get(b) else "" for a, b in pairs]
        print("| " + " | ".join([title, *shown, *ratio]) + " |")
    shown = [f"{sizes[engine] / 1e6:.0f} MB" for engine in engines]
    ratio = [f"{sizes[e] / sizes['dream']:.2f}" if e in sizes else "" for e in PEERS]
    print("| " + " | ".join(["on disk", *shown, *ratio, ""]) + " |")


def growth(all_results):
    sizes = list(all_results)
    print("\nHow the cost of `dream` grows: seconds\n")
    print("| | " + " | ".join(f"{rows:,}" for rows in sizes) + " |")
    print("|-|" + "-|" * len(sizes))
    titles = [title for title, engine in all_results[sizes[0]][0] if engine == "dream"]
    for place, title in enumerate(titles):
        cells = []
        for rows in sizes:
            results = all_results[rows][0].items()
            mine = [seconds for (_, engine), (seconds, _) in results if engine == "dream"]
            cells.append(number(mine[place]))
        print("| " + " | ".join(["a class (1 % of them)" if "a class" in title else title, *cells]) + " |")
    on_disk = [f"{all_results[rows][1]['dream'] / 1e6:.0f} MB" for rows in sizes]
    print("| on disk | " + " | ".join(on_disk) + " |")


def main():
    if len(sys.argv) > 1 and sys.argv[1] == "--child":
        return child(*sys.argv[2:])
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dream", default="target/release/dream", help="the program")
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--repeats", type=int, default=3, help="of every read")
    parser.add_argument("--scratch", help="a folder on a disk with 20 GB free")
    parser.add_argument("--only", nargs="+", choices=["dream", *ENGINES], default=["dream", *ENGINES])
    options = parser.parse_args()
    all_results = {}
    for rows in options.sizes:
        folder = Path(tempfile.mkdtemp(prefix="dream-bench-", dir=options.scratch))
        try:
            make(folder, rows)
            engines = {e: Package(e, folder) for e in options.only if e != "dream" and is_there(e)}
            engines = {"dream": Dream(options.dream, folder), **engines}
            engines["dream"].embed()
            results, sizes = run(engines, rows, options.repeats)
            all_results[rows] = results, sizes
        finally:
            shutil.rmtree(folder)
    for rows, (results, sizes) in all_results.items():
        side_by_side(rows, results, sizes, engines)
    growth(all_results)


if __name__ == "__main__":
    main()
