"""The command line and its folder of checkpoints, for all tests of this folder."""

from command_line import ckpt, folder

__all__ = ["ckpt", "folder"]
