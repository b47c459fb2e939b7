"""Makes data/tiny-sd, the small text-to-image model, in Stable Diffusion 1.x's layout.

    python tiny_sd.py --work DIR --out ../../data/tiny-sd

The defaults made the model that ships. Training is counted in steps, which can
be repeated, or bounded in seconds (with 0 steps). The steps that a run took are
written to DIR/training.json.
"""

import argparse
import json
import pathlib
import shutil
import time

import numpy as np
import torch
import torch.distributed as dist
from transformers import CLIPTokenizer

from models import MAX_TOKENS, make_text_encoder, make_unet, make_vae, save_model
from pictures import CLASSES, PROMPT, fashion, world
from tokenizer import train_tokenizer
from parallel import launch
from train_unet import train_unet
from train_vae import encode_all, train_vae

VOCABULARY = 4096
GARMENTS = 0.67  # share of a batch


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("--work", type=pathlib.Path, required=True, help="folder for caches and snapshots")
    p.add_argument("--out", type=pathlib.Path, required=True, help="where the finished model goes")
    p.add_argument("--vae-seconds", type=float, default=480, help="used with --vae-steps 0")
    p.add_argument("--unet-seconds", type=float, default=3300, help="used with --unet-steps 0")
    p.add_argument("--vae-steps", type=int, default=1600, help="0: as many as --vae-seconds allow")
    p.add_argument("--unet-steps", type=int, default=5000, help="0: as many as --unet-seconds allow")
    p.add_argument("--unet-rate", type=float, default=1e-3, help="highest learning rate of the UNet")
    p.add_argument("--batch", type=int, default=64, help="pictures in a UNet step, over all processes")
    p.add_argument("--mirror", action="store_true", help="UNet: mirror images too (doubles the encoding)")
    p.add_argument("--garments", type=int, default=30000, help="how many garments to encode for the UNet")
    p.add_argument("--snapshot-seconds", type=float, default=420)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--processes", type=int, default=2)
    return p.parse_args()


def load_world(work):
    """The pictures beside the garments, from the cache in `work` if it is there."""
    tiles, captions = work / "world.npz", work / "world.json"
    if not tiles.exists():
        t, c = world()
        np.savez(tiles, t=t)
        captions.write_text(json.dumps(c))
    return np.load(tiles)["t"], json.loads(captions.read_text())


def choose(n, garments, others, share=GARMENTS):
    """Random indices of a batch: so many garments, and the rest other pictures."""
    k = round(n * share)
    return torch.randint(garments, (k,)), torch.randint(others, (n - k,))


def latents_of(vae, pictures):
    """Latents of the pictures, [n, 4, 8, 8]; each process encodes a share of them."""
    world, rank = dist.get_world_size(), dist.get_rank()
    share = -(-len(pictures) // world)
    mine = slice(rank * share, (rank + 1) * share)
    out = torch.zeros(len(pictures), 4, 8, 8)
    out[mine] = encode_all(vae, pictures[mine])
    dist.all_reduce(out)
    return out


def mirrored(pictures):
    return torch.cat([pictures, pictures.flip(-1)])


def clock(seconds, steps):
    """Progress from 0 to 1 as a function of the step: by the steps if given, else by the time."""
    start = time.time()
    return lambda step: (step + 1) / steps if steps else (time.time() - start) / seconds


def train(rank, a):
    start = time.time()
    torch.manual_seed(a.seed)

    def log(text):
        if rank == 0:
            print(f"[{time.time() - start:6.0f}] {text}", flush=True)

    images, labels = fashion("train")
    tiles, captions = load_world(a.work)
    garments = torch.from_numpy(images)[:, None].expand(-1, 3, -1, -1)
    others = torch.from_numpy(tiles).permute(0, 3, 1, 2).contiguous()
    labels = torch.from_numpy(labels)
    log(f"{len(garments)} garments, {len(others)} other pictures")

    texts = [PROMPT + c for c in CLASSES] + [PROMPT + c for c in captions]
    tokenizer = CLIPTokenizer.from_pretrained(a.work / "tokenizer")
    size = len(tokenizer)

    def ids(strings):
        return torch.tensor(
            tokenizer(strings, padding="max_length", truncation=True, max_length=MAX_TOKENS)["input_ids"]
        )

    tokens, empty = ids(texts), ids([""])
    log(f"vocabulary {size}; longest prompt {(tokens != size - 1).sum(1).max().item() + 1} tokens")

    vae, unet, text = make_vae(), make_unet(), make_text_encoder(size)
    for name, net in [("vae", vae), ("unet", unet), ("text encoder", text)]:
        log(f"{name}: {sum(p.numel() for p in net.parameters()):,} parameters")
    snapshot, record = a.work / "snapshot", {}

    def save(unet, text, scaling):
        if rank == 0:
            save_model(snapshot, vae, unet, text, a.work / "tokenizer", scaling)
            log("snapshot")

    save(unet, text, 1.0)

    def pictures(n):
        i, j = choose(n, len(garments), len(others), 0.5)
        x = torch.cat([garments[i], others[j]]).float() / 127.5 - 1
        return torch.where(torch.rand(n, 1, 1, 1) < 0.5, x.flip(-1), x)

    torch.manual_seed(a.seed + 1 + rank)
    record["vae_steps"] = train_vae(vae, pictures, clock(a.vae_seconds, a.vae_steps), log)
    vae.eval()

    # What ships is f16: round the autoencoder now, so that the UNet learns the shipped latents.
    for p in vae.parameters():
        p.data.copy_(p.data.half().float())
    subset = torch.randperm(len(garments), generator=torch.Generator().manual_seed(a.seed))[: a.garments]
    garments, labels = garments[subset], labels[subset]
    names = torch.arange(len(CLASSES), len(tokens))
    if a.mirror:
        garments, labels, others = mirrored(garments), labels.repeat(2), mirrored(others)
        names = names.repeat(2)
    garment_z, other_z = latents_of(vae, garments), latents_of(vae, others)
    scaling = round(1 / torch.cat([garment_z, other_z]).std().item(), 5)
    garment_z.mul_(scaling)
    other_z.mul_(scaling)
    log(f"scaling factor {scaling}")

    def batch(n):
        i, j = choose(n, len(garment_z), len(other_z))
        return torch.cat([garment_z[i], other_z[j]]), tokens[torch.cat([labels[i], names[j]])]

    unet, text, record["unet_steps"] = train_unet(
        unet,
        text,
        batch,
        empty,
        clock(a.unet_seconds, a.unet_steps),
        lambda u, t: save(u, t, scaling),
        a.snapshot_seconds,
        log,
        a.unet_rate,
        a.batch // a.processes,
    )
    record.update(seconds=round(time.time() - start), scaling_factor=scaling)
    save(unet, text, scaling)
    if rank == 0:
        shutil.rmtree(a.out, ignore_errors=True)
        shutil.copytree(snapshot, a.out)
        (a.work / "training.json").write_text(json.dumps(record) + "\n")
    log(f"done: {record}")


def main():
    a = arguments()
    a.work.mkdir(parents=True, exist_ok=True)
    _, captions = load_world(a.work)
    texts = [PROMPT + c for c in CLASSES] + [PROMPT + c for c in captions]
    words = set(CLASSES) | set("a high quality image of the".split())
    train_tokenizer(texts, words, VOCABULARY, MAX_TOKENS, a.work / "tokenizer")
    launch(train, a.processes, a)


if __name__ == "__main__":
    main()
