"""BatchNorms folded and frozen by rules: the networks without them give the same outputs."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
import trained_weights
from comparison import assert_rounded_alike, load
from efficientnet_lite0 import PublishedNetwork
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from transformers.models.detr.modeling_detr import DetrFrozenBatchNorm2d

import ckptsurgeon as cs
from ckptsurgeon import cli
from ckptsurgeon.errors import ProblemsError

FOLDED = Path(__file__).with_name("rules") / "efficientnet_folded.yaml"


def published() -> PublishedNetwork:
    network = PublishedNetwork().eval()
    weights = torch.load(trained_weights.efficientnet_lite0(), weights_only=True)
    network.load_state_dict(weights)
    return network


def pairs(network: nn.Module) -> list[tuple[str, str]]:
    """Each convolution with the BatchNorm behind it, in the order of modules."""
    modules = [(n, m) for n, m in network.named_modules() if not list(m.children())]
    return [
        (name, behind)
        for (name, module), (behind, _) in pairwise(modules)
        if isinstance(module, nn.Conv2d)
    ]


def without_batchnorms() -> PublishedNetwork:
    """The network with biases in its convolutions and nothing in the place of BatchNorms."""
    network = PublishedNetwork().eval()
    for conv, norm in pairs(network):
        module = network.get_submodule(conv)
        assert isinstance(module, nn.Conv2d)
        module.bias = nn.Parameter(torch.zeros(module.out_channels))
        parent, _, name = norm.rpartition(".")
        setattr(network.get_submodule(parent), name, nn.Identity())
    return network


@pytest.fixture(scope="module")
def folded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("folded") / "folded.pt"
    cs.transplant(trained_weights.efficientnet_lite0(), output, FOLDED)
    return output


def test_the_folded_network_gives_the_outputs_of_the_unfolded_one(folded: Path) -> None:
    network = without_batchnorms()
    network.load_state_dict(load(folded), strict=True)
    image = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        found, wanted = network(image), published()(image)
    # 49 layers in a row each add in another order; the logits are of a size of about 1.
    torch.testing.assert_close(found, wanted, atol=2e-4, rtol=1e-4)
    assert torch.equal(found.argmax(1), wanted.argmax(1))


ROUNDINGS = 8
"""Of weight / sqrt(running_var + eps), what it scales, and a shift's sums; torch's rsqrt is free to
err by more than a root and a quotient.
"""


def test_every_fold_is_that_of_torch(folded: Path) -> None:
    network, state = published(), load(folded)
    for conv, norm in pairs(network):
        batchnorm: Any = network.get_submodule(norm)
        fused = fuse_conv_bn_eval(network.get_submodule(conv), batchnorm)
        assert_rounded_alike(state[f"{conv}.weight"], fused.weight, ROUNDINGS)
        centred = fused.bias - batchnorm.bias
        terms = centred.abs() + batchnorm.bias.abs()
        assert_rounded_alike(state[f"{conv}.bias"], fused.bias, ROUNDINGS, terms)


def test_the_report_notes_each_fold_and_what_was_computed() -> None:
    plan = cs.plan(trained_weights.efficientnet_lite0(), FOLDED)
    assert len([note for note in plan.notes if note.kind == "fold"]) == 49
    assert plan.outputs["_conv_stem.weight"].ops == ("fold_batchnorm(eps=0.001)",)
    assert {fate.fate.value for fate in plan.fates} == {"taken"}


def test_a_wrong_eps_gives_other_outputs(tmp_path: Path) -> None:
    """The eps of torch, 1e-5, is no eps for weights from TensorFlow."""
    rules = tmp_path / "rules.yaml"
    rules.write_text(FOLDED.read_text().replace("1e-3", "1e-5"))
    output = tmp_path / "folded.pt"
    cs.transplant(trained_weights.efficientnet_lite0(), output, rules)
    network = without_batchnorms()
    network.load_state_dict(load(output), strict=True)
    image = torch.rand(1, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert float((network(image) - published()(image)).abs().max()) > 0.1


def test_a_saved_plan_folds_as_well(tmp_path: Path, folded: Path) -> None:
    source, saved, again = (
        str(trained_weights.efficientnet_lite0()),
        str(tmp_path / "plan.json"),
        tmp_path / "again.pt",
    )
    assert cli.run(["plan", source, "-r", str(FOLDED), "-o", saved]) == 0
    assert cli.run(["transplant", source, "--plan", saved, "-o", str(again)]) == 0
    # Folds are made item by item of +, -, *, / and roots, which have one right answer each.
    assert again.read_bytes() == folded.read_bytes()


# --- frozen forms ---------------------------------------------------------------------------------


class Body(nn.Module):
    """Two BatchNorms, of torch's kind or of DETR's."""

    def __init__(self, norm: type[nn.Module]) -> None:
        super().__init__()
        self.bn1, self.bn2 = norm(4), norm(4)

    def forward(self, image: Tensor) -> Tensor:
        result: Tensor = self.bn2(self.bn1(image).relu())
        return result


def trained_body() -> Body:
    body = Body(nn.BatchNorm2d)
    torch.manual_seed(0)
    for _ in range(5):
        body(torch.randn(8, 4, 6, 6) * 3 + 1)
    for norm in (body.bn1, body.bn2):
        nn.init.normal_(norm.weight)  # type: ignore[arg-type]
        nn.init.normal_(norm.bias)  # type: ignore[arg-type]
    return body.eval()


def test_buffers_go_into_the_frozen_form_of_detr() -> None:
    body, frozen = trained_body(), Body(DetrFrozenBatchNorm2d)
    rules = [{"freeze_batchnorm": {"from": "<n:bn1|bn2>"}}]
    state, _ = cs.apply(body.state_dict(), rules, into=frozen.state_dict())
    frozen.load_state_dict(state, strict=True)
    image = torch.randn(2, 4, 6, 6)
    torch.testing.assert_close(frozen(image), body(image))


def test_affine_is_what_the_frozen_form_computes() -> None:
    body, frozen = trained_body(), DetrFrozenBatchNorm2d(4)
    rules = [{"freeze_batchnorm": {"from": "bn1", "to": "n", "as": "affine"}}, {"drop": "bn2.*"}]
    state, _ = cs.apply(body.state_dict(), rules)
    assert sorted(state) == ["n.bias", "n.weight"]
    own = {k.removeprefix("bn1."): v for k, v in body.state_dict().items() if "bn1" in k}
    frozen.load_state_dict({k: v for k, v in own.items() if k != "num_batches_tracked"})
    image, shape = torch.randn(2, 4, 6, 6), (1, -1, 1, 1)
    scale, shift = state["n.weight"].reshape(shape), state["n.bias"].reshape(shape)
    found, wanted = image * scale + shift, frozen(image)
    terms = (image * scale).abs() + shift.abs() + own["bias"].reshape(shape).abs() * 2
    assert_rounded_alike(found, wanted, ROUNDINGS, terms)


def test_a_variance_below_0_is_refused_when_run() -> None:
    state = trained_body().state_dict()
    state["bn1.running_var"][1] = -2
    rules = [{"freeze_batchnorm": {"from": "bn1", "as": "affine"}}]
    with pytest.raises(ProblemsError, match=r"running_var \+ eps is -1\.99.* in channel 1"):
        cs.apply(state, rules)
