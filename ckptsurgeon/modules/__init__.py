"""Weights moved between `nn.Module`s, from files into them, and at every load from then on."""

from ckptsurgeon.modules.loading import convert_on_load, load, transplant

__all__ = ["convert_on_load", "load", "transplant"]
