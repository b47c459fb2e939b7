"""FAISS on rounds of DREAM-OOD's outlier sampling, as its public code calls it, beside `benches/sampling.rs`.

Every candidate (50 boundary features x 1500 noise vectors, 768 dimensions) is searched in a flat index of the
class's features for its 300 nearest, and of each boundary feature the two with the largest 300th distance are
kept. Needs numpy and faiss-cpu. With the benchmark's binary (its path is what `cargo bench --no-run --bench
sampling` prints) ours is run right after, and the ratio printed.

    python tools/bench/sampling.py [--shape cifar100|imagenet100] [--rounds 3] [--threads 2] [--ours
    target/release/deps/sampling-...]
"""

import argparse
import os
import re
import subprocess
import time

import faiss
import numpy as np

M, ANCHORS, NOISE, K, KEEP = 768, 50, 1500, 300, 2
# features, boundary features, sigma
SHAPES = {"cifar100": (500, 50, 0.07), "imagenet100": (1000, 200, 0.03)}
UNITS = {"ms": 1.0, "s": 1e3, "µs": 1e-3}


def normalise(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def peer(shape, rounds):
    """Milliseconds of the fastest round."""
    n, select, sigma = SHAPES[shape]
    rng = np.random.default_rng(0)
    centre = rng.standard_normal(M, dtype=np.float32)
    features = normalise(centre + np.float32(0.7) * rng.standard_normal((n, M), dtype=np.float32))
    index = faiss.IndexFlatL2(M)
    index.add(features)
    own, _ = index.search(features, K)
    rim = features[np.argsort(-own[:, -1])[:select]]
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        noise = rng.standard_normal((NOISE, M), dtype=np.float32)
        anchors = rim[rng.choice(select, ANCHORS, replace=False)]
        candidates = normalise((anchors[:, None] + np.float32(sigma) * noise[None]).reshape(-1, M))
        squared, _ = index.search(candidates, K)
        kth = squared[:, -1].reshape(ANCHORS, NOISE)
        best = np.argsort(-kth, axis=1)[:, :KEEP]
        kept = candidates.reshape(ANCHORS, NOISE, M)[np.arange(ANCHORS)[:, None], best]
        assert kept.shape == (ANCHORS, KEEP, M)
        seconds.append(time.perf_counter() - start)
    return min(seconds) * 1e3


def ours(binary, shape, threads):
    """Milliseconds of a round, criterion's estimate."""
    env = os.environ | {"RAYON_NUM_THREADS": str(threads)}
    command = [binary, "--bench", f"rounds of {shape}$", "--noplot"]
    printed = subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout
    rounds = int(re.search(rf"(\d+) rounds of {shape}", printed).group(1))
    value, unit = re.search(r"time:\s+\[\S+ \S+ (\S+) (\S+)", printed).groups()
    return float(value) * UNITS[unit] / rounds


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", choices=SHAPES, default="cifar100")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--ours", metavar="BINARY")
    args = parser.parse_args()
    faiss.omp_set_num_threads(args.threads)
    theirs = peer(args.shape, args.rounds)
    print(f"{args.shape}, {args.threads} threads")
    print(f"faiss {faiss.__version__}: {theirs:.0f} ms a round (best of {args.rounds})")
    if args.ours:
        own = ours(args.ours, args.shape, args.threads)
        print(f"dream-ood: {own:.2f} ms a round; FAISS takes {theirs / own:.0f} times as long")


if __name__ == "__main__":
    main()
