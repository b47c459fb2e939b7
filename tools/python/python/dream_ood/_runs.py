"""Runs: what was executed, from what, and what came of it."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, overload

if TYPE_CHECKING:
    from ._rows import Rows
    from ._store import Store


@dataclass(frozen=True)
class Input:
    """A run that another one read from."""

    role: str
    run: str
    digest: str


@dataclass(frozen=True)
class Run:
    """One execution of a stage. A finished run never changes."""

    id: str
    stage: str
    #: `running` (or interrupted), `finished`, `failed`, or `partial`: rows of it were lost.
    status: str
    aliases: tuple[str, ...]
    params: dict[str, Any]
    seed: int
    inputs: tuple[Input, ...]
    #: Digests of what was read from outside the store, by role.
    sources: dict[str, str]
    #: BLAKE3 over all rows that it wrote; only of a finished run.
    digest: str | None
    started_at: dt.datetime
    finished_at: dt.datetime | None
    version: str
    device: str
    host: str
    #: The error of a failed run, or words of the user.
    note: str | None
    _store: Store = field(repr=False, compare=False)

    @property
    def alias(self) -> str | None:
        """Its name; the first if it has several."""
        return self.aliases[0] if self.aliases else None

    def counts(self) -> dict[str, int]:
        """How many rows it wrote, by table."""
        return dict(self._store._native.counts(self.id))

    def query(self, table: str, **choice: Any) -> Rows:
        """Its rows in a table, as `Store.query` gives them."""
        return self._store.query(table, run=self.id, **choice)

    def lineage(self) -> Lineage:
        """What it came from."""
        return self._store.lineage(self.id)

    def __str__(self) -> str:
        name = f" `{self.alias}`" if self.alias else ""
        return f"{self.stage} {self.id}{name} ({self.status}, seed {self.seed})"

    def _repr_html_(self) -> str:
        from . import _html

        return _html.run(self)


def parsed(store: Store, record: dict[str, Any], aliases: Sequence[tuple[str, str]]) -> Run:
    """A run of the record that the store keeps."""
    time = record["finished_at"]
    return Run(
        id=record["id"],
        stage=record["stage"],
        status=record["status"],
        aliases=tuple(name for name, run in aliases if run == record["id"]),
        params=record["params"],
        seed=record["seed"],
        inputs=tuple(Input(i["role"], i["run"], i["digest"]) for i in record["inputs"]),
        sources=record["sources"],
        digest=record["digest"],
        started_at=_time(record["started_at"]),
        finished_at=None if time is None else _time(time),
        version=record["version"],
        device=record["device"],
        host=record["host"],
        note=record["note"],
        _store=store,
    )


def _time(micros: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(0, dt.UTC) + dt.timedelta(microseconds=micros)


class Runs(Sequence[Run]):
    """The runs of a store, in the order in which they were begun; a table in a notebook, and in Arrow."""

    def __init__(self, runs: list[Run], damaged: list[tuple[str, str]], rows: Rows):
        self._runs = runs
        self._rows = rows
        #: Runs whose records cannot be read, and why.
        self.damaged = damaged

    def __len__(self) -> int:
        return len(self._runs)

    @overload
    def __getitem__(self, index: int) -> Run: ...
    @overload
    def __getitem__(self, index: slice) -> list[Run]: ...
    def __getitem__(self, index: int | slice) -> Run | list[Run]:
        return self._runs[index]

    def __iter__(self) -> Iterator[Run]:
        return iter(self._runs)

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        return self._rows.__arrow_c_stream__(requested_schema)

    def __arrow_c_schema__(self) -> object:
        return self._rows.__arrow_c_schema__()

    def __repr__(self) -> str:
        return "\n".join(map(str, self._runs)) or "<no runs>"

    def _repr_html_(self) -> str:
        from . import _html

        return _html.runs(self._runs)


@dataclass(frozen=True)
class Lineage:
    """What a run came from: a tree whose root is the run."""

    #: The id of the run.
    id: str
    #: What it serves as to the one above it; empty for the root.
    role: str
    #: The run; None if this store does not have it.
    run: Run | None
    #: Names and digests of what it read from outside the store, by role; a name is None where nothing is
    #: registered by it here.
    sources: dict[str, tuple[str | None, str]]
    inputs: tuple[Lineage, ...]

    def __iter__(self) -> Iterator[Lineage]:
        """All runs of the tree, from the root down."""
        yield self
        for below in self.inputs:
            yield from below

    def __str__(self) -> str:
        return "\n".join(self._lines(0))

    __repr__ = __str__

    def _lines(self, depth: int) -> Iterator[str]:
        indent, role = "  " * depth, f"{self.role}: " if self.role else ""
        yield f"{indent}{role}{self.run or f'{self.id} (not in this store)'}"
        for name, (known, digest) in self.sources.items():
            yield f"{indent}  {name}: {known or 'not registered here'} ({digest[:12]})"
        for below in self.inputs:
            yield from below._lines(depth + 1)


def lineage(
    store: Store, id: str, role: str, known: dict[str, Run], names: dict[str, dict[str, str]]
) -> Lineage:
    """The tree below a run."""
    run = known.get(id)
    if run is None:
        return Lineage(id, role, None, {}, ())
    sources = {role: (names[id].get(role), digest) for role, digest in run.sources.items()}
    inputs = tuple(lineage(store, i.run, i.role, known, names) for i in run.inputs)
    return Lineage(id, role, run, sources, inputs)


def records(text: str) -> Any:
    """What the library says in JSON."""
    return json.loads(text)
