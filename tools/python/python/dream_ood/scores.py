"""Detection scores of what a classifier showed of pictures, as arrays: its logits, its features, its last
layer.

Every score is higher for in-distribution pictures. An object learns by `fit` and scores by `score`:

    >>> knn = dream_ood.scores.Score("knn", k=50).fit(features=train_features)
    >>> id_scores, ood_scores = knn.score(features=test), knn.score(features=other)

A score that learns nothing is a function, too: `scores.msp(logits=logits)`, `scores.energy(logits=logits)`.
`names()` lists all, `about("knn")` says what one computes, and from which paper it is. Arrays may be of NumPy
or PyTorch; they are read as float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from . import _arrays, _native
from .errors import RefusedError

__all__ = ["About", "Hyperparameter", "NotFittedError", "Score", "about", "names"]

try:
    from sklearn.exceptions import NotFittedError
except ImportError:

    class NotFittedError(ValueError, AttributeError):  # type: ignore[no-redef]
        """A score that has not learnt yet what it must."""


@dataclass(frozen=True)
class Hyperparameter:
    """A number that a score leaves open."""

    name: str
    about: str
    range: str
    default: float


@dataclass(frozen=True)
class About:
    """What there is to know of a score."""

    name: str
    paper: str
    url: str
    #: f logits, p their softmax, h features, W and b the last layer.
    formula: str
    #: Of `logits`, `features`, `head`, `train`, `validation`, `labels`.
    needs: tuple[str, ...]
    hyperparameters: tuple[Hyperparameter, ...]

    def __str__(self) -> str:
        numbers = "".join(f"\n  {h.name} = {h.default:g}: {h.about}; {h.range}" for h in self.hyperparameters)
        needs = ", ".join(self.needs)
        return f"{self.name}: {self.formula}\n  {self.paper}, {self.url}\n  needs {needs}{numbers}"


def _read() -> dict[str, About]:
    found = {}
    for card in _native.cards():
        numbers = tuple(Hyperparameter(*number) for number in card["hyperparameters"])
        paper = f"{card['title']}, {card['venue']}"
        found[card["name"]] = About(
            card["name"], paper, card["url"], card["formula"], tuple(card["needs"]), numbers
        )
    return found


_ABOUT = _read()


def names() -> list[str]:
    """The names of all scores."""
    return list(_ABOUT)


def about(name: str) -> About:
    """What there is to know of a score."""
    _check(name)
    return _ABOUT[name]


def _check(name: str) -> None:
    """Refuses a name that no score has, in the library's words."""
    if name not in _ABOUT:
        _native.fit(name, [], None, None)


@dataclass(frozen=True)
class _Shown:
    """What a classifier showed, as the library takes it."""

    logits: np.ndarray | None
    features: np.ndarray | None
    labels: np.ndarray | None
    weight: np.ndarray | None
    bias: np.ndarray | None


def _shown(
    logits: Any = None, features: Any = None, labels: Any = None, weight: Any = None, bias: Any = None
) -> _Shown:
    """Arrays as the library takes them."""
    logits = None if logits is None else _arrays.matrix("logits", logits)
    features = None if features is None else _arrays.matrix("features", features)
    first = logits if logits is not None else features
    if first is not None and labels is not None:
        labels = _arrays.classes("labels", labels, len(first)).astype(np.uint32)
    weight = None if weight is None else _arrays.matrix("weight", weight)
    bias = None if bias is None else _arrays.vector("bias", bias)
    return _Shown(logits, features, labels, weight, bias)


class Score:
    """A detection score with its hyperparameters, like an estimator of scikit-learn.

    Args:
        name: One of `names()`.
        hyperparameters: Its numbers; `about(name)` says which, in what range, and their defaults.
    """

    def __init__(self, name: str, **hyperparameters: float):
        _check(name)
        self.name = name
        self.hyperparameters = hyperparameters
        self._fitted: Any = None
        self._head: tuple[Any, Any] = (None, None)
        known = [number.name for number in _ABOUT[name].hyperparameters]
        for key in hyperparameters:
            if key not in known:
                what = f"it has {', '.join(known)}" if known else "it has none"
                raise RefusedError(f"{name}: there is no hyperparameter `{key}`; {what}")

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Name and hyperparameters, as scikit-learn asks for them."""
        return {"name": self.name, **self.hyperparameters}

    def set_params(self, **params: Any) -> Score:
        """Changes hyperparameters; it must learn again then."""
        params = self.get_params() | params
        self.__init__(**params)  # type: ignore[misc]
        return self

    def fit(
        self,
        *,
        logits: Any = None,
        features: Any = None,
        labels: Any = None,
        weight: Any = None,
        bias: Any = None,
        validation: dict[str, Any] | None = None,
    ) -> Score:
        """Learns from training pictures.

        Args:
            logits: `[rows, classes]`.
            features: `[rows, width]`, what the last layer reads.
            labels: `[rows]`, the true classes from 0.
            weight: The last layer's weight, `[classes, width]`; it is kept for scoring.
            bias: Its bias, `[classes]`.
            validation: The same arrays (`logits`, `features`, `labels`) of in-distribution pictures that the
                classifier was not trained on, for scores that learn from them.
        """
        self._head = (weight, bias)
        train = None
        if logits is not None or features is not None:
            train = _shown(logits, features, labels, weight, bias)
        held_out = None
        if validation is not None:
            held_out = _shown(**{"weight": weight, "bias": bias, **validation})
        values = [(key, float(value)) for key, value in self.hyperparameters.items()]
        self._fitted = _native.fit(self.name, values, train, held_out)
        return self

    def score(
        self, *, logits: Any = None, features: Any = None, weight: Any = None, bias: Any = None
    ) -> np.ndarray:
        """The scores of pictures, `[rows]` of float32, higher for in-distribution ones."""
        if self._fitted is None:
            if {"train", "validation"} & set(_ABOUT[self.name].needs):
                raise NotFittedError(f"{self.name} has not learnt yet: call `fit` first")
            self.fit(weight=weight, bias=bias)
        own = self._head if weight is None and bias is None else (weight, bias)
        shown = _shown(logits, features, None, *own)
        return np.frombuffer(memoryview(self._fitted.score(shown)), dtype=np.float32)

    #: scikit-learn's name of it: higher is more normal there, too.
    score_samples = score

    def __repr__(self) -> str:
        numbers = "".join(f", {key}={value:g}" for key, value in self.hyperparameters.items())
        return f"Score({self.name!r}{numbers})"


def _compute(
    name: str,
    logits: Any = None,
    features: Any = None,
    weight: Any = None,
    bias: Any = None,
    **hyperparameters: float,
) -> np.ndarray:
    score = Score(name, **hyperparameters)
    return score.score(logits=logits, features=features, weight=weight, bias=bias)


def __getattr__(name: str) -> Any:
    known = _ABOUT.get(name)
    if known is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; `names()` lists the scores")
    if {"train", "validation"} & set(known.needs):
        raise AttributeError(f"{name} learns from pictures: Score({name!r}).fit(...).score(...)")
    function = partial(_compute, name)
    function.__doc__ = (
        f"{known}\n\nReturns the scores of the rows of `logits`, `features` or both, as `Score` does."
    )
    return function


def __dir__() -> list[str]:
    learn = {"train", "validation"}
    return __all__ + [name for name, known in _ABOUT.items() if not learn & set(known.needs)]
