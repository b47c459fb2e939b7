"""Trains the autoencoder: L1, an edge term that keeps it sharp, and a light KL pull."""

import time

import numpy as np
import torch


class Schedule:
    """Progress from 0 to 1, counted in seconds or in steps; cosine learning rate with warm-up."""

    def __init__(self, peak, seconds=None, steps=None, warmup=100):
        self.peak, self.seconds, self.steps, self.warmup = peak, seconds, steps, warmup
        self.start, self.step = time.time(), 0

    def progress(self):
        if self.steps:
            return self.step / self.steps
        return (time.time() - self.start) / self.seconds

    def set_rate(self, optimizer):
        """Sets the rate of the next step and counts it; False when the training is over."""
        p = self.progress()
        if p >= 1:
            return False
        rate = self.peak * min(1, (self.step + 1) / self.warmup) * (0.5 + 0.5 * np.cos(np.pi * p)) + 1e-6
        for group in optimizer.param_groups:
            group["lr"] = rate
        self.step += 1
        return True


def edges(x):
    return x[..., 1:] - x[..., :-1], x[..., 1:, :] - x[..., :-1, :]


def train_vae(vae, batch, schedule, log=print):
    """`batch(n)` gives n pictures in -1..1. Returns the number of steps taken."""
    vae.train().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(vae.parameters(), 2e-3, betas=(0.9, 0.99), weight_decay=0)
    while schedule.set_rate(optimizer):
        x = batch(64)
        latent = vae.encode(x).latent_dist
        y = vae.decode(latent.sample()).sample
        l1 = (y - x).abs().mean()
        edge = sum((a - b).abs().mean() for a, b in zip(edges(y), edges(x)))
        loss = l1 + 0.25 * edge + 4e-6 * latent.kl().mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        if schedule.step % 100 == 0:
            log(f"vae step {schedule.step} {time.time() - schedule.start:.0f} s: "
                f"l1 {l1.item():.4f} mse {((y - x) ** 2).mean().item():.5f}")
    vae.eval()
    return schedule.step


@torch.no_grad()
def encode_all(vae, pictures, chunk=500):
    """Latent means of uint8 pictures [n, 3, 32, 32]."""
    return torch.cat([vae.encode(pictures[i:i + chunk].float() / 127.5 - 1).latent_dist.mode()
                      for i in range(0, len(pictures), chunk)]).contiguous()
