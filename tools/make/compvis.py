"""Tensor names of the original Stable Diffusion code (CompVis), made from those of diffusers.

The inverse of diffusers' `convert_ldm_unet_checkpoint` and `convert_ldm_vae_checkpoint`, for any number of
levels and of layers a level; `tests/fixtures/diffusion/make.py` runs those on what this makes and compares.
"""

import re


def resnet(name):
    """A residual block of the UNet."""
    for theirs, ours in [
        ("norm1.", "in_layers.0."),
        ("conv1.", "in_layers.2."),
        ("time_emb_proj.", "emb_layers.1."),
        ("norm2.", "out_layers.0."),
        ("conv2.", "out_layers.3."),
        ("conv_shortcut.", "skip_connection."),
    ]:
        if name.startswith(theirs):
            return ours + name[len(theirs) :]
    raise ValueError(name)


def unet_names(names):
    """{diffusers name: CompVis name} of a UNet."""
    levels = 1 + max(int(m[1]) for n in names if (m := re.match(r"down_blocks\.(\d+)\.", n)))
    layers = 1 + max(int(m[1]) for n in names if (m := re.match(r"down_blocks\.0\.resnets\.(\d+)\.", n)))
    fixed = {
        "conv_in.": "input_blocks.0.0.",
        "time_embedding.linear_1.": "time_embed.0.",
        "time_embedding.linear_2.": "time_embed.2.",
        "conv_norm_out.": "out.0.",
        "conv_out.": "out.2.",
        "mid_block.resnets.0.": "middle_block.0.",
        "mid_block.attentions.0.": "middle_block.1.",
        "mid_block.resnets.1.": "middle_block.2.",
    }
    out = {}
    for name in names:
        if m := re.match(r"(down|up)_blocks\.(\d+)\.(resnets|attentions)\.(\d+)\.(.*)", name):
            side, level, kind, layer, rest = m[1], int(m[2]), m[3], int(m[4]), m[5]
            block = (
                f"input_blocks.{1 + level * (layers + 1) + layer}"
                if side == "down"
                else f"output_blocks.{level * (layers + 1) + layer}"
            )
            out[name] = f"{block}.0.{resnet(rest)}" if kind == "resnets" else f"{block}.1.{rest}"
        elif m := re.match(r"down_blocks\.(\d+)\.downsamplers\.0\.conv\.(.*)", name):
            out[name] = f"input_blocks.{(int(m[1]) + 1) * (layers + 1)}.0.op.{m[2]}"
        elif m := re.match(r"up_blocks\.(\d+)\.upsamplers\.0\.conv\.(.*)", name):
            attends = any(n.startswith(f"up_blocks.{m[1]}.attentions.") for n in names)
            out[name] = f"output_blocks.{int(m[1]) * (layers + 1) + layers}.{2 if attends else 1}.conv.{m[2]}"
        else:
            theirs = next(k for k in fixed if name.startswith(k))
            rest = name[len(theirs) :]
            out[name] = fixed[theirs] + (resnet(rest) if "resnets" in theirs else rest)
    assert levels > 0 and len(set(out.values())) == len(out)
    return out


def vae_names(names):
    """{diffusers name: CompVis name} of an autoencoder."""
    levels = 1 + max(int(m[1]) for n in names if (m := re.match(r"encoder\.down_blocks\.(\d+)\.", n)))
    attention = {
        "group_norm.": "norm.",
        "to_q.": "q.",
        "to_k.": "k.",
        "to_v.": "v.",
        "to_out.0.": "proj_out.",
        "query.": "q.",
        "key.": "k.",
        "value.": "v.",
        "proj_attn.": "proj_out.",
    }
    out = {}
    for name in names:
        new = name.replace("conv_norm_out.", "norm_out.")
        if m := re.match(
            r"(encoder|decoder)\.(down|up)_blocks\.(\d+)\.(resnets|downsamplers|upsamplers)\.(\d+)\.(.*)", new
        ):
            level = int(m[3]) if m[2] == "down" else levels - 1 - int(m[3])
            where = {"resnets": f"block.{m[5]}", "downsamplers": "downsample", "upsamplers": "upsample"}[m[4]]
            new = f"{m[1]}.{m[2]}.{level}.{where}.{m[6].replace('conv_shortcut.', 'nin_shortcut.')}"
        elif m := re.match(r"(encoder|decoder)\.mid_block\.(resnets|attentions)\.(\d+)\.(.*)", new):
            if m[2] == "resnets":
                new = f"{m[1]}.mid.block_{int(m[3]) + 1}.{m[4]}"
            else:
                theirs = next(k for k in attention if m[4].startswith(k))
                new = f"{m[1]}.mid.attn_1.{attention[theirs]}{m[4][len(theirs) :]}"
        out[name] = new
    assert len(set(out.values())) == len(out)
    return out


def to_compvis(parts):
    """One state dict in the original names from `{"text_encoder", "unet", "vae"}` in those of diffusers."""
    out = {}
    for name, ours in unet_names(list(parts["unet"])).items():
        out[f"model.diffusion_model.{ours}"] = parts["unet"][name]
    for name, ours in vae_names(list(parts["vae"])).items():
        tensor = parts["vae"][name]
        if re.search(r"\.attn_1\.(q|k|v|proj_out)\.weight$", ours):
            tensor = tensor.reshape(*tensor.shape[:2], 1, 1)  # a 1x1 convolution there
        out[f"first_stage_model.{ours}"] = tensor
    for name, tensor in parts["text_encoder"].items():
        name = name if name.startswith("text_model.") else f"text_model.{name}"
        out[f"cond_stage_model.transformer.{name}"] = tensor
    return out
