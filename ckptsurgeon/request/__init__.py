"""What a user asks for, opened: rules, checkpoints, config and vars."""

from __future__ import annotations

from ckptsurgeon.request.destinations import Into as Into
from ckptsurgeon.request.destinations import is_by_alias as is_by_alias
from ckptsurgeon.request.destinations import open_destination as open_destination
from ckptsurgeon.request.destinations import root_of_destination as root_of_destination
from ckptsurgeon.request.opening import Source as Source
from ckptsurgeon.request.opening import open_source as open_source
from ckptsurgeon.request.opening import paths_of as paths_of
from ckptsurgeon.request.opening import refuse_root as refuse_root
from ckptsurgeon.request.request import Request as Request
from ckptsurgeon.request.request import open_request as open_request
from ckptsurgeon.request.sources import gather_sources as gather_sources
from ckptsurgeon.request.sources import open_sources as open_sources
from ckptsurgeon.request.words import MAX_WHOLE as MAX_WHOLE
from ckptsurgeon.request.words import Allow as Allow
from ckptsurgeon.request.words import Config as Config
from ckptsurgeon.request.words import Given as Given
from ckptsurgeon.request.words import KindOfFinding as KindOfFinding
from ckptsurgeon.request.words import Root as Root
from ckptsurgeon.request.words import read_config as read_config
from ckptsurgeon.request.words import read_kinds as read_kinds
from ckptsurgeon.request.words import read_roots as read_roots
from ckptsurgeon.request.words import read_whole as read_whole
from ckptsurgeon.request.words import refuse_turned_round as refuse_turned_round
