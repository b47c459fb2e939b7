"""Arrays as they are taken in: of NumPy, of PyTorch, or anything that NumPy can read."""

from __future__ import annotations

from typing import Any

import numpy as np

from .errors import RefusedError


def plain(what: str, values: Any) -> np.ndarray:
    """Values as an array of NumPy; tensors of PyTorch are detached and come from where they are."""
    if hasattr(values, "detach") and hasattr(values, "cpu"):
        values = values.detach().cpu()
        if str(values.dtype) == "torch.bfloat16":
            # NumPy has no such type; float32 holds all of its values.
            values = values.float()
        values = values.numpy()
    found = np.asarray(values)
    if np.ma.isMaskedArray(values):
        raise RefusedError(f"{what} is a masked array: fill it or leave the masked rows out")
    if found.dtype.kind not in "fiub":
        raise RefusedError(f"{what} is an array of {found.dtype}: numbers are needed")
    return found


def matrix(what: str, values: Any, width: int | None = None) -> np.ndarray:
    """`[rows, width]` of float32."""
    found = plain(what, values)
    if found.ndim != 2:
        raise RefusedError(f"{what} has the shape {list(found.shape)}: [rows, width] is needed")
    if width is not None and found.shape[1] != width:
        raise RefusedError(f"{what} has the shape {list(found.shape)}: its rows must be {width} wide")
    return single(what, found)


def vector(what: str, values: Any) -> np.ndarray:
    """`[rows]` of float32."""
    found = plain(what, values)
    if found.ndim != 1:
        raise RefusedError(f"{what} has the shape {list(found.shape)}: [rows] is needed")
    return single(what, found)


def single(what: str, found: np.ndarray) -> np.ndarray:
    """The numbers as float32, in the order of C; one that is too large for it is refused."""
    with np.errstate(over="ignore"):
        narrow = np.ascontiguousarray(found, dtype=np.float32)
    if found.dtype.kind == "f" and found.dtype.itemsize > 4:
        lost = np.isinf(narrow) & np.isfinite(found)
        if lost.any():
            place = np.argwhere(lost)[0].tolist()
            raise RefusedError(f"{what}: {found[tuple(place)]} at {place} is too large for 32 bits")
    return narrow


def scores(what: str, values: Any) -> np.ndarray:
    """`[rows]` of float32 or float64, as they are."""
    found = plain(what, values)
    if found.ndim == 2 and found.shape[1] == 1:
        found = found[:, 0]
    if found.ndim != 1:
        raise RefusedError(f"{what} has the shape {list(found.shape)}: [rows] is needed")
    dtype = np.float32 if found.dtype in (np.float32, np.float16) else np.float64
    return np.ascontiguousarray(found, dtype=dtype)


def classes(what: str, values: Any, rows: int | None = None, none: bool = False) -> np.ndarray:
    """`[rows]` of whole numbers of 64 bits from 0; with `none` -1 stands for a row without one."""
    found = plain(what, values)
    if found.ndim != 1:
        raise RefusedError(f"{what} has the shape {list(found.shape)}: [rows], a class a row, is needed")
    if rows is not None and len(found) != rows:
        raise RefusedError(f"{what} has {len(found)} entries, and there are {rows} rows")
    whole = found.astype(np.int64)
    if found.dtype.kind == "f" and not (np.isfinite(found).all() and (whole == found).all()):
        place = int(np.argmax(~np.isfinite(found) | (whole != found)))
        raise RefusedError(f"{what}: {found[place]} at {place} is no class: whole numbers from 0 are")
    low = whole < (-1 if none else 0)
    if low.any():
        place = int(np.argmax(low))
        raise RefusedError(f"{what}: {whole[place]} at {place} is no class: whole numbers from 0 are")
    return np.ascontiguousarray(whole)


def marks(what: str, values: Any) -> list[bool]:
    """`[rows]` of yes and no."""
    found = plain(what, values)
    if found.ndim != 1 or not np.isin(found, (0, 1)).all():
        raise RefusedError(f"{what}: an array [rows] of booleans is needed")
    return found.astype(bool).tolist()
