"""What two checkpoints are compared by: what counts as equal, and what of them is looked at."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ckptsurgeon.errors import CkptSurgeonError
from ckptsurgeon.wanted import require
from ckptsurgeon.wording import argument


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """The conditions of a comparison.

    NaN equals NaN at the same place and -0.0 equals 0.0, unless bits are to be equal (`exact`). A
    value is close enough where |b - a| <= atol + rtol |b|. `any_dtype` says that another dtype
    alone, and its rounding where there is no tolerance, is no difference, `headers` that no values
    are compared, `sizes` that differences are counted by their size. `only` are the patterns of
    keys, `rules` the files that make A.
    """

    exact: bool = False
    atol: float = 0.0
    rtol: float = 0.0
    any_dtype: bool = False
    headers: bool = False
    sizes: bool = False
    only: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()

    @property
    def is_loose(self) -> bool:
        """Whether there is a tolerance."""
        return self.atol > 0 or self.rtol > 0

    @property
    def tolerance(self) -> str:
        """`atol 1e-05, rtol 0`."""
        return f"atol {self.atol:g}, rtol {self.rtol:g}"

    def check(self) -> None:
        """Raises CkptSurgeonError for values of other kinds, and those that don't go together."""
        for name in ("exact", "any_dtype", "headers", "sizes"):
            require(name, getattr(self, name), bool, "true or false")
        for name, value in (("atol", self.atol), ("rtol", self.rtol)):
            require(name, value, (int, float), "a number")
            if not 0 <= value < math.inf:
                told = argument(name, str(value), str(value))
                raise CkptSurgeonError(f"{told}: wanted a number from 0 on")
        exact, headers = argument("exact", "", "True"), argument("headers", "", "True")
        if self.exact and (self.is_loose or self.any_dtype):
            raise CkptSurgeonError(
                f"{exact}: bits are equal or not; leave it out, or the tolerance and any dtype"
            )
        if self.headers and (self.is_loose or self.exact):
            raise CkptSurgeonError(
                f"{headers}: no values are compared; leave it out, or the tolerance and exact bits"
            )

    def refuse_shapes(self, path: str) -> None:
        """Raises CkptSurgeonError where values are asked for of a checkpoint without any."""
        if self.exact or self.is_loose:
            names = ("exact", "atol", "rtol")
            asked = " and ".join(argument(name) for name in names if getattr(self, name))
            raise CkptSurgeonError(
                f"{path}: holds shapes alone, no values; name the weights, or leave out {asked}"
            )
