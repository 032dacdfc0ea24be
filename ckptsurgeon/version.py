"""The version of this package: told by reports, and by `--version`."""

from __future__ import annotations

VERSION = "0.1.0"
