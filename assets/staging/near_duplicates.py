"""Posts that repeat an earlier post of the same account almost word for word.

A set-similarity search: what is left out is what cannot reach the threshold. Most posts drop out
at the first step, because most of their word runs occur nowhere else. One concession bounds the
worst case: a run that more than 200 texts of a 60-day stretch share proposes no pairs (identical
texts and neighbours in time are compared all the same).
"""

import polars as pl

RUN = 5
"""Words in a run."""
LEAST_RUNS = 20
"""Fewer distinct runs than this say too little about a text."""
SIMILAR = 0.8
"""Jaccard similarity from which two texts are the same."""
WINDOW_DAYS = 60

_TEXTS_AT_ONCE = 20_000
_COMMONPLACE = 200
_LATER_AT_ONCE = 2_000
_GROUP = ("account_id", "platform")


def later_of_pairs(posts: pl.DataFrame) -> pl.DataFrame:
    """The posts that repeat an own post of the 60 days before.

    Args:
        posts: row (unique number), account_id, platform, post, published_at, prose (text without
            markup and links, null where unknown).

    Returns:
        One column, `row`: the later post of each similar pair (of posts published at the same
        moment, the one whose id sorts later). Jaccard similarity of the sets of five-word runs,
        case and punctuation ignored, is at least .8.

    """
    runs = _runs(posts)
    # Only runs that another text has too can be shared, and a text needs 4 of 5 of its own shared.
    # Dropping texts makes more runs unshared, so the sieve is passed through until it holds.
    for _ in range(4):
        before = runs.height
        shared = runs.group_by("group", "run").agg(texts=pl.len()).filter(pl.col("texts") > 1)
        kept = (
            runs.join(shared, on=["group", "run"], how="semi")
            .group_by("row")
            .agg(shared=pl.len(), size=pl.col("size").first())
            .filter(pl.col("shared") >= SIMILAR * pl.col("size"))
        )
        runs = runs.join(kept, on="row", how="semi")
        if runs.height == before:
            break
    if runs.is_empty():
        return pl.DataFrame(schema={"row": pl.UInt32})
    texts = _in_order(posts, runs)
    found = _repeated(texts, runs)
    for distance in (1, 2, 3):  # serial posts, such as a weather report, end here
        rest = texts.join(found, on="row", how="anti")
        found = pl.concat([found, _similar(_neighbours(rest, texts, distance), runs)])
    rest = texts.join(found, on="row", how="anti")
    return pl.concat([found, _search(rest, texts, runs)]).sort("row")


def _runs(posts: pl.DataFrame) -> pl.DataFrame:
    """Distinct five-word runs of each text with enough of them: group, row, size, run (hashes)."""
    texts = posts.filter(pl.col("prose").str.len_bytes() >= 2 * (RUN + LEAST_RUNS)).select(
        "row", "prose", group=pl.struct(_GROUP).hash()
    )
    parts = []
    for part in texts.iter_slices(_TEXTS_AT_ONCE):
        words = (
            part.lazy()
            .with_columns(word=pl.col("prose").str.to_lowercase().str.extract_all(r"[\p{L}\p{N}]+"))
            .drop("prose")
            .explode("word", empty_as_null=False, keep_nulls=False)
            .with_columns(pl.col("word").hash())
        )
        # Horner's scheme; unsigned arithmetic wraps around, which is what a hash wants.
        run = pl.col("word")
        for step in range(1, RUN):
            run = run * 1_000_003 + pl.col("word").shift(-step) * (2 * step + 1)
        parts.append(
            words.with_columns(run=run, last=pl.col("row").shift(-(RUN - 1)))
            .filter(pl.col("last") == pl.col("row"))
            .select("group", "row", "run")
            .unique()
            .with_columns(size=pl.len().over("row"))
            .filter(pl.col("size") >= LEAST_RUNS)
            .collect()
        )
    schema = {"group": pl.UInt64, "row": pl.UInt32, "run": pl.UInt64, "size": pl.UInt32}
    return pl.concat(parts) if parts else pl.DataFrame(schema=schema)


def _in_order(posts: pl.DataFrame, runs: pl.DataFrame) -> pl.DataFrame:
    """The surviving texts in order of publication: group, row, size, at, place (0, 1, ... in the whole frame)."""
    sizes = runs.group_by("row").agg(pl.col("group", "size").first())
    return (
        posts.select("row", "post", at="published_at")
        .join(sizes, on="row", how="inner")
        .sort("group", "at", "post", "row")
        .with_row_index("place")
        .select("group", "row", "size", "at", "place")
    )


def _repeated(texts: pl.DataFrame, runs: pl.DataFrame) -> pl.DataFrame:
    """Rows of texts with the very runs of an earlier one of the window."""
    signature = runs.group_by("row").agg(pl.col("run").sum())
    before = pl.col("at").shift(1).over("group", "size", "run", order_by="place")
    return (
        texts.join(signature, on="row", how="inner")
        .filter(pl.col("at") - before <= pl.duration(days=WINDOW_DAYS))
        .select("row")
    )


def _neighbours(later: pl.DataFrame, texts: pl.DataFrame, distance: int) -> pl.DataFrame:
    """Each of `later` with the text so many places before it."""
    earlier = texts.with_columns(pl.col("place") + distance)
    return later.join(earlier, on=["group", "place"], how="inner", suffix="_earlier").filter(_possible())


def _possible() -> pl.Expr:
    """Within the window, and of sizes that allow the similarity."""
    return (
        (pl.col("at") - pl.col("at_earlier") <= pl.duration(days=WINDOW_DAYS))
        & (pl.col("size") >= SIMILAR * pl.col("size_earlier"))
        & (pl.col("size_earlier") >= SIMILAR * pl.col("size"))
    )


def _similar(pairs: pl.DataFrame, runs: pl.DataFrame) -> pl.DataFrame:
    """Rows of the later texts of the pairs that are similar indeed."""
    common = (
        pairs.lazy()
        .select("row", "row_earlier", "size", "size_earlier")
        .join(runs.lazy().select("row", "run"), on="row", how="inner")
        .join(
            runs.lazy().select("run", row_earlier="row"),
            on=["row_earlier", "run"],
            how="inner",
        )
        .group_by("row", "row_earlier")
        .agg(
            common=pl.len().cast(pl.Int64),
            either=(pl.col("size").first() + pl.col("size_earlier").first()).cast(pl.Int64),
        )
        .filter(pl.col("common") >= SIMILAR * (pl.col("either") - pl.col("common")))
    )
    return common.select("row").unique().collect()


def _search(later: pl.DataFrame, texts: pl.DataFrame, runs: pl.DataFrame) -> pl.DataFrame:
    """Rows of `later` similar to any earlier text of the window.

    Prefix filter: with the runs of every text in one common order, rarest first, two texts of
    similarity t share one of the first n - ceil(t n) + 1 (Chaudhuri, Ganti & Kaushik 2006).
    """
    order = runs.group_by("group", "run").agg(texts=pl.len())
    stretch = pl.col("at").dt.epoch("s") // (WINDOW_DAYS * 86_400)
    heads = (
        runs.join(order, on=["group", "run"], how="inner")
        .sort("row", "texts", "run")
        .filter(pl.int_range(pl.len()).over("row") < pl.col("size") - (SIMILAR * pl.col("size")).ceil() + 1)
        .join(texts.select("row", "at", "place", stretch=stretch), on="row", how="inner")
        .filter(pl.len().over("group", "run", "stretch") <= _COMMONPLACE)
    )
    earlier = pl.concat([heads, heads.with_columns(pl.col("stretch") + 1)])
    found = [pl.DataFrame(schema={"row": pl.UInt32})]
    for part in later.iter_slices(_LATER_AT_ONCE):
        pairs = (
            heads.lazy()
            .join(part.lazy(), on="row", how="semi")
            .join(earlier.lazy(), on=["group", "run", "stretch"], how="inner", suffix="_earlier")
            .filter(pl.col("place_earlier") < pl.col("place"), _possible())
            .select("row", "row_earlier", "size", "size_earlier")
            .unique()
            .collect()
        )
        found.append(_similar(pairs, runs))
    return pl.concat(found)
