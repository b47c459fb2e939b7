"""Trains the autoencoder: L1, an edge term that keeps it sharp, and a light KL pull."""

import torch

from parallel import Trainer


def edges(x):
    return x[..., 1:] - x[..., :-1], x[..., 1:, :] - x[..., :-1, :]


def train_vae(vae, batch, clock, log, size=16):
    """`batch(n)` gives n pictures in -1..1. Returns the number of steps taken."""
    vae.train()
    trainer = Trainer(vae.parameters(), 2e-3, clock, warmup=100, weight_decay=0)
    going = True
    while going:
        x = batch(size)
        latent = vae.encode(x).latent_dist
        y = vae.decode(latent.sample()).sample
        l1 = (y - x).abs().mean()
        edge = sum((a - b).abs().mean() for a, b in zip(edges(y), edges(x)))
        going = trainer.update(l1 + 0.25 * edge + 4e-6 * latent.kl().mean())
        if trainer.step % 100 == 0:
            log(f"vae step {trainer.step}: loss {trainer.loss:.4f} l1 {l1.item():.4f}")
    vae.eval()
    return trainer.step


@torch.no_grad()
def encode_all(vae, pictures, chunk=500):
    """Latent means of uint8 pictures [n, 3, 32, 32]."""
    return torch.cat(
        [
            vae.encode(pictures[i : i + chunk].float() / 127.5 - 1).latent_dist.mode()
            for i in range(0, len(pictures), chunk)
        ]
    ).contiguous()
