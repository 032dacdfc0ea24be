"""What `suggest` found, as text and as JSON."""

from __future__ import annotations

import json
from typing import Any

from ckptsurgeon.suggesting.suggestion import Suggestion

VERSION = 1


def render_suggestion(found: Suggestion) -> str:
    """The rule file, and its one line; whole, for it is a file."""
    return f"{found.text()}\n{found.bottom_line}\n"


def suggestion_json(found: Suggestion) -> str:
    """The suggestion as one JSON object: versioned, complete, pure ASCII."""
    told = {
        "version": VERSION,
        "clean": not found.exit_code,
        "exit_code": found.exit_code,
        "bottom_line": found.bottom_line,
        **describe_suggestion(found),
    }
    return json.dumps(told, indent=1) + "\n"


def describe_suggestion(found: Suggestion) -> dict[str, Any]:
    """The rule file, and what is said of each key, as JSON has it."""
    return {
        "rules": found.text(),
        "degrees": {key: degree.value for key, degree in found.degrees.items()},
        "open": dict(found.open),
        "unused": dict(found.unused),
    }
