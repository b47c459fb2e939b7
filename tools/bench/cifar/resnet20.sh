#!/bin/sh
# A ResNet-20 that another program trained on CIFAR-10, by all scores: near OOD CIFAR-100 and Tiny ImageNet,
# far OOD DTD, MNIST and notMNIST; and again with the ID test images as JPEG, as Tiny ImageNet's are.
#
#   sh resnet20.sh DOWNLOADS SETS OUT
#
# DOWNLOADS: the clones that README.md names. SETS: what prepare.py made. OUT: the store and the tables, as
# CSV. DREAM names the program, if it is not `dream`.
set -eu
downloads=$(realpath "$1")
sets=$(realpath "$2")
out=$3
dream=${DREAM:-dream}
weights=$downloads/pytorch_resnet_cifar10/pretrained_models/resnet20-12fca82f.th
mkdir -p "$out"
export DREAM_STORE="$out/resnet20.redb"

add() {
    "$dream" dataset add "$1" "$2"
}
add cifar10 "$sets/cifar10"
add cifar10-jpeg "$sets/cifar10-jpeg"
add cifar100 "$downloads/CIFAR-100-dataset"
add tin "$downloads/imageet32x32"
add dtd "$downloads/DeepTexture/images"
add mnist "$downloads/mnist"
add notmnist "$downloads/notMNIST-to-MNIST"

# observe ALIAS SET SPLIT: the network's form and its normalisation are those of the repository's resnet.py
# and trainer.py.
observe() {
    "$dream" observe --weights "$weights" --id cifar10 --dataset "$2" --split "$3" --alias "$1" \
        --set network.depth=20 --set network.width=16 --set network.stem=cifar --set network.size=32 \
        --set network.channels=rgb --set 'network.mean=[0.485,0.456,0.406]' \
        --set 'network.std=[0.229,0.224,0.225]'
}
observe id cifar10 test
observe id-jpeg cifar10-jpeg test
observe train cifar10 train
observe validation cifar10 val
observe cifar100 cifar100 test
observe tin tin val
observe dtd dtd all
observe mnist mnist test
observe notmnist notmnist test

# evaluate ID SCORES CONVENTION [OPTIONS]: three scores are made for networks whose features are wider than
# 64, and learn from no validation images.
evaluate() {
    "$dream" --format csv evaluate --activations "$1" --scores "$2" --convention "$3" \
        --ood-activations near=cifar100 near=tin far=dtd far=mnist far=notmnist \
        --train-activations train ${4:-}
}
for convention in openood dream-ood; do
    for id in id id-jpeg; do
        {
            evaluate $id all $convention "--validation-activations validation"
            evaluate $id vim:dim=32,residual:dim=32,neco:dim=32 $convention | tail -n +2
        } > "$out/resnet20-$id-$convention.csv"
    done
done
