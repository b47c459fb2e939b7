"""Detection scores beside FAISS and pytorch-ood, on the same activations in one run.

    python tools/bench/scores.py --dream PROGRAM [--train 50000] [--id 10000] [--ood 40000] [--width 512]
                                 [--classes 100] [--all] [--scores knn mds ...]

Makes activations, takes them in by `dream import activations` and evaluates each score by a command of its
own, whole: reading, learning, scoring, metrics, rows. FAISS (flat, exact) and pytorch-ood learn and score the
same arrays, already in memory, on as many threads. Prints seconds of the clock and of the processor, and the
ratio of theirs to ours; with --all also `evaluate --scores all`, with its peak of memory. Needs numpy, torch,
pytorch-ood and faiss-cpu.
"""

import argparse
import json
import os
import pathlib
import resource
import subprocess
import tempfile
import time

import faiss
import numpy as np
import torch


def activations(args):
    """Sets of features, logits and labels, and the last layer."""
    centres = np.maximum(np.random.RandomState(0).randn(args.classes, args.width), 0).astype(np.float32)
    weight, bias = centres * np.float32(0.05), np.zeros(args.classes, np.float32)

    def make(count, seed, is_ood):
        random = np.random.RandomState(seed)
        labels = random.randint(0, args.classes, count)
        middle = np.maximum(random.randn(count, args.width), 0) * 0.7 if is_ood else centres[labels]
        features = np.maximum(middle + 0.5 * random.randn(count, args.width), 0).astype(np.float32)
        return features, features @ weight.T + bias, -np.ones_like(labels) if is_ood else labels

    sets = {
        "train": make(args.train, 1, False),
        "validation": make(max(args.train // 10, 1), 2, False),
        "id": make(args.id, 3, False),
        "ood": make(args.ood, 4, True),
    }
    return sets, weight, bias


def command(*words):
    """Runs a command; returns seconds of the clock and the processor, and its peak of memory in MiB."""
    start = time.time()
    process = subprocess.Popen([str(word) for word in words], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        raise SystemExit(f"{words} failed")
    return time.time() - start, usage.ru_utime, usage.ru_maxrss / 1024


def timed(work):
    def spent():
        return time.time(), resource.getrusage(resource.RUSAGE_SELF).ru_utime

    before = spent()
    work()
    return [after - first for first, after in zip(before, spent())]


def peers(sets, weight, bias):
    """What the others do, by the score's name here."""
    from pytorch_ood import detector as theirs

    train, labels = torch.from_numpy(sets["train"][0]), torch.from_numpy(sets["train"][2])
    logits = torch.from_numpy(sets["train"][1])
    tested = [[torch.from_numpy(array) for array in sets[name][:2]] for name in ("id", "ood")]
    w, b = torch.from_numpy(weight), torch.from_numpy(bias)

    def knn():
        rows = [sets[name][0] for name in ("train", "id", "ood")]
        unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in rows]
        index = faiss.IndexFlatL2(unit[0].shape[1])
        index.add(unit[0])
        for queries in unit[1:]:
            index.search(queries, 50)

    def of_features(detector):
        def work():
            detector.fit_features(train, labels)
            for features, _ in tested:
                detector.predict_features(features)

        return work

    def of_logits(score):
        return lambda: [score(logits) for _, logits in tested]

    out = {
        "knn": ("FAISS", knn),
        "mds": ("pytorch-ood", of_features(theirs.Mahalanobis(None))),
        "rmds": ("pytorch-ood", of_features(theirs.RMD(None))),
        "vim": ("pytorch-ood", of_features(theirs.ViM(None, 256, w, b))),
        "msp": ("pytorch-ood", of_logits(theirs.MaxSoftmax.score)),
        "energy": ("pytorch-ood", of_logits(theirs.EnergyBased.score)),
        "max_logit": ("pytorch-ood", of_logits(theirs.MaxLogit.score)),
        "entropy": ("pytorch-ood", of_logits(theirs.Entropy.score)),
    }
    del logits
    return out


def main():
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=plain)
    parser.add_argument("--dream", required=True, type=pathlib.Path)
    for name, default in [("train", 50000), ("id", 10000), ("ood", 40000), ("width", 512), ("classes", 100)]:
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--scores", nargs="+")
    args = parser.parse_args()
    threads = len(os.sched_getaffinity(0))
    torch.set_num_threads(threads)
    faiss.omp_set_num_threads(threads)
    sets, weight, bias = activations(args)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        dream = [args.dream.resolve(), "--store", folder / "store.redb", "-q"]
        whole = 0.0
        for name, (features, logits, labels) in sets.items():
            arrays = {"features": features, "logits": logits, "labels": labels}
            file = folder / f"{name}.npz"
            np.savez(file, **arrays, **{"fc.weight": weight, "fc.bias": bias})
            taken = command(*dream, "import", "activations", file, "--dataset", name, "--alias", name)
            whole += taken[0]
            print(f"import {name}: {taken[0]:.2f} s, processor {taken[1]:.2f} s, {taken[2]:.0f} MiB")
        evaluate = [*dream, "evaluate", "--activations", "id", "--ood-activations", "ood"]
        learnt = {
            "training": "--train-activations=train",
            "validation": "--validation-activations=validation",
        }
        program = [args.dream.resolve(), "--format", "json", "scores"]
        listed = subprocess.run(program, capture_output=True, check=True)
        reads = {row["name"]: row["reads"] for row in map(json.loads, listed.stdout.splitlines())}
        print(f"{'score':10} {'ours':>8} {'cpu':>8} {'theirs':>8} {'cpu':>8} {'ratio':>6} {'of cpu':>6}")
        for score, (peer, work) in peers(sets, weight, bias).items():
            if args.scores and score not in args.scores:
                continue
            # Images that no score learns from are refused.
            own = [option for part, option in learnt.items() if f"{part} images" in reads[score]]
            clock, cpu, _ = command(*evaluate, *own, "--scores", score)
            their_clock, their_cpu = timed(work)
            ratios = f"{their_clock / clock:6.2f} {their_cpu / max(cpu, 1e-3):6.2f}"
            print(f"{score:10} {clock:8.2f} {cpu:8.2f} {their_clock:8.2f} {their_cpu:8.2f} {ratios}  {peer}")
        if args.all:
            clock, cpu, memory = command(*evaluate, *learnt.values(), "--scores", "all")
            print(f"all: {clock:.1f} s, processor {cpu:.1f} s, {memory:.0f} MiB")
            print(f"with imports {whole + clock:.1f} s")


if __name__ == "__main__":
    main()
