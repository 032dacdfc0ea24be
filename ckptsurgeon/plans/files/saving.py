"""Plans written as JSON files, to be run later on the same checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from ckptsurgeon.checkpoints.transfer import write_bytes
from ckptsurgeon.checkpoints.writing.staging import staged_file
from ckptsurgeon.errors import OutputError
from ckptsurgeon.plans.fates import Claim, KeyFates
from ckptsurgeon.plans.files.codec import Encoder
from ckptsurgeon.plans.files.format import BEGINNING, VERSION, SavedFates, SavedPlan, SavedView
from ckptsurgeon.plans.views import SourceView
from ckptsurgeon.specs import TensorSpec, UnreadableSpec

if TYPE_CHECKING:  # which saves itself by this
    from ckptsurgeon.plans.plan import Plan


def save_plan(plan: Plan, path: Path) -> None:
    """Writes a plan whole or not at all; of existing files only another plan is replaced.

    Raises OutputError.
    """
    if path.suffix != ".json":
        raise OutputError(
            f"{path}: a plan is saved as JSON: name it `{path.stem}.json`; `transplant` writes "
            "checkpoints"
        )
    if path.name.endswith(".index.json"):
        raise OutputError(
            f"{path}: a file of this name is taken for the index of a checkpoint in shards: name it"
            " another way"
        )
    if path.exists() and not _is_plan(path):
        raise OutputError(f"{path}: exists, and is no plan that could be replaced")
    data = encode_plan(plan, path)
    with staged_file(path, force=True, nbytes=len(data)) as staged, staged.opened() as descriptor:
        write_bytes(descriptor, 0, data)


def encode_plan(plan: Plan, name: str | Path) -> bytes:
    """A plan as JSON; raises OutputError, which names what was to be written."""
    try:
        return msgspec.json.encode(_saved(plan))
    except UnicodeEncodeError as error:
        text = ascii(error.object)
        raise OutputError(f"{name}: JSON can't hold {text}, a name that is no UTF-8") from None


def _is_plan(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(BEGINNING)) == BEGINNING


def _saved(plan: Plan) -> SavedPlan:
    encoder = Encoder(plan.rules)
    fates = [_saved_fates(table, encoder, plan) for table in plan.fates.tables]
    outputs = [
        (one.key, encoder.plain(one.node), encoder.plain(one.rule), one.allowed)
        for one in plan.outputs.values()
    ]
    return SavedPlan(
        ckptsurgeon_plan=VERSION,
        sources=tuple(map(_saved_view, plan.sources)),
        destination=_saved_view(plan.destination) if plan.destination else None,
        separator=plan.separator,
        rules=plan.rules,
        nodes=encoder.nodes,
        outputs=outputs,
        ties=dict(plan.ties),
        checked_ties=list(map(encoder.fields, plan.checked_ties)),
        steps=list(map(encoder.fields, plan.steps.batches)),
        fates=fates,
        findings=list(map(encoder.fields, plan.findings)),
        notes=list(map(encoder.fields, plan.notes)),
        repeated=encoder.repeated,
        is_named=plan.is_named,
        files=tuple(replace(file, path="", format="") for file in plan.files),
    )


def _saved_view(view: SourceView) -> SavedView:
    return SavedView(
        view.alias,
        view.path,
        view.format,
        view.digest,
        view.options,
        {key: spec for key, spec in view.specs.items() if type(spec) is TensorSpec},
        {key: name for key, name in view.names.items() if key != name},
        view.contents.aliases,
        tuple(
            (place, key, spec)
            for place, (key, spec) in enumerate(view.specs.items())
            if isinstance(spec, UnreadableSpec)
        ),
        view.nesting if view.nesting.is_nested else None,
    )


def _saved_fates(fates: KeyFates, encoder: Encoder, plan: Plan) -> SavedFates:
    numbers: dict[Claim, int] = {}
    which = [numbers.setdefault(fates.claims[key], len(numbers)) for key in fates.specs]
    known = any(fates.specs is view.specs for view in plan.sources)
    specs = None if known else dict(fates.specs)
    return SavedFates(fates.stage, fates.source, specs, list(map(encoder.fields, numbers)), which)
