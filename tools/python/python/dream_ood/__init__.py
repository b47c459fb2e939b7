"""The artifact store of `dream`, and the DREAM-OOD pipeline on it, in Python.

    import dream_ood

    store = dream_ood.open("dream.redb")     # for reading; it follows what another process writes
    store.runs()                             # all runs, as a table in a notebook
    store.query("outliers", run="outliers", class_="sandal").to_pandas()
    store.sql("SELECT stage, count(*) FROM runs GROUP BY stage").to_polars()
    store.nearest("outliers", vector, k=5)
    store.images("dreams")                   # pictures: NumPy, PIL, Hugging Face, PyTorch

Answers are streams of Arrow (`__arrow_c_stream__`). `dream_ood.errors` has the exceptions.
"""

from . import errors, metrics, scores
from ._images import Images
from ._native import VERSION as __version__
from ._rows import Rows
from ._runs import Input, Lineage, Run, Runs
from ._store import Store, open
from .errors import DreamError

__all__ = [
    "DreamError",
    "Images",
    "Input",
    "Lineage",
    "Rows",
    "Run",
    "Runs",
    "Store",
    "__version__",
    "errors",
    "metrics",
    "open",
    "scores",
]
