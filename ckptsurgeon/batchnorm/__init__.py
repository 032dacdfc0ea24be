"""BatchNorm in training and migration scripts: frozen, copied, mirrored, folded, recalibrated.

For torch's BatchNorm1d, 2d and 3d, SyncBatchNorm, and the lazy ones once they have a size.
Importing it imports torch. `docs/python.md` shows each function in use.
"""

from ckptsurgeon.batchnorm.conversion import convert_from_frozen, convert_to_frozen
from ckptsurgeon.batchnorm.convolutions import Folds, Unfolded, fold
from ckptsurgeon.batchnorm.copying import Channels, copy, copy_all
from ckptsurgeon.batchnorm.freezing import FrozenLayers, freeze, unfreeze
from ckptsurgeon.batchnorm.frozen import FrozenBatchNorm
from ckptsurgeon.batchnorm.links import Copied, Pair
from ckptsurgeon.batchnorm.mirroring import Mirror, mirror
from ckptsurgeon.batchnorm.recalibration import Recalibrated, recalibrate

__all__ = [
    "Channels",
    "Copied",
    "Folds",
    "FrozenBatchNorm",
    "FrozenLayers",
    "Mirror",
    "Pair",
    "Recalibrated",
    "Unfolded",
    "convert_from_frozen",
    "convert_to_frozen",
    "copy",
    "copy_all",
    "fold",
    "freeze",
    "mirror",
    "recalibrate",
    "unfreeze",
]
