"""Results that several metrics share: computed once for the same frames, and let go with them.

Nine marts begin with the same people and days. A metric stays a pure function of its frames; where two are given the
very same frames (the same objects), what both begin with is computed for the first and found by the second.
"""

import weakref
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import narwhals as nw
import polars as pl

P = ParamSpec("P")
R = TypeVar("R")
Keeping = Callable[[pl.LazyFrame], pl.LazyFrame]
_keeping: list[Keeping] = []


def keep_by(keeping: Keeping | None) -> None:
    """Pass every Polars frame of a result through `keeping` before it is kept, say to put it on disk; null: keep it as it is."""
    _keeping[:] = [] if keeping is None else [keeping]


def _as_kept(result: Any) -> Any:
    if not _keeping:
        return result
    match result:
        case pl.LazyFrame():
            return _keeping[0](result)
        case nw.LazyFrame() if result.implementation.is_polars():
            return nw.from_native(_keeping[0](result.to_native()))
        case tuple():
            parts = map(_as_kept, result)
            return type(result)(*parts) if hasattr(result, "_fields") else tuple(parts)
        case _:
            return result


def once(function: Callable[P, R]) -> Callable[P, R]:
    """The function, with its last result for each set of keywords kept for as long as its first argument lives.

    The same objects as arguments, and equal keywords, give it again. Results must be computed already (`collected`,
    `kept`), or they would keep their own arguments alive.

    >>> class Frame: ...
    >>> seen = []
    >>> count = once(lambda frame, *, day: seen.append(day) or len(seen))
    >>> frame = Frame()
    >>> count(frame, day=1), count(frame, day=1), count(Frame(), day=1), count(frame, day=2), count(frame, day=1)
    (1, 1, 2, 3, 1)
    """
    kept: dict[int, dict[frozenset[tuple[str, Any]], tuple[tuple[Any, ...], R]]] = {}

    def remembering(*args: P.args, **kwargs: P.kwargs) -> R:
        first, others = args[0], args[1:]
        of_first, keywords = kept.get(id(first)), frozenset(kwargs.items())
        known = of_first.get(keywords) if of_first is not None else None
        if known is not None and _are_same(known[0], others):
            return known[1]
        result: R = _as_kept(function(*args, **kwargs))
        if id(first) not in kept:
            kept[id(first)] = {}
            weakref.finalize(first, kept.pop, id(first), None)
        kept[id(first)][keywords] = (others, result)
        return result

    remembering.__name__, remembering.__doc__ = function.__name__, function.__doc__
    return remembering


def _are_same(some: tuple[Any, ...], others: tuple[Any, ...]) -> bool:
    return len(some) == len(others) and all(one is other for one, other in zip(some, others, strict=True))
