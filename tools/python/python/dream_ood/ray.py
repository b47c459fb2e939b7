"""Work of a store on a Ray cluster: the pictures of a run in shards, and sweeps of whole pipelines.

    import dream_ood.ray

    dream_ood.ray.imagine("dream.redb", "outliers", shards=8, per_class=1000)
    dream_ood.ray.sweep("dream.redb", "my.toml", settings={"sample.sampling.sigma": [0.1, 0.2]}, seeds=[0, 1])

Each task writes a store of its own in a folder, and reads the one that the work is for; this process alone
writes that, and takes in what a task has made as it ends. So store and folder lie where every machine of the
cluster can see them. A task whose worker dies is started again and goes on from what its store has, and so
does the same call after this process died. What is computed where decides nothing: the runs have the digests
that one process gives them. This build computes on the CPU.
"""

from __future__ import annotations

import operator
import os
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import _native, _stages
from ._machine import machine
from ._optional import needed
from ._progress import Listener, Progress, Silent, listener
from ._runs import Run
from ._store import RunName, Store, _id, open
from .errors import DreamError, FileError, LockedError, RefusedError, StoppedError

ray = needed("ray", "ray")

__all__ = ["Pipeline", "imagine", "sweep"]

#: Seconds that a task waits for an earlier attempt at it that holds its store.
PATIENCE = 60


@dataclass(frozen=True)
class Pipeline:
    """A pipeline of a sweep that has been carried out."""

    #: Keys of the preset and the values that it has of them.
    setting: dict[str, Any]
    #: The seed of all random numbers.
    seed: int
    #: Its runs by part: `embed`, `sample`, `imagine`, `detect`, `evaluate`, ...
    runs: dict[str, Run]


def imagine(
    store: Store | str | os.PathLike[str],
    vectors: RunName,
    *,
    shards: int,
    model: str | os.PathLike[str] | None = None,
    seed: int = 0,
    num_cpus: float = 1,
    num_gpus: float = 0,
    retries: int = 3,
    folder: str | os.PathLike[str] | None = None,
    batch_size: int | None = None,
    alias: str | None = None,
    progress: Progress | None = None,
    **params: Any,
) -> Run:
    """Paints vectors by a diffusion model, as `Store.imagine` does, in shards on a Ray cluster.

    Args:
        store: The store, open for writing, or its path; it is held until the run is finished.
        vectors: Sampled or imported outliers, or class embeddings.
        shards: In how many tasks the pictures are made: in every class, a stretch of pictures each.
        model: The model's registered name or its path; that of the class embeddings if none is named.
        seed: The seed of all random numbers.
        num_cpus: What Ray reserves for a task; a task computes with so many threads.
        num_gpus: What Ray reserves for a task.
        retries: How often a task is started again whose worker died; -1 for any number of times.
        folder: Where tasks keep what they make until it is in the store; STORE-ray beside it without one.
        batch_size: How many pictures a task makes at once.
        alias: A name for the run.
        progress: As for `Store.embed`; it counts shards.
        params: As for `Store.imagine`.

    What cannot be done is refused before any task is started.
    """
    shards = _whole("shards", shards, least=1)
    options = _Options(num_cpus, num_gpus, retries, batch_size)
    with _held(store, must_exist=True) as target:
        path = None if model is None else os.fspath(model)
        question = _stages.imagine_asked(target, _id(vectors), path, seed, params)
        run = _native.run_of(question)
        job = _Job(target, folder, options, listener(progress))
        name = f"imagine-{run[:12]}"

        def left() -> list[int]:
            return _native.parts_left(target._native, machine(), Silent(), question, shards)

        parts = job.left_of(name, shards, run, left)
        made = target._made(run, alias)
        tasks = [_Task(f"{name}.{i}-of-{shards}", "part", (question, (i, shards)), run) for i in parts]
        with job.told("shards", len(tasks)):
            for _ in job.carry_out(tasks):
                pass
            _native.answered(target._native, machine(batch_size), Silent(), question, None)
        return target.run(made)


def sweep(
    store: Store | str | os.PathLike[str],
    preset: str | os.PathLike[str],
    *,
    settings: Mapping[str, Sequence[Any]] | None = None,
    seeds: Sequence[int] | None = None,
    shards: int = 1,
    num_cpus: float = 1,
    num_gpus: float = 0,
    retries: int = 3,
    folder: str | os.PathLike[str] | None = None,
    batch_size: int | None = None,
    progress: Progress | None = None,
) -> list[Pipeline]:
    """Runs a preset with every combination of settings and every seed on a Ray cluster. What the store has is
    not made again, and what several pipelines have in common is made once. The runs get the names that `dream
    run` gives them, and `dream compare --sweep` shows them.

    Args:
        store: The store, open for writing, or its path; made if there is none.
        preset: The preset, a .toml file where every machine can read it, and what it names too.
        settings: Keys of the preset with the values that each gets; those of its table `[sweep]` without.
        seeds: The seeds; those of its table `[sweep]` without, or 0.
        shards: In how many tasks the pictures of a run are imagined.
        num_cpus: What Ray reserves for a task; a task computes with so many threads.
        num_gpus: What Ray reserves for a task.
        retries: How often a task is started again whose worker died; -1 for any number of times.
        folder: Where tasks keep what they make until it is in the store; STORE-ray beside it without one.
        batch_size: How many pictures a task makes at once.
        progress: As for `Store.embed`; it counts tasks.
    """
    shards = _whole("shards", shards, least=1)
    options = _Options(num_cpus, num_gpus, retries, batch_size)
    with _held(store, must_exist=False) as target:
        plan = _stages.planned(target, os.fspath(preset), settings, seeds, shards)
        job = _Job(target, folder, options, listener(progress))
        tasks = _native.tasks(plan)
        with job.told("tasks", sum(shards if divided else 1 for _, _, divided, _ in tasks)):
            _Planned(job, plan, tasks, shards).carry_out()
        made = _native.results(target._native, plan)
        return [
            Pipeline(_stages.read(setting), seed, {part: target.run(run) for part, run in runs})
            for setting, seed, runs in made
        ]


class _Planned:
    """The tasks of a plan, each begun when those before it are in the store."""

    def __init__(self, job: _Job, plan: str, tasks: list[tuple[str, str, bool, list[int]]], shards: int):
        self._job, self._plan, self._tasks, self._shards = job, plan, tasks, shards
        self._waiting = set(range(len(tasks)))
        self._done: set[int] = set()
        #: How many shards of a task are on their way.
        self._open: dict[int, int] = {}

    def carry_out(self) -> None:
        with closing(self._job.carry_out(self._ready())) as ended:
            for task in ended:
                number = task.work[1]
                self._open[number] -= 1
                if self._open[number] == 0:
                    self._end(number)
                self._job.begin(self._ready())

    def _ready(self) -> list[_Task]:
        """The tasks that can be begun now."""
        tasks: list[_Task] = []
        # What is whole without a task may make others ready.
        while ready := [n for n in sorted(self._waiting) if self._done.issuperset(self._tasks[n][3])]:
            for number in ready:
                self._waiting.remove(number)
                own = self._begun(number)
                self._open[number] = len(own)
                tasks += own
                if not own:
                    self._end(number)
        return tasks

    def _begun(self, number: int) -> list[_Task]:
        name, _, divided, _ = self._tasks[number]
        if not divided:
            return [_Task(name, "step", (self._plan, number, None), None)]
        store, shards = self._job.store._native, self._shards

        def left() -> list[int]:
            return _native.task_parts_left(store, machine(), Silent(), self._plan, number)

        parts = self._job.left_of(name, shards, None, left)
        self._job.listener.advance(shards - len(parts))
        return [
            _Task(f"{name}.{i}-of-{shards}", "step", (self._plan, number, (i, shards)), None) for i in parts
        ]

    def _end(self, number: int) -> None:
        """Finishes the run whose shards are all there."""
        if self._tasks[number][2]:
            _native.run_task(self._job.store._native, machine(), Silent(), self._plan, number, None)
        self._done.add(number)


@dataclass(frozen=True)
class _Options:
    """What tasks get."""

    num_cpus: float
    num_gpus: float
    retries: int
    batch_size: int | None

    def __post_init__(self) -> None:
        for name in ("num_cpus", "num_gpus"):
            number = getattr(self, name)
            if not isinstance(number, (int, float)) or not 0 <= number < float("inf"):
                raise RefusedError(f"{name}={number!r}: expected a number, 0 or more")
        _whole("retries", self.retries, least=-1)
        if self.batch_size is not None:
            _whole("batch_size", self.batch_size, least=1)

    def task(self) -> Any:
        """The function for Ray, with its resources and what is tried again."""
        return ray.remote(_worked).options(
            num_cpus=self.num_cpus,
            num_gpus=self.num_gpus,
            max_retries=self.retries,
            # A store that is still held, and a file system that fails for a while.
            retry_exceptions=[LockedError, FileError],
        )

    def check(self) -> None:
        """Refuses what no machine of the cluster has: Ray would wait for one forever."""
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        wanted = {"CPU": self.num_cpus, "GPU": self.num_gpus}
        if not any(all(node.get(what, 0) >= n for what, n in wanted.items()) for node in nodes):
            has = ", ".join(f"{node.get('CPU', 0):g} and {node.get('GPU', 0):g}" for node in nodes)
            raise RefusedError(
                f"num_cpus={self.num_cpus}, num_gpus={self.num_gpus}: no machine of the Ray cluster has so "
                f"many; CPUs and GPUs of each: {has or 'there is none'}"
            )


@dataclass(frozen=True)
class _Task:
    """A task."""

    #: The name of its store, without the ending.
    name: str
    #: What is done, and with what: see `_worked`.
    kind: str
    work: tuple[Any, ...]
    #: The run that its store has a shard of, if it has nothing else.
    run: str | None


class _Job:
    """Tasks on the cluster, whose stores are taken in as they end."""

    def __init__(
        self, store: Store, folder: str | os.PathLike[str] | None, options: _Options, told: Listener
    ):
        self.store, self.listener, self._options = store, told, options
        beside = store.path.with_name(f"{store.path.stem}-ray")
        self._folder = beside if folder is None else Path(folder).absolute()
        self._running: dict[Any, _Task] = {}
        self._failed: list[tuple[_Task, BaseException]] = []
        self._task: Any = None

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}.redb"

    @contextmanager
    def told(self, unit: str, total: int) -> Iterator[None]:
        """Tells how far the job has come."""
        if total > 0:
            self.listener.begin("ray", total, unit)
        try:
            yield
        finally:
            if total > 0:
                self.listener.end()
        try:
            self._folder.rmdir()
        except OSError:
            pass  # There is none, or something else is in it.

    def left_of(self, name: str, shards: int, run: str | None, left: Any) -> list[int]:
        """The shards of a run that are to be made, once all is taken in that earlier calls have left."""
        own = {self._file(f"{name}.{i}-of-{shards}") for i in range(1, shards + 1)}
        for file in sorted(self._folder.glob(f"{name}.*-of-*.redb")):
            if file not in own:
                self._take_in(file, run)
        parts = left()
        own -= {self._file(f"{name}.{i}-of-{shards}") for i in parts}
        for file in sorted(own):
            if file.exists():
                self._take_in(file, run)
        return parts

    def _take_in(self, file: Path, run: str | None) -> None:
        self.store._native.merge(file, run)
        file.unlink()

    def begin(self, tasks: Sequence[_Task]) -> None:
        """Hands tasks over to Ray."""
        if not tasks or self._failed:
            return
        if self._task is None:
            if not ray.is_initialized():
                ray.init()
            self._options.check()
            self._folder.mkdir(parents=True, exist_ok=True)
            self._task = self._options.task()
        beneath, options = os.fspath(self.store.path), self._options
        for task in tasks:
            file = os.fspath(self._file(task.name))
            ref = self._task.remote(file, beneath, task.kind, task.work, options.num_cpus, options.batch_size)
            self._running[ref] = task

    def carry_out(self, tasks: Sequence[_Task]) -> Generator[_Task, None, None]:
        """Begins tasks, and returns them and those that are begun meanwhile as they have been taken in. What
        fails is raised at the end: the others are worth their while."""
        self.begin(tasks)
        try:
            while self._running:
                # It returns now and then, so that Ctrl-C is heard.
                for ref in ray.wait(list(self._running), num_returns=1, timeout=1)[0]:
                    task = self._running.pop(ref)
                    try:
                        ray.get(ref)
                    except ray.exceptions.RayError as error:
                        self._failed.append((task, error))
                        continue
                    self._take_in(self._file(task.name), task.run)
                    self.listener.advance(1)
                    yield task
        finally:
            for ref in self._running:
                ray.cancel(ref)
            self._running.clear()
        if self._failed:
            raise self._reason(*self._failed[0])

    def _reason(self, task: _Task, error: BaseException) -> BaseException:
        cause = getattr(error, "cause", None)
        if isinstance(cause, DreamError):
            cause.add_note(f"task {task.name}")
            return cause
        if isinstance(error, ray.exceptions.RayTaskError):
            return error
        stopped = StoppedError(
            f"task {task.name}: its worker died, also when it was started again (retries: "
            f"{self._options.retries}): {str(error).strip()}; what it made is in {self._file(task.name)}, "
            "and the same call goes on from there"
        )
        stopped.__cause__ = error
        return stopped


def _worked(
    path: str, beneath: str, kind: str, work: tuple[Any, ...], num_cpus: float, batch_size: int | None
) -> None:
    """What a worker does: a part of a run, or a step of a plan, in a store of its own."""
    threads = max(int(num_cpus), 1)
    # Read once, when the library first computes; a worker is given tasks of one size.
    os.environ["RAYON_NUM_THREADS"] = str(threads)
    own = machine(batch_size, min(threads / (os.cpu_count() or 1), 1.0))
    store = _native.Store.laid_over(path, beneath, PATIENCE)
    try:
        if kind == "part":
            question, part = work
            _native.answered(store, own, Silent(), question, part)
        else:
            plan, number, part = work
            _native.run_task(store, own, Silent(), plan, number, part)
    finally:
        store.close()


@contextmanager
def _held(store: Store | str | os.PathLike[str], *, must_exist: bool) -> Iterator[Store]:
    """The store, open for writing."""
    if isinstance(store, Store):
        yield store
        return
    is_new = not Path(store).exists()
    if must_exist and is_new:
        open(store)
    with open(store, write=True) as own:
        try:
            yield own
        except DreamError:
            # One that was made for what has been refused.
            if is_new and not own.runs() and not own.datasets():
                own.path.unlink()
            raise


def _whole(name: str, number: Any, *, least: int) -> int:
    try:
        whole = operator.index(number)
    except TypeError:
        raise RefusedError(f"{name}={number!r}: expected a whole number") from None
    if whole < least:
        raise RefusedError(f"{name}={whole}: expected at least {least}")
    return whole
