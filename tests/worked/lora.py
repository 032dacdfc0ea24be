"""LoRA: kohya's flat names with an alpha of each module, and PEFT's."""

from __future__ import annotations

import torch

from worked.job import Job, Near, random

# Modules of Stable Diffusion's UNet, with the sizes of what goes in and comes out: some names hold
# `_`, so that the flat ones can't be read without knowing them.
MODULES = {
    "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q": ((6,), (5,)),
    "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_out.0": ((6,), (5,)),
    "down_blocks.0.attentions.0.transformer_blocks.0.ff.net.0.proj": ((6,), (8,)),
    "down_blocks.11.resnets.1.conv1": ((6, 3, 3), (7, 1, 1)),
    "mid_block.attentions.0.proj_in": ((4, 1, 1), (4, 1, 1)),
    "up_blocks.1.resnets.0.time_emb_proj": ((3,), (9,)),
}


def jobs() -> list[Job]:
    return [kohya_to_peft(rank=4), kohya_to_peft(rank=6), peft_to_kohya(4), peft_to_kohya(6)]


def kohya_to_peft(rank: int) -> Job:
    """The product of both halves has alpha / rank as a factor, which goes to the first."""
    source, wanted = {}, {}
    for number, (module, (taken, given)) in enumerate(MODULES.items()):
        flat = "lora_unet_" + module.replace(".", "_")
        down, up = random(rank, *taken), random(given[0], rank, *given[1:])
        alpha = torch.tensor(1.0 + number)
        source |= {f"{flat}.alpha": alpha, f"{flat}.lora_down.weight": down}
        source |= {f"{flat}.lora_up.weight": up}
        # 1 / rank is rounded, and so are both products.
        value = down.double() * alpha.double() / rank
        wanted |= {f"unet.{module}.lora_A.weight": Near(value, roundings=3)}
        wanted |= {f"unet.{module}.lora_B.weight": up}
    into = {key: torch.zeros(getattr(one, "value", one).shape) for key, one in wanted.items()}
    lost = (r".*\.alpha", r".*\.lora_down\.weight")
    return Job(f"kohya -> PEFT, rank {rank}", "kohya_to_peft", source, wanted, into, lost=lost)


def peft_to_kohya(rank: int) -> Job:
    source, wanted = {}, {}
    for module, (taken, given) in MODULES.items():
        flat = "lora_unet_" + module.replace(".", "_")
        down, up = random(rank, *taken), random(given[0], rank, *given[1:])
        source |= {f"unet.{module}.lora_A.weight": down, f"unet.{module}.lora_B.weight": up}
        wanted |= {f"{flat}.lora_down.weight": down, f"{flat}.lora_up.weight": up}
        wanted |= {f"{flat}.alpha": torch.tensor(8.0)}
    return Job(f"PEFT -> kohya, rank {rank}", "peft_to_kohya", source, wanted)
