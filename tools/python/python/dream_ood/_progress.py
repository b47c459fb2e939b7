"""How far long work has come."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Protocol


class Listener(Protocol):
    """Told how far the work has come; an exception of it stops the work."""

    def begin(self, what: str, total: int, unit: str) -> None:
        """A piece of work of `total` units begins."""

    def advance(self, n: int) -> None:
        """`n` units more are done."""

    def note(self, text: str) -> None:
        """Words for the user: a loss, an accuracy."""

    def end(self) -> None:
        """The piece of work is over."""


class Silent:
    """Tells no one."""

    def begin(self, what: str, total: int, unit: str) -> None: ...

    def advance(self, n: int) -> None: ...

    def note(self, text: str) -> None: ...

    def end(self) -> None: ...


class Bars:
    """Bars of tqdm, in a notebook those of notebooks."""

    def __init__(self, bar: Callable[..., Any]):
        self._make = bar
        self._bar: Any = None

    def begin(self, what: str, total: int, unit: str) -> None:
        self.end()
        self._bar = self._make(total=total, desc=what, unit=f" {unit}", leave=True, file=sys.stderr)

    def advance(self, n: int) -> None:
        if self._bar is not None:
            self._bar.update(n)

    def note(self, text: str) -> None:
        if self._bar is None:
            print(text, file=sys.stderr)
        else:
            self._bar.set_postfix_str(text)

    def end(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


#: Bars, no bars, or an object of one's own.
Progress = bool | Listener


def listener(progress: Progress | None) -> Listener:
    """The listener that is meant: without a word, bars where tqdm is installed and someone looks."""
    if progress is None:
        progress = _is_looked_at()
    if progress is False:
        return Silent()
    if progress is not True:
        return progress
    try:
        from tqdm.auto import tqdm
    except ImportError:
        return Silent()
    return Bars(tqdm)


def _is_looked_at() -> bool:
    return "ipykernel" in sys.modules or sys.stderr.isatty()
