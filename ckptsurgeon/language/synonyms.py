"""What people try first for words and ops of rules, and what it is called here.

Those who come from torch, NumPy, YAML of other tools or SQL guess a word before they look one up:
the answer is the word to write. Keys are in lower case.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

WORDS: Mapping[str, str] = {
    **dict.fromkeys(("delete", "del", "remove", "skip", "ignore", "exclude", "discard"), "drop"),
    **dict.fromkeys(("retain", "preserve", "unchanged", "untouched"), "keep"),
    **dict.fromkeys(("initialize", "initialise", "new", "create", "fill", "add_key"), "init"),
    **dict.fromkeys(("bn", "batch_norm", "batchnorm2d", "norm"), "batchnorm"),
    **dict.fromkeys(("fold_bn", "fuse_bn", "fuse_batchnorm", "merge_bn"), "fold_batchnorm"),
    **dict.fromkeys(("freeze_bn", "frozen_bn", "frozen_batchnorm"), "freeze_batchnorm"),
    **dict.fromkeys(("share", "shared", "alias", "tied", "link"), "tie"),
    **dict.fromkeys(("includes", "import", "extends", "use", "base", "inherit"), "include"),
    **dict.fromkeys(("assert", "expect", "check", "requires", "needs"), "require"),
    **dict.fromkeys(("src", "source", "sources", "in", "input", "inputs", "key", "keys"), "from"),
    **dict.fromkeys(("dst", "dest", "destination", "target", "targets", "out", "into"), "to"),
    **dict.fromkeys(("if", "when", "condition", "filter", "only_if"), "where"),
    **dict.fromkeys(("prefix", "prefixes", "scope", "inside", "under", "group"), "within"),
    **dict.fromkeys(("op", "operation", "operations", "transform", "transforms"), "ops"),
    **dict.fromkeys(("missing_ok", "allow_missing", "maybe"), "optional"),
    **dict.fromkeys(("expected", "times", "number"), "count"),
    **dict.fromkeys(("select", "layers", "choose"), "pick"),
    **dict.fromkeys(("rename_captures", "replace", "mapping", "translate"), "map"),
    **dict.fromkeys(("default", "else", "otherwise"), "fallback"),
    **dict.fromkeys(("again", "shared_source", "multiple"), "reuse"),
}
"""Words of rules: what is tried, and the word."""

OPS: Mapping[str, str] = {
    **dict.fromkeys(
        ("t", "transposed", "swap", "swapaxes", "swapdims", "mt", "adjoint"), "transpose"
    ),
    **dict.fromkeys(("cat", "concatenate", "merge", "hstack", "vstack", "append"), "concat"),
    **dict.fromkeys(("chunk", "tensor_split", "unfuse", "partition", "array_split"), "split"),
    **dict.fromkeys(("unbind", "unpack"), "unstack"),
    **dict.fromkeys(("view", "resize"), "reshape"),
    **dict.fromkeys(("astype", "dtype", "convert", "half", "float", "bfloat16", "type"), "cast"),
    **dict.fromkeys(("moveaxis", "movedim"), "permute"),
    **dict.fromkeys(("expand", "tile", "broadcast", "repeat_interleave"), "repeat"),
    **dict.fromkeys(("index_select", "gather", "index", "rows", "permute_rows"), "take"),
    **dict.fromkeys(("narrow", "crop", "trim", "cut"), "slice"),
    **dict.fromkeys(("zero_pad", "constant_pad", "extend"), "pad"),
    **dict.fromkeys(("mul", "product", "prod"), "multiply"),
    **dict.fromkeys(("div", "quotient", "true_divide"), "divide"),
    **dict.fromkeys(("factor", "neg", "negate"), "scale"),
    **dict.fromkeys(("plus", "subtract", "sub", "offset", "add_scalar"), "shift"),
    **dict.fromkeys(("avg", "soup", "ema"), "average"),
    **dict.fromkeys(("reverse", "flipud", "fliplr"), "flip"),
    **dict.fromkeys(("einops", "einsum", "pattern"), "rearrange"),
    **dict.fromkeys(("rope", "unpermute", "permute_qk", "rotary"), "permute_rope"),
    **dict.fromkeys(("unfuse_qkv", "chunk_qkv", "qkv"), "split_qkv"),
    **dict.fromkeys(("merge_qkv", "concat_qkv", "cat_qkv"), "fuse_qkv"),
    **dict.fromkeys(("weight_norm", "remove_weight_norm", "fold_weight_norm"), "fuse_weight_norm"),
    **dict.fromkeys(
        ("spectral_norm", "remove_spectral_norm", "fold_spectral_norm"), "fuse_spectral_norm"
    ),
    **dict.fromkeys(("lora", "fuse_lora", "add_lora", "bake_lora"), "merge_lora"),
    **dict.fromkeys(("dequantize", "dequant", "weight_dequant", "unquantize"), "dequantize_blocks"),
    **dict.fromkeys(("quantize", "quant", "weight_quant", "to_fp8"), "quantize_blocks"),
    **dict.fromkeys(("interpolate", "resize_pos", "interpolate_pos_embed"), "resize_pos_embed"),
    **dict.fromkeys(("in_channels", "adapt_conv", "inflate"), "adapt_input_channels"),
    **dict.fromkeys(("equal", "assert_equal", "identical", "dedupe"), "same"),
}
"""Ops: what is tried, and the op."""

PARAMETERS: Mapping[str, str] = {
    **dict.fromkeys(("axis", "dimension"), "dim"),
    **dict.fromkeys(("axes", "perm", "order", "permutation"), "dims"),
    **dict.fromkeys(("chunks", "sections", "num", "n", "num_chunks"), "parts"),
    **dict.fromkeys(("split_sizes", "split_size", "lengths"), "sizes"),
    **dict.fromkeys(("n_heads", "num_heads", "nhead", "n_head", "num_attention_heads"), "heads"),
    **dict.fromkeys(("n_kv_heads", "num_kv_heads", "num_key_value_heads"), "kv_heads"),
    **dict.fromkeys(("dim_head", "head_size", "d_head"), "head_dim"),
    **dict.fromkeys(("r", "lora_rank"), "rank"),
    **dict.fromkeys(("lora_alpha",), "alpha"),
    **dict.fromkeys(("index", "idx", "rows"), "indices"),
    **dict.fromkeys(("slices", "slice"), "index"),
    **dict.fromkeys(("size", "sizes", "new_shape"), "shape"),
    **dict.fromkeys(("length", "target", "total"), "to"),
    **dict.fromkeys(("repeats", "count", "reps"), "times"),
    **dict.fromkeys(("by", "value", "factor", "scalar"), "number"),
    **dict.fromkeys(("block_size", "weight_block_size", "group_size"), "block"),
    **dict.fromkeys(("num_prefix_tokens", "prefix", "cls_token"), "prefix_tokens"),
}
"""Parameters of ops: what is tried, and the parameter."""

_COPIES = ("copy", "cp", "clone", "duplicate")
_ARROW = "a rule that moves or renames is an arrow: `OLD -> NEW`"
_PREFIX = "a prefix is taken off by `source: {strip: ['module.']}`, and put on by `** -> model.**`"

_FREEZE = "`keep: KEY` keeps the destination's value; `freeze_batchnorm` makes constants of a norm"

_RESHAPE = "`reshape` does that, and takes all sizes of the result, as `{reshape: [1, 10, 4]}` does"

SENTENCES: Mapping[str, str] = {
    **dict.fromkeys(("squeeze", "unsqueeze", "expand_dims", "flatten", "unflatten"), _RESHAPE),
    **dict.fromkeys(("rename", "move", "transfer", "mv", "assign", "load", *_COPIES), _ARROW),
    **dict.fromkeys(("strip", "strip_prefix", "add_prefix", "remove_prefix"), _PREFIX),
    **dict.fromkeys(("freeze", "frozen"), _FREEZE),
    "strict": "rules must match something unless they say `optional: true`",
    "regex": "a regular expression is written `re:…` in place of a key",
}
"""What no one word answers."""


def find_meant(word: str, known: Collection[str]) -> str:
    """What somebody means by a word, as a sentence; nothing where it is no known guess."""
    sentence = SENTENCES.get(fold_word(word), "") if fold_word(word) not in known else ""
    answer = find_word(word, known)
    return sentence or (f"did you mean {answer!r}?" if answer else "")


def find_word(word: str, known: Collection[str]) -> str:
    """Which of the known words somebody means by another; nothing where it is no known guess."""
    answers = (table.get(fold_word(word)) for table in (WORDS, OPS, PARAMETERS))
    return next((one for one in answers if one in known), "") or ""


def is_rename(word: str) -> bool:
    """Whether a word is another's for what an arrow does."""
    return SENTENCES.get(fold_word(word)) is _ARROW


def is_copy(word: str) -> bool:
    """Whether a word renames and leaves the old key, too."""
    return fold_word(word) in _COPIES


def fold_word(word: str) -> str:
    """A word as the tables have it."""
    return word.strip().lower().replace("-", "_")
