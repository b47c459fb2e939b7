"""Imagined outliers in training loops, and checkpoints."""

import numpy as np
import pytest
from conftest import pictures

torch = pytest.importorskip("torch", reason="PyTorch is not installed (`pip install torch`)")

from dream_ood import errors  # noqa: E402
from dream_ood.torch import ImaginedImages, ImaginedStream  # noqa: E402
from torch.utils.data import DataLoader  # noqa: E402


def gone_through(loader) -> dict[int, torch.Tensor]:
    """All pictures of a loader, by the class and place that is in them."""
    found = {}
    for batch, classes in loader:
        for picture, class_ in zip(batch, classes):
            pixel = (picture[:, 0, 0] * 255).round().int().tolist()
            assert pixel[0] == class_
            found[pixel[0] * 100 + pixel[1]] = picture
    return found


@pytest.mark.parametrize("method", [None, "fork", "spawn", "forkserver"])
def test_a_loader_with_workers_has_every_picture_once(store, method):
    store.sql("SELECT 1").count()  # threads of the parent, which a forked worker does not have
    store.nearest("features", ("features", "features", "bag", 0))
    data = store.images("dreams").to_torch()
    workers = 0 if method is None else 2
    loader = DataLoader(data, batch_size=4, shuffle=True, num_workers=workers, multiprocessing_context=method)
    for _ in range(2):
        found = gone_through(loader)
        assert len(found) == len(data) == 15
    expected = torch.from_numpy(pictures()[0]).permute(0, 3, 1, 2).float() / 255
    assert torch.allclose(found[104], expected[9])


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_stream_is_shared_among_workers(store, method, monkeypatch):
    monkeypatch.setattr("dream_ood.torch.AT_ONCE", 4)
    data = ImaginedStream(store.images("dreams"), shuffle=True, seed=3)
    assert len(gone_through(DataLoader(data, batch_size=4))) == 15
    loader = DataLoader(data, batch_size=4, num_workers=2, multiprocessing_context=method)
    assert len(gone_through(loader)) == 15


def test_provenance_and_transforms(store):
    data = store.images("dreams").to_torch(lambda picture: picture.size, provenance=True)
    run = store.run("dreams").id
    assert data[6] == ((16, 16), 1, {"run": run, "class_name": "coat", "index": 1, "outlier": -1})
    assert isinstance(store.images("dreams").to_torch(), ImaginedImages)


def test_a_users_own_loop(store):
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.LazyLinear(1))
    loader = DataLoader(store.images("dreams").to_torch(), batch_size=5, shuffle=True)
    losses = [torch.nn.functional.softplus(net(outliers)).mean() for outliers, _ in loader]
    sum(losses).backward()
    assert len(losses) == 3


def test_a_store_in_a_forked_worker_reads(store):
    import multiprocessing

    store.sql("SELECT 1").count()
    context = multiprocessing.get_context("fork")
    with context.Pool(1) as pool:
        assert pool.apply(count_of, (store,)) == 120
    process = context.Process(target=refused_in_child, args=(store,))
    process.start()
    process.join(60)
    assert process.exitcode == 0


def test_a_worker_forked_from_a_writer_reads(writable):
    import multiprocessing

    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply(count_of, (writable,)) == 120
    process = multiprocessing.get_context("fork").Process(target=reads_and_does_not_write, args=(writable,))
    process.start()
    process.join(60)
    assert process.exitcode == 0
    loader = DataLoader(writable.images("dreams").to_torch(), batch_size=4, num_workers=2)
    assert len(gone_through(loader)) == 15
    writable.set_alias("still-held", "outliers")


def reads_and_does_not_write(store):
    assert store.query("features").count() == 120 and store.is_read_only
    with pytest.raises(errors.LockedError):
        store.set_alias("other", "outliers")


def count_of(store) -> int:
    return store.query("features").count()


def refused_in_child(store):
    assert store.query("features").count() == 120
    vector = np.ones(8)
    assert store.nearest("features", vector, k=2).count() == 2
    with pytest.raises(errors.UnsupportedError, match="spawn"):
        store.sql("SELECT 1")


def test_weights_of_a_checkpoint(writable):
    weight, bias = np.arange(12.0).reshape(3, 4), np.zeros(3)
    random = np.random.default_rng(0)
    run = writable.import_activations(
        dataset="a", features=random.normal(size=(5, 4)), weight=weight, bias=bias, alias="seen"
    )
    state = writable.state_dict(run)
    layer = torch.nn.Linear(4, 3)
    layer.load_state_dict({name.removeprefix("fc."): tensor for name, tensor in state.items()})
    assert torch.equal(layer.weight, torch.from_numpy(weight).float())
    state["fc.bias"] += 1  # it is one's own
    with pytest.raises(errors.MissingError, match="no checkpoints"):
        writable.state_dict("outliers")
    with pytest.raises(errors.MissingError, match="no checkpoint `nothing`; it has head"):
        writable.state_dict(run, "nothing")


def test_tensors_are_taken_in(writable):
    tensor = torch.eye(3, 8, dtype=torch.bfloat16, requires_grad=True)
    run = writable.import_class_embeddings(["a", "b", "c"], tensor)
    assert np.array_equal(writable.query("class_embeddings", run=run).numpy("vector"), np.eye(3, 8))
