"""Names of files as patterns whose separator is `/`: `r<r>=mp_rank_<r:02>.pt`.

The files of sources and destinations are found, so the path is read and the alias written; those of
outputs are made, so the alias is read and the path written.
"""

from __future__ import annotations

from ckptsurgeon.file_names.advising import tell_left_out as tell_left_out
from ckptsurgeon.file_names.finding import find_files as find_files
from ckptsurgeon.file_names.resolving import OutputPaths as OutputPaths
from ckptsurgeon.file_names.resolving import paths_of_outputs as paths_of_outputs
from ckptsurgeon.file_names.sides import split_word as split_word
from ckptsurgeon.file_names.writing import OutputName as OutputName
