#!/bin/sh
# CIFAR-100: does imagining outliers help? A plain classifier beside classifiers trained with pictures of
# k-NN outliers (DREAM-OOD), of Gaussian noise around the class words, and of the plain class prompts, which
# shows what a network learns from the mere look of generated pictures; and outlier exposure on the pictures
# of k-NN outliers.
#
#   sh cifar100.sh DOWNLOADS MODEL OUT
#
# DOWNLOADS: the clones that README.md names. MODEL: a text-to-image model that knows the words of
# data/classes/cifar100.tsv, in the diffusers layout. OUT: the store and the tables, as CSV; asked again, it
# goes on where it stopped. DREAM names the program, if it is not `dream`; SEEDS the seeds (0 1 2). With
# TUNE=N classifiers begin with the encoder's weights, as the public code has it for ImageNet-100, and train
# for N epochs from a learning rate of 0.02; without, each trains from nothing for EPOCHS. A step has OUTLIERS
# outliers beside its BATCH images. On two cores the defaults take a long night a seed; on a GPU:
#
#   DREAM="dream --device cuda" DEPTH=34 WIDTH=64 EPOCHS=200 BATCH=256 PER_CLASS=1000 sh cifar100.sh ...
set -eu
here=$(dirname "$(realpath "$0")")
downloads=$(realpath "$1")
model=$(realpath "$2")
out=$3
dream=${DREAM:-dream}
seeds=${SEEDS:-0 1 2}
per_class=${PER_CLASS:-60}
steps=${STEPS:-20}
epochs=${EPOCHS:-25}
batch=${BATCH:-128}
# The neighbour whose distance is the density, of 500 images a class, and the size of the boundary set.
k=${K:-300}
select=${SELECT:-50}
preset=$here/cifar100.toml
mkdir -p "$out"
export DREAM_STORE="$out/cifar100.redb"

# Words of $dream are apart: the program and its options.
run() {
    $dream "$@"
}
# stage NAME ...: a stage from the preset.
stage() {
    name=$1
    shift
    run "$name" --preset "$preset" "$@"
}
# training NAME EPOCHS ...: a stage that trains a network.
training() {
    name=$1 passes=$2
    shift 2
    stage "$name" --set training.depth="${DEPTH:-18}" --set training.width="${WIDTH:-32}" \
        --set training.epochs="$passes" --set training.batch_size="$batch" "$@"
}
# detect SEED NAME PICTURES ...: a classifier trained with these pictures; the plain one is made with the
# first.
detect() {
    seed=$1 name=$2 pictures=$3
    shift 3
    if [ -n "${TUNE:-}" ]; then
        set -- --init "$out/encode-$seed.safetensors" --new-head --set training.lr=0.02 "$@"
    fi
    training detect "${TUNE:-$epochs}" --seed "$seed" --outliers "$pictures-$seed" --alias "$name-$seed" \
        --set outlier.batch_size="${OUTLIERS:-$batch}" "$@"
}

run dataset add cifar100 "$downloads/CIFAR-100-dataset"
run dataset add cifar10 "$downloads/CIFAR-10-dataset"
run dataset add tin "$downloads/imageet32x32"
run dataset add dtd "$downloads/DeepTexture/images"
run dataset add mnist "$downloads/mnist"
run dataset add notmnist "$downloads/notMNIST-to-MNIST"
run dataset add cifar-sd "$model"

# An outlier for every picture: a round keeps two for each feature of the boundary set.
rounds=$(((per_class + 2 * select - 1) / (2 * select)))
detectors=""
for seed in $seeds; do
    stage embed --alias embed
    training encode "$epochs" --seed "$seed" --embeddings embed --alias "encode-$seed"
    weights=$out/encode-$seed.safetensors
    [ -e "$weights" ] || run export checkpoint "encode-$seed" -o "$weights"
    stage sample --seed "$seed" --features "encode-$seed" --k "$k" --select "$select" \
        --anchors-per-round "$select" --rounds $rounds --alias "knn-$seed"
    stage sample --seed "$seed" --features "encode-$seed" --method gaussian --k "$k" \
        --per-class "$per_class" --alias "gaussian-$seed"
    for kind in knn gaussian; do
        stage imagine --seed "$seed" --outliers "$kind-$seed" --per-class "$per_class" --steps "$steps" \
            --alias "$kind-pictures-$seed"
    done
    stage imagine --seed "$seed" --embeddings embed --plain --per-class "$per_class" --steps "$steps" \
        --alias "prompt-pictures-$seed"
    detect "$seed" dream knn-pictures
    detect "$seed" gaussian-noise gaussian-pictures --only-outliers
    detect "$seed" class-prompts prompt-pictures --only-outliers
    detect "$seed" exposure knn-pictures --only-outliers --method outlier-exposure
    for name in dream-$seed-plain dream-$seed gaussian-noise-$seed class-prompts-$seed exposure-$seed; do
        detectors="$detectors $name"
    done

    # Before pictures serve as outliers: how many does the plain classifier take for their class, and
    # how many confidently for another one?
    for pictures in prompt-pictures gaussian-pictures knn-pictures; do
        folder=$out/$pictures-$seed
        [ -d "$folder" ] || run export images --run "$pictures-$seed" -o "$folder"
        run dataset add "$pictures-$seed" "$folder"
        run evaluate "dream-$seed-plain" --dataset cifar100 --ood "$pictures-$seed" --scores msp > /dev/null
    done
done
run --format csv sql "
    SELECT a.dataset, count(*) AS pictures,
           100 * avg(CASE WHEN a.predicted = a.label THEN 1.0 ELSE 0.0 END) AS own_class,
           100 * avg(CASE WHEN a.predicted <> a.label AND s.value > 0.5 THEN 1.0 ELSE 0.0 END) AS another
    FROM activations a JOIN scores s ON s.dataset = a.dataset AND s.sample = a.sample
    WHERE s.score = 'msp' AND a.dataset LIKE '%-pictures-%' GROUP BY a.dataset ORDER BY a.dataset" \
    > "$out/cifar100-pictures.csv"
# The names of the classifiers are words apart.
# shellcheck disable=SC2086
run --format csv evaluate $detectors --ood near=cifar10 near=tin:val far=dtd:all far=mnist far=notmnist \
    --dataset cifar100 --scores "msp,energy,gen,knn,vim:dim=$((4 * ${WIDTH:-32})),rmds,ash_s,dice" \
    --convention openood > "$out/cifar100.csv"
