"""What `inspect` shows of a checkpoint: its facts, then its modules as a folded tree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from ckptsurgeon.checkpoints.base import Checkpoint, Contents
from ckptsurgeon.cutting import cut
from ckptsurgeon.render.columns import Aligned, Palette, fit_names
from ckptsurgeon.render.pictures import draw_dtypes
from ckptsurgeon.render.sections import Section
from ckptsurgeon.render.terminal import safe
from ckptsurgeon.render.tree import Branch, grow_tree
from ckptsurgeon.render.value_remarks import tell_remarks
from ckptsurgeon.render.values import MOST_LINES, tell_left_out, tell_values
from ckptsurgeon.render.view import EVERYTHING, View
from ckptsurgeon.report.inspection import Inspection
from ckptsurgeon.report.sides import count_tensors, nbytes_of
from ckptsurgeon.specs import TensorSpec, UnreadableSpec, human_bytes, plural
from ckptsurgeon.wording import tell_more

MOST_FACTS = 6
MOST_SHAPES = 4
"""Shapes of a module's tensors that one line tells."""
LONGEST_NAMES = 64


def render_inspection(
    found: Inspection, *, width: int, color: bool, verbose: bool = False, pictures: bool = False
) -> str:
    """The checkpoint as text that ends in a newline; safe to print as it is.

    Modules of equal structure fold (`blocks.<0..11>`); `verbose` lists every tensor and fact.
    `pictures` has a bar of the bytes by dtype, in colour and if it is folded.
    """
    view = View(width, Palette(color), verbose, EVERYTHING, pictures and color and not verbose)
    facts, *others = map(view.show, tell_inspection(found, view))
    return view.page([*facts, *draw_dtypes(found.specs.values(), view)], *others)


def tell_inspection(found: Inspection, view: View) -> Iterator[Section]:
    """The facts of a checkpoint, then its tensors, or what their values are like."""
    yield tell_facts(found, verbose=view.verbose)
    sections = tell_measured(found, view)
    if found.measurements is None:
        sections = [_tell_tensors(found.specs, view)]
    yield from (section for section in sections if section.items)


def tell_facts(found: Inspection, *, verbose: bool) -> Section:
    """What is known of a checkpoint beside its tensors."""
    facts = list(_facts(found, verbose))
    path = safe(str(found.checkpoint.path))
    return Section(path, "", facts, limit=len(facts), heads=("fact", "what", ""))


def tell_measured(found: Inspection, view: View) -> list[Section]:
    """What the values are like, and what is worth a look; nothing where they were not read."""
    measured = found.measurements
    if measured is None:
        return []
    values = tell_values(found.specs, measured, view)
    return [values, tell_left_out(measured), tell_remarks(found.remarks, view)]


def _tell_tensors(specs: Mapping[str, TensorSpec], view: View) -> Section:
    lines = _listed(specs) if view.verbose else list(_branches(grow_tree(specs), 0, 1))
    limit, heads = len(lines) if view.verbose else MOST_LINES, ("module", "size", "tensors")
    return Section("tensors", "", lines, limit=limit, heads=heads)


# --- facts ----------------------------------------------------------------------------------------


def _facts(found: Inspection, verbose: bool) -> Iterator[Aligned]:
    checkpoint, contents = found.checkpoint, found.checkpoint.contents
    size = size_on_disk(checkpoint)
    kind = checkpoint.format if checkpoint.has_values else f"{checkpoint.format}, shapes only"
    yield Aligned(("format", kind + (f", {human_bytes(size)} on disk" if size else "")))
    if contents.shard:
        yield Aligned(("shard", f"opened {contents.shard} alone"))
    nbytes = nbytes_of(contents.specs.values())
    unreadable = _unreadable(contents)
    told = f" ({len(unreadable):,} unreadable)" if unreadable else ""
    yield Aligned(("tensors", f"{len(contents.specs):,}{told}, {human_bytes(nbytes)}"))
    yield Aligned(("elements", f"{count_elements(contents):,}"))
    dtypes = ", ".join(f"{dtype} {number:,}" for dtype, number in count_dtypes(contents))
    yield Aligned(("dtypes", dtypes or "none"))
    if found.only:
        shown = count_tensors(found.specs.values())
        yield Aligned(("only", f"{', '.join(map(safe, found.only))}: {shown}"))
    if contents.root or contents.wrappers:
        yield Aligned(("root", _root(contents)))
    for name, texts in _lists(contents):
        yield from _limited(name, texts, None if verbose else MOST_FACTS)


def _root(contents: Contents) -> str:
    opened = f"opened `{safe(contents.root)}`" if contents.root else "the top"
    others = [name for name in contents.wrappers if name != contents.root]
    return opened + (f"; other wrappers: {fit_names(others, 80)}" if others else "")


def _lists(contents: Contents) -> Iterator[tuple[str, list[str]]]:
    yield "unreadable", [f"{safe(k)}: {safe(s.what)}" for k, s in _unreadable(contents).items()]
    yield "outside", [f"{safe(one.key)}: {one}" for one in contents.outside]
    yield (
        "rivals",
        [f"{safe(one.key) or one.place}: mostly the same keys" for one in contents.rivals],
    )
    yield "ties", [" = ".join(map(safe, _few(group))) for group in contents.aliases]
    yield "metadata", [f"{safe(k)}: {safe(v)}" for k, v in contents.metadata.items()]
    if contents.module_metadata:
        number = plural(len(contents.module_metadata), "module")
        yield "_metadata", [f"versions of {number}"]
    names = (f"{safe(o.key)}: " if o.key else "" for o in contents.opaque)
    told = (f"{safe(o.kind)} {safe(o.text)}" for o in contents.opaque)
    yield "not tensors", list(map("".join, zip(names, told, strict=True)))
    yield "notes", [safe(note) for note in contents.notes]


def _unreadable(contents: Contents) -> dict[str, UnreadableSpec]:
    """The tensors that have keys, but no values that can be read."""
    specs = contents.specs.items()
    return {key: spec for key, spec in specs if isinstance(spec, UnreadableSpec)}


def _few(group: tuple[str, ...]) -> list[str]:
    first, left = cut(group, 4)
    return [*first, *([f"{left:,} more"] if left else [])]


def _limited(name: str, texts: list[str], limit: int | None) -> Iterator[Aligned]:
    first, left = cut(texts, len(texts) if limit is None else limit)
    for number, text in enumerate(first):
        yield Aligned(("" if number else name, text))
    if left:
        yield Aligned(("", f"... {left:,} more ({tell_more()})"))


def count_elements(contents: Contents) -> int:
    """The number of elements, those of tied tensors counted once."""
    tied = (key for group in contents.aliases for key in group[1:])
    twice = sum(contents.specs[key].count for key in tied if key in contents.specs)
    return sum(spec.count for spec in contents.specs.values()) - twice


def count_dtypes(contents: Contents) -> list[tuple[str, int]]:
    """Dtypes with the number of their tensors, the commonest first."""
    return Counter(spec.dtype for spec in contents.specs.values()).most_common()


def size_on_disk(checkpoint: Checkpoint) -> int:
    """Bytes of its files, the index among them; 0 for what is not on disk."""
    files = {checkpoint.path, *checkpoint.files}
    return sum(file.stat().st_size for file in files if file.is_file())


# --- the tree -------------------------------------------------------------------------------------


def _branches(branch: Branch, depth: int, times: int) -> Iterator[Aligned]:
    """A line per module; `times` is how many modules like `branch` there are, sizes are of all."""
    for child in branch.branches:
        first, label, number = child, _label(child), times * len(child.names)
        while len(child.branches) == 1 and child.branches[0].spec is None:
            child = child.branches[0]
            label, number = f"{label}.{_label(child)}", number * len(child.names)
        size = human_bytes(first.nbytes * times)
        plain = child.branches and all(part.spec for part in child.branches)
        if child.spec or (plain and len(child.branches) <= MOST_SHAPES):
            parts = "; ".join(_tensors(part) for part in child.branches)
            yield _line(depth, label, size, parts or str(child.spec))
        else:
            yield _line(depth, label, size, plural(first.tensors * times, "tensor"))
            yield from _branches(child, depth + 1, number)


def _label(branch: Branch) -> str:
    """`weight`, `<0..11>`, or `weight, bias` for siblings with other names."""
    return fit_names(branch.names, LONGEST_NAMES)


def _tensors(branch: Branch) -> str:
    return f"{_label(branch)} {branch.spec}"


def _line(depth: int, label: str, size: str, what: str) -> Aligned:
    return Aligned(("  " * depth + label, f"{size:>10}"), what)


def _listed(specs: Mapping[str, TensorSpec]) -> list[Aligned]:
    return [
        Aligned((safe(key), f"{human_bytes(spec.nbytes):>10}"), str(spec))
        for key, spec in specs.items()
    ]
