#!/usr/bin/env bash
# Whether a program built with `--features cuda` starts where CUDA is not, and says there what it misses:
#   tools/check/cuda_start.sh target/release/dream
set -euo pipefail
dream=$(realpath "$1")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
unset LD_LIBRARY_PATH

fail() {
  echo "error: $*" >&2
  exit 1
}

# What the loader wants before the program begins.
needed=$(readelf -d "$dream" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p')
echo "the program needs:" $needed
if grep -E '^lib(cuda|cublas|cublasLt|curand|cudart|nvrtc|cudnn)\.so' <<<"$needed"; then
  fail "the libraries above must not be needed at the start; were RUSTFLAGS set that link them by force?"
fi
# As if every symbol were looked up at the start.
LD_BIND_NOW=1 "$dream" --version

"$dream" demo --quick --check
said=$("$dream" --store none.redb ls 2>&1) && fail "there was no store to list"
grep -q 'no store' <<<"$said" || fail "ls says: $said"

if ldconfig -p | grep -q 'libcuda\.so\.1 '; then
  echo "this machine has NVIDIA's driver: what is said without it is not checked" >&2
else
  if said=$("$dream" demo --quick --device cuda 2>&1); then
    fail "--device cuda works without a driver?"
  fi
  echo "$said"
  grep -q 'libcuda\.so\.1' <<<"$said" || fail "the missing driver is not named"
  grep -q 'LD_LIBRARY_PATH' <<<"$said" || fail "what to do is not said"
fi
echo "all is well"
