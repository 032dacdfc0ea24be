"""Weights moved between `nn.Module`s, from files into them, and at every load from then on."""

from ckptsurgeon.modules.converting import convert_on_load
from ckptsurgeon.modules.loading import load, transplant

__all__ = ["convert_on_load", "load", "transplant"]
