"""Are we consistent? Marts of the posting rhythm."""

from quality.catalog import columns as c
from quality.catalog.marts.origins import POST, SPANS, coverage
from quality.catalog.model import Rule, Table

_posts = c.posts.derived(POST)
_steadiness = c.share("steadiness", "Share of the window in which followers found the posting promise kept.").derived(
    POST, "dim_account.promise_days", *SPANS
)

mart_cadence = Table(
    name="mart_cadence",
    doc="Are we consistent? Posting rhythm over the year that ends with as_of.",
    grain="One account and platform (or `all`) at one as_of.",
    key=("as_of", "account_id", "platform"),
    columns=(
        c.as_of, c.account_id, c.platform, _posts, c.active_days.derived(POST), c.window_days.derived(POST, *SPANS),
        _steadiness, *(x.derived(POST) for x in c.interval(_steadiness)), c.note(_steadiness).derived(*SPANS),
        c.real("burstiness", "Finite-size corrected burstiness of the gaps: -1 periodic, 0 Poisson, 1 bursts.", low=-1, high=1).derived(POST),
        c.real("memory", "Correlation of each gap with the next.", low=-1, high=1).derived(POST),
        c.real("longest_silence_days", "Longest gap between active days, the open one included.", unit="days", low=0).derived(POST),
        c.real("open_silence_days", "Days since the last active day.", unit="days", low=0).derived(POST),
        c.count("silences_over_promise", "Gaps longer than twice the promise, the open one included.", nullable=True).derived(POST),
        c.share("kept_weeks_share", "Share of the local weeks touched by the window with at least one post.").derived(POST),
        c.count("kept_weeks_share_n", "Local weeks touched by the window.", nullable=True).derived(POST),
        c.count("streak_weeks", "Local weeks in a row with at least one post, up to now.", unit="weeks", nullable=True).derived(POST),
        c.promise_days.derived("dim_account.promise_days"),
        c.real("promise_days_learned", "Median gap in the 180 days before the window, 1-28.", unit="days", low=1, high=28).derived(POST),
        coverage,
    ),
)  # fmt: skip
mart_cadence_week = Table(
    name="mart_cadence_week",
    doc="Posts by week: the material of the posting calendar.",
    grain="One account, platform (or `all`) and UTC Monday week, weeks without posts included.",
    key=("account_id", "platform", "week"),
    columns=(c.account_id, c.platform, c.week.derived(POST), _posts, c.active_days.derived(POST), coverage),
    rules=(
        Rule(
            name="platforms_sum_to_all",
            doc="The posts of a week on all platforms are the sum of those on each.",
            violations=(
                "select account_id, week, sum(case when platform = 'all' then posts else -posts end) as difference "
                "from {table} group by account_id, week having difference <> 0"
            ),
        ),
    ),
)
