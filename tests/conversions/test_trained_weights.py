"""Transplants of trained weights that still do what they were trained for, in four formats."""

from __future__ import annotations

import math
from pathlib import Path

import networks
import numpy as np
import torch
import trained_weights
from comparison import assert_same, load, same_bits
from efficientnet_lite0 import Network, PublishedNetwork, four_channel_network
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import ckptsurgeon as cs

RULES = Path(__file__).with_name("rules")
EXAMPLES = Path(__file__).parents[2] / "examples"


def save_destination(network: nn.Module, path: Path) -> dict[str, Tensor]:
    networks.randomise(network, seed=7)
    state = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(network.state_dict(), path)
    return state


# --- EfficientNet-Lite0: a legacy pickle ----------------------------------------------------------


def published_efficientnet() -> tuple[PublishedNetwork, dict[str, Tensor]]:
    weights = torch.load(trained_weights.efficientnet_lite0(), weights_only=True)
    network = PublishedNetwork().eval()
    network.load_state_dict(weights)
    return network, weights


def test_efficientnet_lite0_gives_its_own_features_in_another_network(tmp_path: Path) -> None:
    network = four_channel_network(classes=10).eval()
    torch.save(network.state_dict(), tmp_path / "destination.pt")
    cs.transplant(
        trained_weights.efficientnet_lite0(),
        tmp_path / "output.pt",
        EXAMPLES / "efficientnet_lite0.yaml",
        into=tmp_path / "destination.pt",
    )
    head = network.classifier.weight.clone()
    network.load_state_dict(load(tmp_path / "output.pt"), strict=True)
    published, _ = published_efficientnet()
    image = torch.rand(1, 4, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(network.features(image), published.features(image[:, :3]))
    assert same_bits(network.classifier.weight, head)


def test_efficientnet_lite0_fills_part_of_the_stem_and_no_other_value_changes(
    tmp_path: Path,
) -> None:
    own = save_destination(Network(channels=4, classes=10), tmp_path / "destination.safetensors")
    cs.transplant(
        trained_weights.efficientnet_lite0(),
        tmp_path / "output.safetensors",
        EXAMPLES / "efficientnet_lite0.yaml",
        into=tmp_path / "destination.safetensors",
    )
    output = load(tmp_path / "output.safetensors")
    _, weights = published_efficientnet()
    assert list(output) == list(load(tmp_path / "destination.safetensors"))
    stem = output["body.0.conv.weight"]
    assert same_bits(stem[:, :3], weights["_conv_stem.weight"])
    assert same_bits(stem[:, 3], own["body.0.conv.weight"][:, 3])
    for ours, theirs in (
        ("body.1.depthwise.norm.running_var", "_blocks.0._bn1.running_var"),
        ("body.16.expand.norm.running_mean", "_blocks.15._bn0.running_mean"),
        ("body.16.project.conv.weight", "_blocks.15._project_conv.weight"),
        ("body.17.norm.num_batches_tracked", "_bn1.num_batches_tracked"),
    ):
        assert same_bits(output[ours], weights[theirs])


# --- CREPE: a zip pickle --------------------------------------------------------------------------

RATE = 16_000


def tone(frequency: float) -> Tensor:
    """audio[1, 1024] of a sine, with mean 0 and deviation 1 as CREPE wants it."""
    samples = torch.sin(2 * math.pi * frequency * torch.arange(1024) / RATE)
    return ((samples - samples.mean()) / samples.std())[None]


def heard(scores: Tensor) -> float:
    """The pitch in Hz of the highest of 360 scores, which lie 20 cents apart."""
    cents = 20 * int(scores.argmax()) + 1997.3794084376191
    return float(10 * 2 ** (cents / 1200))


def test_crepe_hears_the_pitch_of_a_tone(tmp_path: Path) -> None:
    network = networks.PitchNetwork().eval()
    save_destination(network, tmp_path / "destination.pt")
    cs.transplant(
        trained_weights.crepe_tiny(),
        tmp_path / "output.pt",
        RULES / "crepe.yaml",
        into=tmp_path / "destination.pt",
    )
    network.load_state_dict(load(tmp_path / "output.pt"), strict=True)
    with torch.inference_mode():
        for frequency in (110.0, 220.0, 440.0, 880.0):
            assert abs(heard(network(tone(frequency))) / frequency - 1) < 0.03


# --- MiniLM: safetensors --------------------------------------------------------------------------


def torch_encoder() -> nn.TransformerEncoder:
    layer = nn.TransformerEncoderLayer(
        384, 12, 1536, dropout=0.0, activation="gelu", layer_norm_eps=1e-12, batch_first=True
    )
    return nn.TransformerEncoder(layer, 6)


def minilm() -> nn.Module:
    from transformers import BertConfig, BertModel

    sizes = {"hidden_size": 384, "num_hidden_layers": 6, "intermediate_size": 1536}
    model = BertModel(BertConfig(**sizes, num_attention_heads=12))
    weights = load_file(trained_weights.minilm())
    weights.pop("embeddings.position_ids")
    model.load_state_dict(weights, strict=True)
    return model.eval()


def test_minilm_gives_the_same_states_in_torch_s_encoder(tmp_path: Path) -> None:
    encoder = torch_encoder().eval()
    save_destination(encoder, tmp_path / "destination.safetensors")
    cs.transplant(
        trained_weights.minilm(),
        tmp_path / "output.safetensors",
        RULES / "minilm_to_torch_encoder.yaml",
        into=tmp_path / "destination.safetensors",
    )
    encoder.load_state_dict(load(tmp_path / "output.safetensors"), strict=True)
    model = minilm()
    words = torch.tensor([[101, 2023, 2003, 1037, 3231, 102]])
    with torch.inference_mode():
        states = encoder(model.embeddings(words))
        torch.testing.assert_close(states, model(words).last_hidden_state, atol=1e-5, rtol=1e-4)


# --- g2p: npz -------------------------------------------------------------------------------------

VOWELS = "AA AE AH AO AW AY EH ER EY IH IY OW OY UH UW"
CONSONANTS = "B CH D DH F G HH JH K L M N NG P R S SH T TH V W Y Z ZH"
STRESSED = [vowel + stress for vowel in VOWELS.split() for stress in "012"]
PHONEMES = sorted([*CONSONANTS.split(), *STRESSED, "UW"])
"""The phonemes in the order of their numbers, which begin with 4."""


def spelled(word: str) -> list[int]:
    """Numbers of a word's letters, and of its end; three signs stand before `a`."""
    return [3 + ord(letter) - ord("a") for letter in word] + [2]


def test_g2p_pronounces_words(tmp_path: Path) -> None:
    network = networks.Pronouncer().eval()
    save_destination(network, tmp_path / "destination.safetensors")
    cs.transplant(
        trained_weights.g2p(),
        tmp_path / "output.safetensors",
        RULES / "g2p.yaml",
        into=tmp_path / "destination.safetensors",
    )
    output = load(tmp_path / "output.safetensors")
    with np.load(trained_weights.g2p()) as arrays:
        wanted = torch.from_numpy(arrays["dec_w_hh"])
        assert same_bits(output["decoder.cell.weight_hh"], wanted)
    network.load_state_dict(output, strict=True)
    with torch.inference_mode():
        sounds = [PHONEMES[number - 4] for number in network.pronounce(spelled("transplant"))]
    assert " ".join(sounds) == "T R AE0 N S P L AE1 N T"


def test_apply_on_a_trained_state_dict_leaves_it_alone() -> None:
    _, weights = published_efficientnet()
    before = {key: tensor.clone() for key, tensor in weights.items()}
    into = Network(channels=4, classes=10).state_dict()
    tensors, _ = cs.apply(weights, EXAMPLES / "efficientnet_lite0.yaml", into=into)
    assert_same(weights, before)
    assert list(tensors) == list(into)
