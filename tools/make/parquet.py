"""Writes image sets as Parquet files that Hugging Face `datasets` opens with no further hints."""

import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def png(array):
    """PNG bytes of a uint8 array [h, w] (gray) or [h, w, 3] (colour)."""
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(array)).save(out, "PNG", optimize=True)
    return out.getvalue()


def write_images(path, arrays, names, labels=None, label_names=None):
    """One row a picture: `image` (bytes and path) and, if given, `label`.

    PNG does not shrink further, so the column is stored plain: a reader can map it.
    """
    rows = [{"bytes": png(a), "path": n} for a, n in zip(arrays, names, strict=True)]
    columns = {"image": pa.array(rows, IMAGE)}
    features = {"image": {"_type": "Image"}}
    if labels is not None:
        columns["label"] = pa.array([int(v) for v in labels], pa.int64())
        features["label"] = {"names": list(label_names), "_type": "ClassLabel"}
    table = pa.table(columns).replace_schema_metadata(
        {"huggingface": json.dumps({"info": {"features": features}})}
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(
        table, path, compression="NONE", use_dictionary=False, write_statistics=False, row_group_size=1000
    )
    print(f"{path.name}: {len(rows)} pictures, {path.stat().st_size:,} bytes")


def contact_sheet(path, arrays, columns=40, limit=1200):
    """Pictures side by side, to be looked at."""
    tiles = [np.repeat(a[..., None], 3, 2) if a.ndim == 2 else a for a in arrays[:limit]]
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % columns)
    rows = [np.concatenate(tiles[i : i + columns], 1) for i in range(0, len(tiles), columns)]
    Image.fromarray(np.concatenate(rows)).save(path)
