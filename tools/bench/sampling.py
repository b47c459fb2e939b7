"""FAISS on one round of DREAM-OOD's outlier sampling, as its public code calls it: the peer of `benches/sampling.rs`.

Every candidate (50 boundary features x 1500 noise vectors, 768 dimensions) is searched in a flat index of 500 features for its
300 nearest, and of each boundary feature the two with the largest 300th distance are kept. Needs numpy and faiss-cpu.

    python tools/bench/sampling.py [--rounds 3] [--threads 2]
"""

import argparse
import time

import faiss
import numpy as np

N, M, ANCHORS, NOISE, K, KEEP, SIGMA = 500, 768, 50, 1500, 300, 2, 0.07


def normalise(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    faiss.omp_set_num_threads(args.threads)
    rng = np.random.default_rng(0)
    centre = rng.standard_normal(M, dtype=np.float32)
    features = normalise(centre + np.float32(0.7) * rng.standard_normal((N, M), dtype=np.float32))
    index = faiss.IndexFlatL2(M)
    index.add(features)
    own, _ = index.search(features, K)
    boundary = features[np.argsort(-own[:, -1])[:ANCHORS]]
    seconds = []
    for _ in range(args.rounds):
        start = time.perf_counter()
        noise = rng.standard_normal((NOISE, M), dtype=np.float32)
        candidates = normalise((boundary[:, None] + np.float32(SIGMA) * noise[None]).reshape(-1, M))
        squared, _ = index.search(candidates, K)
        kth = squared[:, -1].reshape(ANCHORS, NOISE)
        best = np.argsort(-kth, axis=1)[:, :KEEP]
        kept = candidates.reshape(ANCHORS, NOISE, M)[np.arange(ANCHORS)[:, None], best]
        assert kept.shape == (ANCHORS, KEEP, M)
        seconds.append(time.perf_counter() - start)
    print(f"faiss {faiss.__version__}, {args.threads} threads: {min(seconds) * 1e3:.0f} ms a round (best of {args.rounds})")


if __name__ == "__main__":
    main()
