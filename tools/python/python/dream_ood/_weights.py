"""Weights of checkpoints as tensors of PyTorch."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from ._optional import needed
from .errors import CorruptError, MissingError, UnsupportedError

if TYPE_CHECKING:
    import torch

    from ._store import RunName, Store

#: The types of safetensors, and how PyTorch calls them.
TYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
}


def state_dict(store: Store, run: RunName, name: str | None) -> dict[str, torch.Tensor]:
    """The tensors of a checkpoint, the last one of that name, or of all."""
    found = store.checkpoints(run)
    names = list(dict.fromkeys(checkpoint["name"] for checkpoint in found))
    wanted = [checkpoint for checkpoint in found if checkpoint["name"] == (name or checkpoint["name"])]
    if not wanted:
        id = store.run(run).id
        what = f"no checkpoint `{name}`; it has {', '.join(names)}" if names else "no checkpoints"
        raise MissingError(f"run {id} has {what}")
    if name is None and "model" in names:
        # An optimizer's state is stored beside it.
        wanted = [checkpoint for checkpoint in wanted if checkpoint["name"] == "model"]
    last = max(wanted, key=lambda checkpoint: checkpoint["epoch"])
    if last["format"] != "safetensors":
        raise UnsupportedError(
            f"the checkpoint `{last['name']}` is of the format {last['format']}, not safetensors"
        )
    return tensors(store._native.blob(last["blob"]))


def tensors(file: bytes) -> dict[str, torch.Tensor]:
    """The tensors of a safetensors file (https://github.com/huggingface/safetensors#format)."""
    torch = needed("torch", "torch")
    length = int.from_bytes(file[:8], "little")
    if len(file) < 8 + length:
        raise CorruptError(
            f"the checkpoint is cut short: {len(file)} bytes, of which the head takes {8 + length}"
        )
    head = json.loads(file[8 : 8 + length])
    head.pop("__metadata__", None)
    # Tensors are to be changed by whoever gets them, and bytes cannot be.
    data = bytearray(file[8 + length :])
    found = {}
    for name, entry in head.items():
        start, end = entry["data_offsets"]
        dtype = getattr(torch, TYPES[entry["dtype"]])
        shape = entry["shape"]
        if start == end:
            found[name] = torch.empty(shape, dtype=dtype)
            continue
        found[name] = torch.frombuffer(data[start:end], dtype=dtype).reshape(shape)
    return found
