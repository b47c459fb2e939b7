"""The rows of an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ._native import Memory
from ._native import Rows as Native
from ._optional import needed

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow


def array(values: tuple[Memory, str, list[int]] | list[Any]) -> np.ndarray:
    """The values of a column as an array, which shares their memory."""
    if isinstance(values, tuple):
        memory, dtype, shape = values
        return np.frombuffer(memoryview(memory), dtype=dtype).reshape(shape)
    if values and all(isinstance(value, bool) for value in values):
        return np.array(values, dtype=bool)
    objects = np.empty(len(values), dtype=object)
    objects[:] = values
    return objects


class Rows:
    """The rows of an answer, read while one goes through them.

    They speak Arrow's PyCapsule interface (`__arrow_c_stream__`), so `pyarrow.table(rows)`,
    `polars.DataFrame(rows)`, `duckdb.sql("SELECT * FROM rows")` and `pandas.DataFrame.from_arrow(rows)` take
    them as they are, batch by batch and without a copy. Whoever goes through them a second time asks the
    store again, as it is then.
    """

    def __init__(self, native: Native):
        self._native = native

    @property
    def columns(self) -> list[str]:
        """The names of the columns."""
        return [name for name, _ in self._native.columns]

    @property
    def types(self) -> dict[str, str]:
        """The Arrow types of the columns, by name."""
        return dict(self._native.columns)

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        return self._native.__arrow_c_stream__(requested_schema)

    def __arrow_c_schema__(self) -> object:
        return self._native.__arrow_c_schema__()

    def reader(self) -> pyarrow.RecordBatchReader:
        """The rows as a reader of pyarrow, batch by batch: for more than fits into memory."""
        return needed("pyarrow", "frames").RecordBatchReader.from_stream(self)

    def to_arrow(self) -> pyarrow.Table:
        """The rows as a table of pyarrow."""
        return self.reader().read_all()

    def to_pandas(self) -> pandas.DataFrame:
        """The rows as a data frame of pandas; vectors are arrays of NumPy."""
        needed("pandas", "frames")
        return self.to_arrow().to_pandas()

    def to_polars(self) -> polars.DataFrame:
        """The rows as a data frame of Polars."""
        return needed("polars", "frames").DataFrame(self)

    def numpy(self, column: str | None = None) -> np.ndarray:
        """A column as an array: vectors as `[rows, width]` of float32, numbers `[rows]`, texts as objects.

        Without a name there must be one column. A missing number is NaN (NaT for a time); whole numbers have
        no such value, so a column of them with rows that have none is refused.
        """
        if column is None:
            if len(self.columns) != 1:
                raise ValueError(f"one column is needed, and there are {', '.join(self.columns)}: name one")
            (column,) = self.columns
        return array(self._native.take([column])[0])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self.numpy(), dtype=dtype)

    def to_list(self) -> list[dict[str, Any]]:
        """The rows as dicts: for a few."""
        names = self.columns
        columns = [array(values) for values in self._native.take(names)]
        return [dict(zip(names, map(_plain, row))) for row in zip(*columns)]

    def count(self) -> int:
        """The number of rows, by going through them; `len` of a table that was read costs nothing."""
        return self._native.count()

    def __repr__(self) -> str:
        columns = ", ".join(f"{name}: {kind}" for name, kind in self._native.columns)
        return f"<Rows of {columns}>"

    def _repr_html_(self) -> str:
        from . import _html

        return _html.table(*_html.first_of(self))


def _plain(value: Any) -> Any:
    """A value of NumPy as one of Python; vectors stay arrays."""
    return value.item() if isinstance(value, np.generic) else value
