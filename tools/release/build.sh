#!/usr/bin/env bash
# Builds what is published: the stripped program with what ships beside it, man pages and completions in one
# archive, a wheel where maturin is there, and the checksums of all.
#
#     tools/release/build.sh [--features cuda,cloud] [--program FILE] [--out DIR]
#
# --program packs a program that is built already. Nothing is published.
set -euo pipefail
top=$(realpath "$(dirname "$0")/../..")
cd "$top"
features="" program="" out=$top/dist
while [ $# -gt 0 ]; do
    case $1 in
        --features) features=$2; shift 2 ;;
        --program) program=$(realpath "$2"); shift 2 ;;
        --out) out=$(realpath -m "$2"); shift 2 ;;
        *) echo "error: $1: expected --features NAMES, --program FILE or --out DIR" >&2; exit 2 ;;
    esac
done
if [ -n "$(git status --porcelain --untracked-files=no)" ]; then
    echo "error: there are changes that are not committed: the version names a commit" >&2
    exit 1
fi
if [ -z "$program" ]; then
    cargo build --release --locked -p dream-tools ${features:+--features "$features"}
    program=${CARGO_TARGET_DIR:-target}/release/dream
fi
version=$("$program" --version | sed -n 's/^dream //p')
commit=$("$program" --version | sed -n 's/^commit: //p')
if [ "$commit" != "$(git rev-parse --short=12 HEAD)" ]; then
    echo "error: $program is of commit $commit, what would be packed with it of $(git rev-parse HEAD)" >&2
    exit 1
fi
target=$("$program" --version | sed -n 's/^target: //p')
name=dream-$version-$target${features:+-${features//[ ,]/-}}
# The wheel has the features of the program that it knows.
case ",${features//[ ]/,}," in *,cloud,*) cloud=1 ;; *) cloud="" ;; esac
mkdir -p "$out"
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
place=$work/$name
mkdir -p "$place/bin" "$place/share/man/man1" "$place/share/completions"
cp "$program" "$place/bin/dream"
strip "$place/bin/dream"
# The program finds `data` beside the folder that it is in. What git does not know is not shipped.
git archive HEAD data README.md CHANGELOG.md LICENSE LICENSE-APACHE LICENSE-MIT | tar -x -C "$place"
"$place/bin/dream" man -q "$place/share/man/man1"
for shell in bash zsh fish elvish powershell; do
    "$place/bin/dream" completions "$shell" > "$place/share/completions/dream.$shell"
done
# The same files give the same archive: names in order, the commit's time, no owner.
time=@$(git log -1 --format=%ct)
tar --sort=name --mtime="$time" --owner=0 --group=0 --numeric-owner -C "$work" -c "$name" \
    | gzip -9n > "$out/$name.tar.gz"
files=("$name.tar.gz")
if [ -f tools/python/pyproject.toml ] && command -v maturin > /dev/null; then
    maturin build --release --locked --strip ${cloud:+--features cloud} \
        -m tools/python/Cargo.toml --out "$work/wheels"
    for wheel in "$work"/wheels/*.whl; do
        cp "$wheel" "$out/"
        files+=("$(basename "$wheel")")
    done
else
    echo "no wheel: maturin or tools/python is not there" >&2
fi
(cd "$out" && sha256sum "${files[@]}" > SHA256SUMS)
(cd "$out" && ls -l "${files[@]}" SHA256SUMS)
