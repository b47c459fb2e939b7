"""Work on a local Ray of two workers, some of which are killed."""

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import dream_ood
import numpy as np
import pytest
from conftest import DATA
from dream_ood import errors

ray = pytest.importorskip("ray", reason="Ray is not installed: what runs on it is not tested")

import dream_ood.ray as on_ray  # noqa: E402

#: So slow that a worker can be killed in the middle.
SLOW = {"per_class": 12, "steps": 12, "guidance_scale": 2.0}


@pytest.fixture(scope="module")
def cluster():
    """Two workers, for this process and those that it starts."""
    ray.init(num_cpus=2, num_gpus=0, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
    os.environ["RAY_ADDRESS"] = ray.get_runtime_context().gcs_address
    yield
    del os.environ["RAY_ADDRESS"]
    ray.shutdown()


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A store with vectors to be painted, and the digest of the pictures that one process makes of them."""
    folder = tmp_path_factory.mktemp("alone")
    path, other = folder / "vectors.redb", folder / "alone.redb"
    with dream_ood.open(path, write=True) as store:
        embeddings = store.embed(DATA / "tiny-sd", ["coat", "bag"], alias="classes", progress=False)
        vectors = store.query("class_embeddings", run=embeddings).numpy("vector")
        far = vectors[:, None] + np.random.default_rng(0).normal(0, 0.1, (2, 12, vectors.shape[1]))
        store.import_outliers(far, embeddings=embeddings, alias="far")
    shutil.copy(path, other)
    with dream_ood.open(other, write=True) as store:
        return path, store.imagine("far", **SLOW, progress=False)


@pytest.fixture
def path(alone, tmp_path):
    """A copy of the store with vectors."""
    return Path(shutil.copy(alone[0], tmp_path / "dream.redb"))


def pictures(file: Path) -> int:
    """How many pictures a store has."""
    try:
        with dream_ood.open(file) as store:
            return store.query("images", columns=["index"]).count()
    except (dream_ood.DreamError, OSError):
        return 0


def writer(file: Path) -> int | None:
    """The process that has a file open, if it is another one than this."""
    for fd in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if os.readlink(fd) == str(file) and int(fd.parts[2]) != os.getpid():
                return int(fd.parts[2])
        except OSError:
            pass
    return None


def shard_in_the_middle(folder: Path) -> tuple[Path, int, int]:
    """A shard's store with a picture or more, how many, and the process that makes them."""
    until = time.monotonic() + 240
    while time.monotonic() < until:
        for file in sorted(folder.glob("*.redb")):
            if (made := pictures(file)) and (pid := writer(file)):
                return file, made, pid
        time.sleep(0.05)
    raise AssertionError(f"no shard was begun in {folder}")


def test_shards_are_the_run_that_one_process_makes(cluster, alone, path):
    told = []

    class Listener:
        def begin(self, what, total, unit):
            told.append((what, total, unit))

        def advance(self, n):
            told.append(n)

        def note(self, text): ...

        def end(self):
            told.append("end")

    run = on_ray.imagine(path, "far", shards=3, alias="dreams", progress=Listener(), **SLOW)
    assert (run.id, run.digest, run.status) == (alone[1].id, alone[1].digest, "finished")
    assert told == [("ray", 3, "shards"), 1, 1, 1, "end"]
    assert sorted(file.name for file in path.parent.iterdir()) == ["dream.redb"]
    with dream_ood.open(path, write=True) as store:
        assert store.run("dreams").digest == run.digest and len(store.images("dreams")) == 24
        # What is known is not made again.
        assert on_ray.imagine(store, "far", shards=5, **SLOW).digest == run.digest


def test_a_worker_that_is_killed_loses_nothing(cluster, alone, path):
    killed = []

    def kill():
        file, made, pid = shard_in_the_middle(path.parent / "dream-ray")
        os.kill(pid, signal.SIGKILL)
        killed.append((file.stat().st_ino, made, pid))
        # The next attempt works on the same file, and begins with what it has.
        while not (again := writer(file)) or again == pid:
            time.sleep(0.02)
        killed.append((file.stat().st_ino, pictures(file), again))

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    run = on_ray.imagine(path, "far", shards=2, batch_size=1, progress=False, **SLOW)
    killer.join(timeout=10)
    (inode, before, _), (again, after, _) = killed
    assert inode == again and after >= before >= 1
    assert (run.id, run.digest) == (alone[1].id, alone[1].digest)


def test_the_driver_that_is_killed_goes_on(cluster, alone, path):
    code = f"""
        import dream_ood.ray, ray
        ray.init(logging_level="ERROR", log_to_driver=False)
        dream_ood.ray.imagine({str(path)!r}, "far", shards=4, batch_size=1, progress=False, **{SLOW!r})
    """
    driver = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)])
    until = time.monotonic() + 300
    while pictures(path) == 0 and time.monotonic() < until:
        assert driver.poll() is None
        time.sleep(0.05)
    driver.kill()
    driver.wait()
    made = pictures(path)
    assert 0 < made < 24
    left = sorted((path.parent / "dream-ray").iterdir())
    # Another number of shards: what is there of the old ones is taken in.
    run = on_ray.imagine(path, "far", shards=2, progress=False, **SLOW)
    assert (run.id, run.digest) == (alone[1].id, alone[1].digest)
    assert left and not (path.parent / "dream-ray").exists()


def test_what_cannot_be_done_is_told_before_any_task_is_started(cluster, path, tmp_path):
    def refused(error, words, store=path, vectors="far", shards=2, **options):
        with pytest.raises(error, match=words):
            on_ray.imagine(store, vectors, shards=shards, **{"per_class": 2, "steps": 1, **options})
        assert not (path.parent / "dream-ray").exists()

    refused(errors.MissingError, "there is no store at .*nowhere", store=tmp_path / "nowhere.redb")
    assert not (tmp_path / "nowhere.redb").exists()
    refused(errors.MissingError, "farr.*far", vectors="farr")
    refused(errors.RefusedError, "shards=0: expected at least 1", shards=0)
    refused(errors.RefusedError, "shards=1.5: expected a whole number", shards=1.5)
    refused(errors.RefusedError, "retries=-2", retries=-2)
    refused(errors.RefusedError, "num_cpus=-1", num_cpus=-1)
    refused(errors.RefusedError, "num_gpus=1.*no machine.*CPUs and GPUs of each: 2 and 0", num_gpus=1)
    refused(errors.RefusedError, "unknown field `stps`.*did you mean `steps`", stps=3)
    refused(errors.RefusedError, "per_class|vectors", per_class=1000)
    with dream_ood.open(path) as store:
        refused(errors.LockedError, "read", store=store)
    code = f"import dream_ood, time; s = dream_ood.open({str(path)!r}, write=True); print(1); time.sleep(60)"
    holder = subprocess.Popen([sys.executable, "-uc", code], stdout=subprocess.PIPE)
    holder.stdout.readline()
    refused(errors.LockedError, f"held by process {holder.pid} of ")
    holder.kill()
    holder.wait()


def test_a_store_of_something_else_is_not_taken_for_a_shard(cluster, path):
    with dream_ood.open(path, write=True) as store:
        run = store.imagine("far", per_class=1, steps=1)
    folder = path.parent / "dream-ray"
    folder.mkdir()
    with pytest.raises(errors.RefusedError, match="was to have a shard of"):
        shutil.copy(path, folder / f"imagine-{imagine_id(path)}.1-of-9.redb")
        on_ray.imagine(path, "far", shards=2, progress=False, per_class=2, steps=1)
    assert run.status == "finished" and list(folder.iterdir())


def imagine_id(path: Path) -> str:
    """The id of the run that the test asks for, as far as a shard's file has it."""
    with dream_ood.open(path, write=True) as store:
        asked = on_ray._stages.imagine_asked(store, "far", None, 0, {"per_class": 2, "steps": 1})
    return on_ray._native.run_of(asked)[:12]


def test_an_error_of_a_task_is_raised_in_its_own_words(cluster, path):
    folder = path.parent / "dream-ray"
    folder.mkdir()
    (folder / f"imagine-{imagine_id(path)}.1-of-2.redb").write_bytes(b"no store at all" * 100)
    with pytest.raises(dream_ood.DreamError, match="1-of-2.redb"):
        on_ray.imagine(path, "far", shards=2, progress=False, per_class=2, steps=1)
    with dream_ood.open(path) as store:
        assert store.runs()[-1].status == "running"


def test_a_sweep_makes_every_pipeline_and_what_is_common_once(cluster, preset, piped, tmp_path):
    path = tmp_path / "swept.redb"
    sweep = {"detect.outlier.beta": [1.0, 0.5]}
    made = on_ray.sweep(path, preset, settings=sweep, seeds=[0], shards=2, progress=False)
    assert [(p.setting, p.seed) for p in made] == [
        ({"detect.outlier.beta": beta}, 0) for beta in sweep["detect.outlier.beta"]
    ]
    one, two = (pipeline.runs for pipeline in made)
    after = {
        part for part in one if part.startswith(("detect", "observe", "evaluate")) and "plain" not in part
    }
    assert {part for part in one if one[part].id != two[part].id} == after
    # The digests are those of one process.
    assert {part: run.digest for part, run in one.items()} == {
        part: run.digest for part, run in piped[1].items()
    }
    assert not (tmp_path / "swept-ray").exists()
    with dream_ood.open(path, write=True) as store:
        runs = len(store.runs())
        again = on_ray.sweep(store, preset, settings=sweep, progress=False)
        assert [p.runs["evaluate"].id for p in again] == [p.runs["evaluate"].id for p in made]
        assert len(store.runs()) == runs and store.run("quick-beta-0.5-0-detect") == two["detect"]
        with pytest.raises(errors.RefusedError, match="(?s)did you mean `beta`"):
            on_ray.sweep(store, preset, settings={"detect.outlier.bta": [1.0]})
        with pytest.raises(errors.RefusedError, match="sweep.seeds"):
            on_ray.sweep(store, preset, seeds=[1, 1])
        with pytest.raises(errors.RefusedError, match="list of different values"):
            on_ray.sweep(store, preset, settings={"detect.outlier.beta": []})
        assert len(store.runs()) == runs


def test_workers_that_are_killed_lose_nothing_of_a_sweep(cluster, preset, piped, tmp_path):
    folder = tmp_path / "swept-ray"
    killed: dict[str, int] = {}
    over = threading.Event()

    def begun(file):
        try:
            with dream_ood.open(file) as store:
                return bool(store.runs())
        except (dream_ood.DreamError, OSError):
            return False

    def kill():
        # Each task once, as soon as it has a run, whatever it is at.
        while not over.is_set():
            for file in sorted(folder.glob("*.redb")):
                if file.name not in killed and begun(file) and (pid := writer(file)):
                    os.kill(pid, signal.SIGKILL)
                    killed[file.name] = pid
            time.sleep(0.01)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    try:
        (made,) = on_ray.sweep(tmp_path / "swept.redb", preset, seeds=[0], shards=2, progress=False)
    finally:
        over.set()
        killer.join(timeout=10)
    stages = {name.split("-")[0] for name in killed}
    assert {"encode", "imagine", "detect"} <= stages, killed
    assert {part: run.digest for part, run in made.runs.items()} == {
        part: run.digest for part, run in piped[1].items()
    }
    assert not folder.exists()
    with dream_ood.open(tmp_path / "swept.redb") as store:
        assert all(run.status == "finished" for run in store.runs())
