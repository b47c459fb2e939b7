"""Packages that only some of this package needs."""

from __future__ import annotations

import importlib
from typing import Any


def needed(module: str, extra: str) -> Any:
    """The module, or an error that says how to install it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        # What it lacks may be something else that it stands on.
        if error.name is not None and error.name.split(".")[0] != module.split(".")[0]:
            raise
        raise ImportError(
            f"this needs {module}, which is not installed: `pip install dream-ood[{extra}]`, or "
            f"`pip install {module}`",
            name=module,
        ) from None
