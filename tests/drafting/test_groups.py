"""Groups of arrows, as arrows come and go."""

from ckptsurgeon.drafting.arrows import Arrow
from ckptsurgeon.drafting.groups import Groups
from ckptsurgeon.drafting.units import cut_key, text_of


def arrow(name: str) -> Arrow:
    return Arrow(cut_key(name), ())


def letters_of(one: Arrow) -> str:
    return text_of(one.source)


def test_the_largest_group_comes_first_and_each_once() -> None:
    groups = Groups(map(arrow, ("ab", "ac", "bc", "a")), letters_of, lambda _, count: count)
    told = []
    while (best := groups.pop()) is not None:
        told.append((best[0], [letters_of(one) for one in best[1].values()]))
    assert told == [("a", ["ab", "ac", "a"]), ("b", ["ab", "bc"]), ("c", ["ac", "bc"])]


def test_a_group_that_has_changed_is_told_again() -> None:
    groups = Groups(map(arrow, ("ab", "ac", "bc")), letters_of, lambda _, count: count)
    first = groups.pop()
    assert first is not None
    assert first[0] == "a"
    groups.replace(first[1], arrow("bd"), arrow("cd"))
    assert [letters_of(one) for one in groups.arrows] == ["bc", "bd", "cd"]
    told = [groups.pop(), groups.pop(), groups.pop(), groups.pop()]
    assert [best and best[0] for best in told] == ["b", "c", "d", None]
