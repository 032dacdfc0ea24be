"""Saved plans read again, and held against the checkpoints that they are to run on.

What a file says of shapes is not believed: specs of source tensors come from the checkpoints when
it is run, and each op infers its results again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from ckptsurgeon.checkpoints.base import DESTINATION, Checkpoint, Contents
from ckptsurgeon.checkpoints.nesting import FLAT
from ckptsurgeon.checkpoints.several import Several
from ckptsurgeon.checkpoints.strict_json import TOO_DEEP
from ckptsurgeon.errors import CheckpointError, CkptSurgeonError
from ckptsurgeon.ops.indexing import resolve_index, taken_shape
from ckptsurgeon.ops.regions import overlapping, taken_count
from ckptsurgeon.plans.account import CheckedTie, Finding, FindingKind, Note
from ckptsurgeon.plans.addresses import alias_of
from ckptsurgeon.plans.digests import digest
from ckptsurgeon.plans.fates import Claim, Fates, KeyFates
from ckptsurgeon.plans.files.codec import Decoder, Listed
from ckptsurgeon.plans.files.format import BEGINNING, VERSION, SavedFates, SavedPlan, SavedView
from ckptsurgeon.plans.fills import check_made
from ckptsurgeon.plans.graph import Assembly, Call, Leaf, Made, Node, RuleInfo
from ckptsurgeon.plans.output_files import OF_DESTINATION
from ckptsurgeon.plans.outputs import Outputs
from ckptsurgeon.plans.plan import Plan, name_outputs, two_of_one_name
from ckptsurgeon.plans.steps import Batch, Steps
from ckptsurgeon.plans.ties import Storages, carried_ties, united
from ckptsurgeon.plans.views import SourceView, view_destination, view_source
from ckptsurgeon.specs import TensorSpec, shapes_agree
from ckptsurgeon.wording import choose


def read_plan(data: bytes, path: Path) -> SavedPlan:
    """The plan in a file's text; raises CkptSurgeonError where it is none."""
    if not data.startswith(BEGINNING):
        how = choose("`ckptsurgeon plan SRC -r RULES -o plan.json`", "`Plan.save`")
        raise CkptSurgeonError(f"{path}: is no plan that was saved, as {how} does")
    try:
        saved = msgspec.json.decode(data, type=SavedPlan)
    except RecursionError:
        raise CkptSurgeonError(f"{path}: a saved plan that is {TOO_DEEP}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CkptSurgeonError(f"{path}: a saved plan that was changed or cut: {error}") from None
    if saved.ckptsurgeon_plan != VERSION:
        raise CkptSurgeonError(f"{path}: a plan of version {saved.ckptsurgeon_plan}, not {VERSION}")
    return saved


def restore_plan(saved: SavedPlan, checkpoints: Mapping[str, Checkpoint], path: Path) -> Plan:
    """The plan for these checkpoints by alias, which must be those that it was made for.

    `path` is the file that it was read from, for errors.
    """
    separators = {file.alias: file.separator for file in saved.files}

    def view(own: SavedView) -> SourceView:
        return _view(own, checkpoints, lambda alias: separators.get(alias, saved.separator))

    return _held_together(saved, view, path)


def recall_plan(saved: SavedPlan, path: Path) -> Plan:
    """The plan as it was made, without its checkpoints: to be looked at, not to be run."""
    return _held_together(saved, lambda view: _recalled_view(view, path), path)


def _held_together(saved: SavedPlan, viewed: Callable[[SavedView], SourceView], path: Path) -> Plan:
    views = {view.alias: viewed(view) for view in saved.sources}
    destination = viewed(saved.destination) if saved.destination else None
    known = {**views, **({DESTINATION: destination} if destination else {})}
    try:
        return _Restoring(saved, known, destination).plan()
    except (CkptSurgeonError, TypeError, ValueError, LookupError, msgspec.MsgspecError) as error:
        raise CkptSurgeonError(
            f"{path}: the saved plan doesn't hold together: {error}; plan again"
        ) from None


def _view(
    saved: SavedView,
    checkpoints: Mapping[str, Checkpoint],
    separator_of: Callable[[str], str],
) -> SourceView:
    name = "the destination" if saved.alias == DESTINATION else f"source {saved.alias}".rstrip()
    if saved.alias not in checkpoints:
        raise CheckpointError(f"the plan needs {name} (it was {saved.path}), which is not given")
    checkpoint = checkpoints[saved.alias]
    if isinstance(checkpoint, Several):
        view = view_destination(checkpoint, separator_of)
    else:
        view = view_source(checkpoint, saved.alias, saved.options)
    if view.digest != saved.digest:
        raise CheckpointError(
            f"{view.path}: its keys, dtypes or shapes are not those of {name} ({saved.path}) that "
            "the plan was made for; plan again"
        )
    return view


def _recalled_view(saved: SavedView, path: Path) -> SourceView:
    """The view that the file tells of, if it is the one whose digest it has."""
    specs = saved.all_specs()
    names = {key: saved.names.get(key, key) for key in specs}
    own = {names[key]: spec for key, spec in specs.items()}
    if digest(own) != saved.digest or not own.keys() >= {n for g in saved.aliases for n in g}:
        raise CkptSurgeonError(
            f"{path}: the saved plan doesn't hold together: what it says of {saved.path} was "
            "changed; plan again"
        )
    return SourceView(
        alias=saved.alias,
        path=saved.path,
        format=saved.format,
        options=saved.options,
        names=names,
        specs=specs,
        contents=Contents(own, aliases=saved.aliases),
        nesting=saved.nesting or FLAT,
    )


class _Restoring:
    """A saved plan made whole again over these views; what does not hold together is an error."""

    def __init__(
        self,
        saved: SavedPlan,
        views: Mapping[str, SourceView],
        destination: SourceView | None,
    ) -> None:
        self._saved, self._views, self._destination = saved, views, destination
        plain = (msgspec.structs.replace(rule, steps=0) for rule in saved.rules)
        self._decoder = Decoder([*plain, *saved.repeated])
        for entry in saved.nodes:
            self._decoder.add(self._checked(self._decoder.listed(entry)))

    def plan(self) -> Plan:
        saved, decoder = self._saved, self._decoder
        sources = tuple(self._views[view.alias] for view in saved.sources)
        outputs = self._outputs()
        carried = carried_ties(outputs, Storages(sources), is_named=saved.is_named)
        plan = Plan(
            sources=sources,
            destination=self._destination,
            outputs=outputs,
            steps=Steps([self._batch(fields) for fields in saved.steps]),
            fates=Fates([self._fates(fates) for fates in saved.fates]),
            rules=saved.rules,
            findings=tuple(decoder.struct(fields, Finding) for fields in saved.findings),
            notes=tuple(decoder.struct(fields, Note) for fields in saved.notes),
            ties=united((*saved.ties.items(), *carried.items()), outputs),
            checked_ties=tuple(decoder.struct(fields, CheckedTie) for fields in saved.checked_ties),
            separator=saved.separator,
            files=saved.files,
            is_named=saved.is_named,
        )
        _check_files(plan)
        _check_shapes(plan)
        self._check_ties(plan)
        return plan

    def _batch(self, fields: Sequence[Any]) -> Batch:
        """The steps of a rule; raises ValueError where their columns don't go together."""
        batch = self._decoder.struct(fields, Batch)
        read, given, steps = len(batch.keys), len(batch.products), len(batch.ops)
        totals = len(batch.aliases), sum(batch.reads), sum(batch.gives)
        if (
            fields[0] is None
            or totals != (read, read, given)
            or not len(batch.reads) == len(batch.gives) == steps
            or min((*batch.reads, *batch.gives), default=0) < 0
            or not batch.slices.keys() <= set(range(read))
            or not batch.places.keys() <= set(range(given))
        ):
            raise ValueError("the columns of its steps don't go together")
        return batch

    def _checked(self, item: Listed) -> Listed:
        """The node as the checkpoints and its inputs make it, whatever the file says of shapes."""
        if isinstance(item, Leaf):
            return self._views[item.source].leaf(item.key)
        if isinstance(item, Call):
            specs = item.op.infer(tuple(node.spec for node in item.inputs))
            return msgspec.structs.replace(item, specs=specs)
        if isinstance(item, Made):
            check_made(item)
        elif isinstance(item, Assembly):
            _check_assembly(item)
        elif not 0 <= item.number < len(item.call.specs):
            raise ValueError(f"result {item.number} of {len(item.call.specs)} is named")
        return item

    def _outputs(self) -> Outputs:
        """The outputs; raises ValueError where two have one key."""
        nodes: dict[str, Node] = {}
        rules: dict[str, RuleInfo | None] = {}
        allowed: dict[str, str] = {}
        for key, number, rule, finding in self._saved.outputs:
            nodes[key], rules[key] = self._decoder.node(number), self._decoder.rule(rule)
            allowed |= {key: finding} if finding else {}
        if len(nodes) != len(self._saved.outputs):
            raise ValueError("two outputs have one key")
        wanted = self._destination.specs if self._destination else {}
        is_named = self._saved.is_named
        separators = {file.alias: file.separator for file in self._saved.files}
        separators = {"": self._saved.separator, **separators}
        name_of = name_outputs(self._destination, separators, is_named=is_named)
        outputs = Outputs(nodes, rules, name_of, wanted, allowed)
        if two_of_one_name(outputs, is_named=is_named) is not None:
            raise ValueError("two outputs have one name")
        return outputs

    def _fates(self, saved: SavedFates) -> KeyFates:
        specs = self._views[saved.source].specs if saved.specs is None else saved.specs
        claims = [self._decoder.struct(fields, Claim) for fields in saved.claims]
        if min(saved.which, default=0) < 0:
            raise ValueError("a fate of a negative number")
        which = zip(specs, saved.which, strict=True)
        return KeyFates(saved.stage, saved.source, specs, {key: claims[at] for key, at in which})

    def _check_ties(self, plan: Plan) -> None:
        """Raises ValueError where ties name keys that are not there, or are not alike."""
        checked = ((tie.key, tie.leader) for tie in plan.checked_ties)
        for key, leader in (*self._saved.ties.items(), *checked):
            if key == leader or not {key, leader} <= plan.outputs.keys():
                raise ValueError(f"`{key}` is tied to `{leader}`, and one of them is no output")
            if plan.outputs.nodes[key].spec != plan.outputs.nodes[leader].spec:
                raise ValueError(f"`{key}` is tied to `{leader}`, which is of another shape")


def _check_files(plan: Plan) -> None:
    """Raises ValueError for files other than those of the outputs, and for impossible nesting."""
    aliases = [file.alias for file in plan.files]
    given = set(map(alias_of, plan.outputs)) if plan.is_named else {""}
    if not given <= set(aliases) or len(set(aliases)) != len(aliases) or not aliases:
        raise ValueError("its files aren't those of its outputs")
    if not plan.is_named and aliases != [""]:
        raise ValueError("its files have names, and its outputs none")
    nestings = (*(file.nesting for file in plan.files), *(view.nesting for view in plan.views))
    if not all(nesting.is_sound for nesting in nestings):
        raise ValueError("dicts that are nested too deep")
    if plan.destination is None and any(file.decided == OF_DESTINATION for file in plan.files):
        raise ValueError("the output is nested as a destination that it lacks")


def _check_shapes(plan: Plan) -> None:
    """Raises ValueError where an output is not what the destination wants, and no finding says so.

    What a finding says must be open: it keeps the plan from being run.
    """
    told = {one.key for one in plan.open_findings if one.kind is FindingKind.MISMATCHED}
    for key, spec in (plan.destination.specs if plan.destination else {}).items():
        found = plan.outputs.nodes.get(key)
        if found is not None and not shapes_agree(found.spec, spec) and key not in told:
            raise ValueError(f"`{key}` is {found.spec}; the destination has {spec}")


def _check_assembly(whole: Assembly) -> None:
    """Raises ValueError where parts don't fit or, without a base, don't tile."""
    spec, base = whole.spec, whole.base
    regions = [resolve_index(part.index, spec.shape) for part in whole.parts]
    for part, region in zip(whole.parts, regions, strict=True):
        if part.node.spec != TensorSpec(spec.dtype, taken_shape(part.index, region)):
            raise ValueError(f"{part.node.spec} is no part of {spec}")
    if overlapping(regions) is not None:
        raise ValueError(f"parts of {spec} overlap")
    if base is not None and base.spec != spec:
        raise ValueError(f"{base.spec} can't fill up {spec}")
    if base is None and sum(map(taken_count, regions)) != spec.count:
        raise ValueError(f"parts leave holes in {spec}")
