"""What training saves, for those who load: averages without dots, state dicts within dicts."""

from __future__ import annotations

import torch

from worked.job import Job, random

# Of latent-diffusion's UNet: with all dots gone, 1.0 and 10 are as near as names come.
SHAPES = {
    "time_embed.0.weight": (8, 4),
    "input_blocks.0.0.weight": (4, 4, 3, 3),
    "input_blocks.1.0.in_layers.2.bias": (4,),
    "input_blocks.1.1.transformer_blocks.0.attn1.to_q.weight": (4, 4),
    "input_blocks.11.0.in_layers.2.bias": (4,),
    "middle_block.0.in_layers.2.bias": (4,),
    "out.2.weight": (4, 4, 3, 3),
}

State = dict[str, torch.Tensor]


def jobs() -> list[Job]:
    return [
        ema_by_destination(),
        ema_by_model(),
        ip_adapter(1),
        ip_adapter(4),
        nested_twice(),
        nested_twice(into_nested=True),
    ]


def ema_by_destination() -> Job:
    """The destination has the names, and the model's own weights go."""
    source, wanted, into = _diffusion()
    return _ema("--into", "ema_by_destination", source, wanted, into)


def ema_by_model() -> Job:
    """The model has the names, and what the EMA lacks."""
    source, wanted, _ = _diffusion()
    source["model.logvar"] = wanted["model.logvar"] = random(5)
    return _ema("for", "ema_by_model", source, wanted)


def _ema(by: str, rules: str, source: State, wanted: State, into: State | None = None) -> Job:
    """The average comes, and the model's own weights and the EMA's counters go."""
    return Job(
        f"EMA without dots, {by}",
        rules,
        {"state_dict": source, "epoch": 3},
        {"state_dict": wanted, "epoch": 3},
        None if into is None else {"state_dict": into},
        lost=(r"model\.diffusion_model\..*", r"model_ema\.(decay|num_updates)"),
        front="state_dict.",
        source_name="source.ckpt",
        output_name="output.ckpt",
    )


def _diffusion() -> tuple[State, ...]:
    """The training state, the average under the model's names, and a network just built."""
    source, wanted = {}, {}
    for key, shape in SHAPES.items():
        source[f"model.diffusion_model.{key}"] = random(*shape)
        wanted[f"model.diffusion_model.{key}"] = random(*shape)
    for key, average in wanted.items():
        source["model_ema." + key.removeprefix("model.").replace(".", "")] = average
    source["model_ema.decay"] = torch.tensor(0.9999)
    source["model_ema.num_updates"] = torch.tensor(7, dtype=torch.int32)
    autoencoder = "first_stage_model.encoder.conv_in.weight"
    source[autoencoder] = wanted[autoencoder] = random(4, 3, 3, 3)
    return source, wanted, {key: torch.zeros_like(one) for key, one in wanted.items()}


def ip_adapter(depth: int) -> Job:
    """The loader counts the attentions: down, up, then the middle; the odd are of images."""
    names = [f"down_blocks.{b}.attentions.{a}" for b in range(3) for a in range(2)]
    names += [f"up_blocks.{b}.attentions.{a}" for b in (1, 2, 3) for a in range(3)]
    names += ["mid_block.attentions.0"]
    projection = {"proj.weight": random(12, 6), "proj.bias": random(12), "norm.weight": random(6)}
    adapter = {}
    source = {f"image_proj_model.{key}": one for key, one in projection.items()}
    for number, name in enumerate(names):
        for kind in "kv":
            weight = random(2 * depth, depth)
            processor = f"unet.{name}.transformer_blocks.0.attn2.processor"
            source[f"{processor}.to_{kind}_ip.weight"] = weight
            adapter[f"{2 * number + 1}.to_{kind}_ip.weight"] = weight
    source["unet.conv_in.weight"] = random(6, 4, 3, 3)
    return Job(
        f"IP-Adapter, width {depth}",
        "ip_adapter",
        source,
        {"image_proj": projection, "ip_adapter": adapter},
        lost=(r"unet\.conv_in\.weight",),
        output_name="ip_adapter.bin",
    )


def nested_twice(into_nested: bool = False) -> Job:
    """Two state dicts under two roots, out of one flat file, or one nested otherwise."""
    model = {"backbone.0.weight": random(3, 2), "head.bias": random(3)}
    average = {key: tensor + 1 for key, tensor in model.items()}
    flat = model | {f"ema.{key}": tensor for key, tensor in average.items()}
    return Job(
        "two state dicts nested" + (", from a .pt" if into_nested else ""),
        "nested_twice",
        flat,
        {"state_dict": model, "ema": {"state_dict": average}},
        source_name="source.pt" if into_nested else "source.safetensors",
        output_name="output.pt",
    )
