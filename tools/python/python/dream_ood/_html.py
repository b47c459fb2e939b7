"""What notebooks show."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from ._images import Images
    from ._rows import Rows
    from ._runs import Run
    from ._store import Store

#: Rows that a table shows.
ROWS = 20
#: Thumbnails that pictures show.
THUMBNAILS = 24


def table(header: Sequence[str], rows: Iterable[Sequence[str]], more: bool = False) -> str:
    """A table of texts that are HTML already."""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in header)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    rest = f"<p>the first {ROWS} rows of more</p>" if more else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{rest}"


def first_of(rows: Rows) -> tuple[list[str], list[list[str]], bool]:
    """The names of the columns, the first rows, and whether there are more."""
    found = rows._native.head(ROWS + 1)
    return rows.columns, [[html.escape(cell) for cell in row] for row in found[:ROWS]], len(found) > ROWS


def runs(all: Sequence[Run]) -> str:
    """Runs, the last ones first."""
    header = ["run", "stage", "status", "alias", "seed", "started", "took"]
    shown = list(islice(reversed(all), ROWS))
    return table(header, map(_cells, shown), len(all) > ROWS)


def _cells(run: Run) -> list[str]:
    took = "" if run.finished_at is None else f"{(run.finished_at - run.started_at).total_seconds():.1f} s"
    started = run.started_at.strftime("%Y-%m-%d %H:%M")
    alias = ", ".join(run.aliases)
    cells = [run.stage, run.status, alias, str(run.seed), started, took]
    return [f"<code>{run.id[:12]}</code>", *map(html.escape, cells)]


def run(run: Run) -> str:
    """A run: what it is, what it wrote, what decided it."""
    counts = ", ".join(f"{count:,} {table}" for table, count in run.counts().items())
    facts = [
        ("run", f"<code>{run.id}</code>"),
        ("stage", html.escape(f"{run.stage}, {run.status}, seed {run.seed}")),
        ("aliases", html.escape(", ".join(run.aliases))),
        ("wrote", html.escape(counts)),
        ("from", "<br>".join(f"{html.escape(i.role)}: <code>{i.run[:12]}</code>" for i in run.inputs)),
        ("note", html.escape(run.note or "")),
    ]
    rows = [[f"<b>{name}</b>", value] for name, value in facts if value]
    params = "".join(
        f"<tr><td>{html.escape(key)}</td><td>{html.escape(value)}</td></tr>"
        for key, value in _flat(run.params)
    )
    return table(["", ""], rows) + f"<details><summary>parameters</summary><table>{params}</table></details>"


def _flat(params: Any, prefix: str = "") -> Iterable[tuple[str, str]]:
    """Parameters by dotted keys."""
    for key, value in params.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", str(value)


def store(store: Store) -> str:
    """A store: where it is and its runs."""
    how = "for reading" if store.is_read_only else "for writing"
    return f"<p><b>{html.escape(str(store.path))}</b>, open {how}</p>{store.runs()._repr_html_()}"


def images(images: Images) -> str:
    """Thumbnails, spread over all pictures."""
    count = min(THUMBNAILS, len(images))
    places = np.linspace(0, len(images) - 1, count).astype(int).tolist()
    tags = []
    for place, file in zip(places, images.pngs(places)):
        data = base64.b64encode(file).decode()
        name = html.escape(f"{images.class_name[place]} {images.index[place]}")
        style = "width:64px;height:64px;object-fit:contain;image-rendering:pixelated;margin:2px"
        tags.append(f'<img title="{name}" style="{style}" src="data:image/png;base64,{data}">')
    return f"<p>{len(images):,} pictures of run <code>{images.run[:12]}</code></p><div>{''.join(tags)}</div>"
