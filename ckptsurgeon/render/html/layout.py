"""A page put together: the templates filled, style and script inside, nothing else allowed to run.

All text is escaped by the templates; what comes from a file was made visible before (`safe`).
"""

from __future__ import annotations

import base64
import functools
import hashlib
from dataclasses import dataclass
from importlib import resources
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from ckptsurgeon.version import VERSION
from ckptsurgeon.visible import visible
from ckptsurgeon.wording import name_all

POLICY = (
    "default-src 'none'; style-src '{style}'; script-src '{script}'; img-src data:; "
    "base-uri 'none'; form-action 'none'"
)
"""What a browser is told to allow: the one style and the one script that stand in the page."""


@dataclass(frozen=True, slots=True)
class Head:
    """What stands at the top of a page: what it is of, how it ended, and what is said below that.

    `kind` is the command's word. `mood` is `good`, `allowed` or `bad`; `plain` where nothing is
    judged.
    """

    kind: str
    title: str
    verdict: str
    mood: str
    told: str = ""


def render_page(template: str, head: Head, **values: Any) -> str:
    """The page of a template, in pure ASCII: what is not stands there by its number."""
    style, script = _read("page.css"), _read("page.js")
    page = (
        _environment()
        .get_template(template)
        .render(
            head=head,
            version=VERSION,
            style=Markup(style),  # ours, as it stands in the package
            script=Markup(script),
            policy=POLICY.format(style=digest_of(style), script=digest_of(script)),
            **values,
        )
    )
    return page.encode("ascii", "xmlcharrefreplace").decode("ascii")


def digest_of(text: str) -> str:
    """What a content security policy names a style or a script by: `sha256-…`."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


@functools.cache
def _environment() -> Environment:
    """The templates; a name that nobody gave is an error, and all text is escaped."""
    environment = Environment(
        loader=FunctionLoader(_read),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["visible"] = visible
    environment.globals["name_all"] = name_all
    return environment


@functools.cache
def _read(name: str) -> str:
    folder = resources.files("ckptsurgeon.render.html").joinpath("templates")
    return folder.joinpath(name).read_text(encoding="utf-8")
