"""Takes over the weights of an earlier model of the same sizes, whatever its vocabulary."""

import json

import torch
from safetensors.torch import load_file

from models import token_table
from tokenizer import END, START, SUFFIX

HYPHEN = 3  # place of "-" in a prompt, after the start token, "a" and "high"


def warm_start(folder, vae, unet, text, vocabulary):
    """Loads `folder` (diffusers layout) into the modules; returns how many token rows were found.

    `vocabulary` maps our tokens to ids. The earlier model's words are in its
    tokenizer/vocab.json (with `</w>`) or in words.json (plain words, <bos>, <eos>).
    Positions beyond the earlier model's keep their fresh values.
    """
    vae.load_state_dict(load_32(folder / "vae/diffusion_pytorch_model.safetensors"))
    unet.load_state_dict(load_32(folder / "unet/diffusion_pytorch_model.safetensors"))
    earlier = load_32(folder / "text_encoder/model.safetensors")
    earlier = {k.removeprefix("text_model."): v for k, v in earlier.items()}
    old_tokens = earlier.pop("embeddings.token_embedding.weight")
    old_positions = earlier.pop("embeddings.position_embedding.weight")

    state = text.state_dict()
    prefix = "text_model." if any(k.startswith("text_model.") for k in state) else ""
    for name, value in earlier.items():
        if "position_ids" not in name:
            state[prefix + name].copy_(value)
    positions = state[prefix + "embeddings.position_embedding.weight"]
    if (folder / "words.json").exists():
        # That vocabulary has no signs: the "-" of "high-quality" moves what follows by one place.
        old_positions = torch.cat([old_positions[:HYPHEN + 1], old_positions[HYPHEN:]])
    shared = min(len(positions), len(old_positions))
    positions[:shared] = old_positions[:shared]

    table = token_table(text).weight.data
    table.mul_(old_tokens.std() / table.std())
    found = 0
    for token, row in rows_of(folder).items():
        if token in vocabulary:
            table[vocabulary[token]] = old_tokens[row]
            found += 1
    return found


def load_32(path):
    return {k: v.to(torch.float32) for k, v in load_file(path).items()}


def rows_of(folder):
    """Row of every token of the earlier model, by its name in our vocabulary."""
    words = folder / "words.json"
    if words.exists():
        special = {"<bos>": START, "<eos>": END}
        return {special.get(w, w + SUFFIX): i for w, i in json.loads(words.read_text()).items()}
    return json.loads((folder / "tokenizer/vocab.json").read_text())
