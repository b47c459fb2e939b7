"""Stages of the pipeline as functions: asked with their parameters, checked, then carried out."""

from __future__ import annotations

import json
import operator
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from . import _native
from ._machine import machine
from ._progress import Progress, listener
from .errors import RefusedError

if TYPE_CHECKING:
    from ._store import Store

#: The parameters of the paper (DREAM-OOD, for ImageNet-100 and Stable Diffusion 1.4).
SAMPLING = {
    "kind": "outlier",
    "k": 300,
    "select": 200,
    "rounds": 100,
    "noise_per_round": 1500,
    "anchors_per_round": 50,
    "keep": 2,
    "sigma": 0.03,
    "knn": "paper",
}
IMAGINE = {
    "per_class": 1000,
    "prompt": "A high-quality image of the <class>",
    "suffixes": {},
    "scheduler": "plms",
    "steps": 50,
    "guidance_scale": 7.5,
}
EVALUATE = {"scores": ["msp", "energy"], "convention": "dream-ood"}


def sample(
    store: Store, features: str, seed: int, method: str, params: dict[str, Any], progress: Progress | None
) -> str:
    base, given = _text({"sampling": SAMPLING}), _text(params)
    return _native.sampled(store._native, machine(), listener(progress), features, seed, method, base, given)


def embed(
    store: Store,
    model: str,
    names: list[str],
    words: list[str],
    tokens: str | None,
    progress: Progress | None,
) -> str:
    if len(words) != len(names):
        raise RefusedError(f"words has {len(words)} entries, and names {len(names)}: one a class")
    params: dict[str, Any] = {"classes": [{"name": n, "word": w} for n, w in zip(names, words)]}
    if tokens is not None:
        params["tokens"] = tokens
    return _native.embedded(store._native, machine(), listener(progress), model, _text(params))


def imagine(
    store: Store,
    vectors: str,
    model: str | None,
    seed: int,
    batch_size: int | None,
    params: dict[str, Any],
    progress: Progress | None,
) -> str:
    text = _text({**IMAGINE, **params})
    own = machine(batch_size)
    return _native.imagined(store._native, own, listener(progress), vectors, model, seed, text)


class Observed:
    """Runs with activations, as the compiled part asks for them."""

    def __init__(
        self, id: str, ood: list[str], train: str | None, validation: str | None, search: str | None
    ):
        self.id, self.ood, self.train, self.validation, self.ood_validation = (
            id,
            ood,
            train,
            validation,
            search,
        )


def evaluate_activations(
    store: Store, observed: Observed, params: dict[str, Any], progress: Progress | None
) -> str:
    text = _text({**EVALUATE, **params})
    return _native.evaluate_activations(store._native, machine(), listener(progress), observed, text)


def evaluate_classifier(
    store: Store,
    classifier: str,
    id: str | None,
    ood: list[str],
    params: dict[str, Any],
    progress: Progress | None,
) -> str:
    text = _text({**EVALUATE, "split": "test", **params})
    return _native.evaluate_classifier(
        store._native, machine(), listener(progress), classifier, id, ood, text
    )


def imagine_asked(store: Store, vectors: str, model: str | None, seed: int, params: dict[str, Any]) -> str:
    text = _text({**IMAGINE, **params})
    return _native.imagine_asked(store._native, listener(False), vectors, model, seed, text)


def run_preset(
    store: Store, file: str, seed: int, setting: Mapping[str, Any] | None, progress: Progress | None
) -> list[tuple[str, str]]:
    text = None if setting is None else _text({key: [value] for key, value in setting.items()})
    return _native.run_preset(store._native, machine(), listener(progress), file, seed, text)


def planned(
    store: Store,
    file: str,
    settings: Mapping[str, Sequence[Any]] | None,
    seeds: Sequence[int] | None,
    shards: int,
) -> str:
    text = None if settings is None else _text({key: list(values) for key, values in settings.items()})
    numbers = None if seeds is None else [operator.index(seed) for seed in seeds]
    return _native.planned(store._native, listener(False), file, text, numbers, shards)


def register(store: Store, name: str, path: str, skip_bad: bool) -> dict[str, Any]:
    return json.loads(_native.register(store._native, listener(False), name, path, skip_bad))


def read(text: str) -> Any:
    """What the library says in JSON."""
    return json.loads(text)


def _text(params: dict[str, Any]) -> str:
    """Parameters as JSON; numbers of NumPy are numbers."""

    def plain(value: Any) -> Any:
        if hasattr(value, "tolist"):
            return value.tolist()
        raise RefusedError(f"parameters: {value!r} is neither a number nor a text, a list or a dict of such")

    try:
        return json.dumps(params, default=plain, allow_nan=False)
    except ValueError as error:
        if isinstance(error, RefusedError):
            raise
        raise RefusedError("parameters: a number that is not finite") from None
