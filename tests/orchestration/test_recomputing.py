"""A night that computes only what changed gives what a night from nothing gives, row for row, whatever happened before."""

import inspect
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from assets import core, folds, ingest, stage
from assets.parts import PARTS
from assets.staging import activity, observations
from assets.table import IN_ENGINE
from orchestration import recomputing
from orchestration.io import TablesIOManager
from orchestration.settings import Account, Settings
from orchestration.spark_store import SparkStore
from orchestration.warehouse import Warehouse
from quality.catalog.model import enforce
from quality.catalog.tables import TABLES
from quality.checks import judge

SOURCES = ("activity", "mastodon")
FIRST = date(2024, 1, 20)
DAY = timedelta(days=1)
ORDER = [
    asset
    for asset in (*stage.ASSETS, *core.ASSETS, *folds.ASSETS)
    if not asset.key.to_user_string().startswith("stg_") or asset.key.to_user_string().split("_")[1] in SOURCES
]
RECIPES = {
    asset.key.to_user_string(): (asset, inspect.getclosurevars(asset.op.compute_fn.decorated_fn).nonlocals)
    for asset in ORDER
}
SCHEMAS = {
    **{f"raw_activity__{name}": schema for name, schema in activity.RAW.items()},
    **{f"raw_mastodon__{name}": schema for name, schema in observations.RAW.items()},
}


class Home:
    """A warehouse, and nights in it as the asset graph runs them: every table, one after the other."""

    def __init__(self, folder: Path, engine: str) -> None:
        self.settings = Settings(home=folder, accounts=(Account(name="a"), Account(name="b")), engine=engine)
        self.warehouse = Warehouse(self.settings.warehouse_path)
        self.raw: dict[str, pl.DataFrame] = {name: pl.DataFrame(schema=schema) for name, schema in SCHEMAS.items()}
        self.plans: dict[str, recomputing.Plan | None] = {}
        self.rows_loaded = 0

    def load(self, at: datetime, rows: Mapping[str, list[dict[str, Any]]]) -> None:
        """Add raw rows, as an import or a collection does."""
        connection = self.warehouse.connect()
        for name, said in rows.items():
            if not said:
                continue
            filled = []
            for row in said:
                self.rows_loaded += 1
                own = {
                    "row_hash": f"h{self.rows_loaded}",
                    "loaded_at": at,
                    "file": "f.csv",
                    "row_number": self.rows_loaded,
                }
                filled.append(own | row)
            frame = pl.DataFrame(
                [{column: row.get(column) for column in SCHEMAS[name].names()} for row in filled], schema=SCHEMAS[name]
            )
            self.raw[name] = pl.concat([self.raw[name], frame])
            schema, _, table = name.partition("__")
            connection.execute(f"create schema if not exists {schema}")
            connection.register("rows", frame.to_arrow())
            connection.execute(f"create table if not exists {schema}.{table} as select * from rows limit 0")
            connection.execute(f"insert into {schema}.{table} select * from rows")
            connection.unregister("rows")

    def night(
        self,
        as_of: date,
        *,
        until: str | None = None,
        broken: Mapping[str, Callable[[pl.LazyFrame], pl.LazyFrame]] | None = None,
    ) -> None:
        """Compute every table, or those before the table `until`, as a night does that is killed there.

        `broken` says what goes wrong with the rows of a table.
        """
        io = TablesIOManager(self.warehouse, self.settings, SparkStore(self.settings, self.warehouse))
        self.plans = {}
        for name, (asset, recipe) in RECIPES.items():
            if name == until:
                return
            metadata = {key.path[-1]: asset.op.input_dict[i].metadata or {} for key, i in _inputs(asset)}
            arguments = {}
            for parameter, upstream in recipe["tables"].items():
                found = [io.read(up, as_of, reader=name, in_engine=IN_ENGINE in metadata[up]) for up in upstream]
                arguments[parameter] = found[0] if len(found) == 1 else pl.concat(found)
            arguments |= {"as_of": as_of} if "as_of" in recipe["parameters"] else {}
            arguments |= {"settings": self.settings} if "settings" in recipe["parameters"] else {}
            frame = recipe["function"](**arguments)
            if broken and name in broken:
                frame = broken[name](frame)
            self.plans[name] = io.recomputing.plan(name, as_of)
            io.save(TABLES[name], frame, as_of)
        if not self.warehouse.is_past(as_of):
            self.warehouse.set_newest(as_of)

    def rows(self, name: str) -> pl.DataFrame:
        """A table's rows, in order."""
        return self.warehouse.read(name).collect().sort(list(TABLES[name].column_names))

    def in_parts(self) -> set[str]:
        """The tables of the last night of which only parts were computed."""
        return {name for name, plan in self.plans.items() if plan is not None and plan.why is None}

    def from_nothing(self, as_of: date) -> dict[str, pl.DataFrame]:
        """Every table, from all raw rows."""
        done: dict[str, pl.DataFrame] = dict(self.raw)
        for name, (_, recipe) in RECIPES.items():
            arguments: dict[str, Any] = {
                parameter: pl.concat([_made(done, upstream).lazy() for upstream in upstreams])
                for parameter, upstreams in recipe["tables"].items()
            }
            arguments |= {"as_of": as_of} if "as_of" in recipe["parameters"] else {}
            arguments |= {"settings": self.settings} if "settings" in recipe["parameters"] else {}
            done[name] = enforce(TABLES[name], recipe["function"](**arguments))
        return {name: done[name] for name in RECIPES}

    def check(self, as_of: date) -> None:
        """Every table holds what it holds when computed from nothing."""
        for name, made in self.from_nothing(as_of).items():
            names = list(TABLES[name].column_names)
            found, expected = (
                frame.with_columns(pl.selectors.float().round(9)).sort(names)  # engines divide in their own way
                for frame in (self.warehouse.read(name).collect(), made)
            )
            if not found.equals(expected):
                more, missing = (
                    one.join(other, on=names, how="anti", nulls_equal=True).rows(named=True)
                    for one, other in ((found, expected), (expected, found))
                )
                plan = self.plans.get(name)
                pytest.fail(
                    f"{name} of {as_of} ({plan and plan.metadata}):\nfound only {more}\nexpected only {missing}"
                )


def _inputs(asset: Any) -> Iterator[tuple[Any, str]]:
    for name, key in asset.keys_by_input_name.items():
        yield key, name


def _made(done: dict[str, pl.DataFrame], name: str) -> pl.DataFrame:
    if name not in done:
        done[name] = (
            ingest.empty_raw(name)
            if name not in TABLES
            else pl.DataFrame(schema={column.name: column.dtype.polars for column in TABLES[name].columns})
        )
    return done[name]


class World:
    """What happens between two nights, at random: what is new, late, wrong, corrected, taken back or declared otherwise."""

    def __init__(self, seed: int, home: Home) -> None:
        self.random = random.Random(seed)
        self.home = home
        self.said: list[dict[str, Any]] = []
        self.posts: list[dict[str, Any]] = []
        self.seen: list[dict[str, Any]] = []

    def moment(self, until: datetime) -> datetime:
        """Mostly of the last days, sometimes long past."""
        back = self.random.expovariate(1 / 3) if self.random.random() < 0.7 else self.random.uniform(0, 150)
        return until - timedelta(days=min(back, 150), seconds=self.random.randrange(3600))

    def happens(self, at: datetime) -> None:
        """Load what one collection or import brings."""
        rows: dict[str, list[dict[str, Any]]] = {name: [] for name in SCHEMAS}
        for _ in range(self.random.randrange(1, 9)):
            self._interaction(rows, at)
        for _ in range(self.random.choice((0, 0, 1, 2))):
            self._post(rows, at)
        if self.random.random() < 0.6:
            self._network(rows, at)
        if self.random.random() < 0.2:
            self._decides()
        self.home.load(at, rows)

    def _interaction(self, rows: dict[str, list[dict[str, Any]]], at: datetime) -> None:
        pick = self.random
        moment = self.moment(at + timedelta(hours=20))
        row: dict[str, Any] = {
            "account_id": pick.choice("ab"), "platform": pick.choice(("x", "y")),
            "person": pick.choice((*"pqrstu", "https://ann.example/", "a", "own")),
            "kind": pick.choice(("reply", "like", "like", "follow", "mention", "repost", "nonsense", " Like ")),
            "direction": pick.choice((None, "inbound", "outbound")),
            "occurred_at": moment.isoformat(),
        }  # fmt: skip
        if pick.random() < 0.6:
            row["interaction"] = pick.choice(("", " ")) + f"i{pick.randrange(60)}" + pick.choice(("", "\u00a0"))
        if pick.random() < 0.4:
            row["in_reply_to"] = f"i{pick.randrange(60)}"
        if pick.random() < 0.6:
            row["post"] = pick.choice(
                (f"p{pick.randrange(12)}", f"https://www.blog.example/{pick.randrange(12)}/?utm=1")
            )
        if pick.random() < 0.2:
            row["observed_at"] = (moment + pick.choice((0, 1, 5)) * DAY).isoformat()
            if pick.random() < 0.6:
                del row["occurred_at"]
        if pick.random() < 0.25:
            row["retracted_at"] = min(moment + pick.uniform(0, 60) * DAY, at + timedelta(hours=22)).isoformat()
        if pick.random() < 0.05:
            row["occurred_at"] = "some day"
        if self.said and pick.random() < 0.3:  # said before: taken back, or corrected
            row = {**pick.choice(self.said), **{key: row[key] for key in ("retracted_at", "kind") if key in row}}
        self.said.append(row)
        rows["raw_activity__interactions"].append(row)

    def _post(self, rows: dict[str, list[dict[str, Any]]], at: datetime) -> None:
        pick, n = self.random, self.random.randrange(12)
        row = {
            "account_id": pick.choice("ab"), "platform": pick.choice(("x", "y")), "post": f"p{n}",
            "published_at": self.moment(at + timedelta(hours=20)).isoformat(),
            "url": pick.choice((None, f"https://blog.example/{pick.randrange(12)}")),
            "text": pick.choice(("One and the same text about rivers and rain", f"Another text {n}", None)),
            "deleted_at": pick.choice((None, None, at.isoformat())), "words": pick.choice((None, "many")),
        }  # fmt: skip
        rows["raw_activity__posts"].append(row)

    def _network(self, rows: dict[str, list[dict[str, Any]]], at: datetime) -> None:
        pick = self.random
        account = {"account_id": pick.choice("ab"), "platform": "mastodon"}
        moment = self.moment(at)
        what, n = pick.randrange(6), pick.randrange(15)
        if what == 0:
            handle = pick.choice(("own", "p", "q"))
            row = account | {
                "profile": "1",
                "handle": handle,
                "url": f"https://m.example/@{handle}",
                "born_at": "2023-01-01T00:00:00Z",
            }
            rows["raw_mastodon__profiles"].append(row)
        elif what == 1:
            post = {
                "post": f"m{n}", "published_at": moment.isoformat(), "url": f"https://blog.example/{n}",
                "in_reply_to": pick.choice((None, f"m{n - 1}")), "text": f"Toot {n}",
            }  # fmt: skip
            rows["raw_mastodon__posts"].append(account | post)
        elif what in (2, 3):
            event = {
                "interaction": f"e{n}", "person": pick.choice("pqrs"), "kind": pick.choice(("reply", "like", "follow")),
                "direction": "inbound", "post": f"m{pick.randrange(15)}", "person_name": pick.choice((None, "P", "Q")),
                "occurred_at": pick.choice((None, moment.isoformat())), "in_reply_to": pick.choice((None, f"e{n - 1}")),
            }  # fmt: skip
            rows["raw_mastodon__interactions"].append(account | event)
        else:
            item, name = pick.choice(((f"e{n}", "likes"), (f"m{n}", "posts"), (f"e{n}", "followers")))
            sighting = {"list": name, "item": item, "event": pick.choice(("seen", "gone")), "observed_at": at}
            rows["raw_mastodon__sightings"].append(account | sighting)
            rows["raw_mastodon__lists"].append(account | {"list": name, "is_complete": True, "observed_at": at})

    def _decides(self) -> None:
        """Something else in rapport.toml."""
        pick, settings = self.random, self.home.settings
        change: dict[str, Any] = pick.choice(
            (
                {"same_person": (("x:p", "y:p", "mastodon:p"),)},
                {"same_person": (("x:q", "mastodon:r"), ("x:s", "y:s"))},
                {"same_person": ()},
                {"weights": {**settings.weights, "like": pick.choice((0.1, 0.2))}},
                {"bots": pick.choice(((), ("x:p",)))},
                {"accounts": (Account(name="a", own=pick.choice(((), ("own",)))), Account(name="b", promise_days=3.0))},
            )
        )
        self.home.settings = replace(settings, **change)


def loaded_at(as_of: date, hour: float = 3) -> datetime:
    """When the night of `as_of` collects."""
    return datetime.combine(as_of + DAY, time(), UTC) + timedelta(hours=hour)


@pytest.fixture
def parts_at_any_price(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where most of a table changed, which small ones do every night."""
    monkeypatch.setattr(recomputing, "WHOLE_ABOVE", 100.0)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.usefixtures("parts_at_any_price")
def test_nights_in_parts_equal_nights_from_nothing(tmp_path: Path, seed: int) -> None:
    home = Home(tmp_path, engine=("polars", "duckdb")[seed % 2])
    world, pick = World(seed, home), random.Random(-seed)
    as_of, in_parts = FIRST, 0
    try:
        for number in range(7):
            at = loaded_at(as_of)
            for hour in range(25 if number == 0 else 1):
                world.happens(at - timedelta(minutes=30 * (25 - hour)) if number == 0 else at)
            if number and pick.random() < 0.3:  # killed at any step
                home.night(as_of, until=pick.choice(list(RECIPES)))
                world.happens(loaded_at(as_of, 4))
            if number and pick.random() < 0.2:  # a contract that fails: rolled back, and nothing after it runs
                name = pick.choice([name for name in RECIPES if name in PARTS])
                home.night(as_of, until=list(RECIPES)[list(RECIPES).index(name) + 1])
                home.warehouse.roll_back(name)
            home.night(as_of)
            home.check(as_of)
            in_parts += len(home.in_parts())
            if pick.random() < 0.3:  # the same night again
                home.night(as_of)
                home.check(as_of)
            if number and pick.random() < 0.3:  # a night of the past in between
                home.night(as_of - pick.randrange(1, 20) * DAY)
            as_of += pick.choice((1, 1, 1, 2, 17)) * DAY
    finally:
        home.warehouse.close()
    assert in_parts > 15, "most nights compute most tables in parts"


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    """A home with half a year of interactions, and its first night."""
    made = Home(tmp_path, engine="polars")
    at = loaded_at(FIRST)
    said = [
        interaction(f"i{n}", at - n * timedelta(hours=22), post="p1" if n % 3 else None, kind=("reply", "like")[n % 2])
        for n in range(200)
    ]
    posts = [{"account_id": "a", "platform": "x", "post": "p1", "published_at": (at - 40 * DAY).isoformat()}]
    made.load(at, {"raw_activity__interactions": said, "raw_activity__posts": posts})
    made.night(FIRST)
    yield made
    made.warehouse.close()


def interaction(name: str, at: datetime, **more: Any) -> dict[str, Any]:
    """A raw row of an activity file."""
    return {
        "account_id": "a", "platform": "x", "interaction": name, "person": f"p{len(name)}", "kind": "reply",
        "direction": "inbound", "occurred_at": at.isoformat(),
    } | more  # fmt: skip


def months(home: Home, name: str) -> list[str]:
    """The months of a fold that the last night computed."""
    plan = home.plans[name]
    assert plan is not None
    assert plan.why is None, plan.why
    return [month.strftime("%Y-%m") for month in plan.months]


def test_only_months_that_received_rows_are_computed_again(home: Home) -> None:
    second = FIRST + DAY
    late = interaction("late", datetime(2023, 9, 3, tzinfo=UTC))
    home.load(loaded_at(second), {"raw_activity__interactions": [late, interaction("new", loaded_at(FIRST))]})
    home.night(second)
    home.check(second)
    assert months(home, "fold_relationship_day") == ["2023-09", "2024-01"]
    assert months(home, "fold_response") == ["2023-09", "2024-01"]
    assert months(home, "fold_post_value") == [], "neither is about a post"
    assert home.plans["fct_interaction"].parts == 2


def test_a_retraction_computes_the_month_it_undoes_and_the_month_it_was_made_in(home: Home) -> None:
    follow = interaction("f", datetime(2023, 10, 5, tzinfo=UTC), kind="follow")
    home.load(loaded_at(FIRST, 4), {"raw_activity__interactions": [follow]})
    home.night(FIRST)
    second = FIRST + DAY
    gone = follow | {"retracted_at": "2023-12-24T00:00:00Z"}
    home.load(loaded_at(second), {"raw_activity__interactions": [gone]})
    home.night(second)
    home.check(second)
    assert months(home, "fold_relationship_day") == ["2023-10", "2023-12", "2024-01"], "January: what time made visible"


@pytest.mark.usefixtures("parts_at_any_price")
def test_a_post_that_was_moved_computes_the_months_it_left_and_came_to(home: Home) -> None:
    second = FIRST + DAY
    moved = {"account_id": "a", "platform": "x", "post": "p1", "published_at": "2023-10-02T00:00:00Z"}
    home.load(loaded_at(second), {"raw_activity__posts": [moved]})
    home.night(second)
    home.check(second)
    assert months(home, "fold_post_value") == ["2023-10", "2023-12"]
    assert months(home, "fold_response") == ["2024-01"], "only what time made visible"


def test_a_night_without_anything_new_computes_nothing(home: Home) -> None:
    home.night(FIRST)
    assert home.in_parts() == set(home.plans) & set(PARTS)
    assert {plan.parts for plan in home.plans.values() if plan is not None} == {0}
    home.check(FIRST)


def test_changed_weights_compute_the_folds_that_weigh_whole(home: Home) -> None:
    home.settings = replace(home.settings, weights={**home.settings.weights, "like": 0.2})
    home.night(FIRST)
    home.check(FIRST)
    said = {name: plan.why for name, plan in home.plans.items() if plan is not None and plan.why}
    assert said == dict.fromkeys(
        ("fold_relationship_day", "fold_post_value"), "code or settings behind it have changed"
    )


def test_changed_code_computes_everything(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recomputing, "code", lambda: "another")
    home.night(FIRST)
    assert home.in_parts() == set()


def test_another_engine_is_no_reason_to_compute_anything(home: Home) -> None:
    home.settings = replace(home.settings, engine="duckdb")
    home.night(FIRST)
    assert home.in_parts() == set(home.plans) & set(PARTS)


@pytest.mark.usefixtures("parts_at_any_price")
def test_a_list_that_was_read_again_stages_no_account_anew(home: Home) -> None:
    account = {"account_id": "b", "platform": "mastodon", "list": "likes"}
    seen = {"item": "e1", "event": "seen", "observed_at": loaded_at(FIRST)}
    event = {"interaction": "e1", "person": "p", "kind": "like", "direction": "inbound", "post": "m1"}
    read = {"is_complete": True, "observed_at": loaded_at(FIRST)}
    home.load(
        loaded_at(FIRST),
        {"raw_mastodon__sightings": [account | seen], "raw_mastodon__interactions": [account | event], "raw_mastodon__lists": [account | read]},
    )  # fmt: skip
    home.night(FIRST)
    second = FIRST + DAY
    home.load(
        loaded_at(second), {"raw_mastodon__lists": [account | {"is_complete": True, "observed_at": loaded_at(second)}]}
    )
    home.night(second)
    assert home.plans["stg_mastodon__interactions"].parts == 0
    late = {"is_complete": True, "observed_at": loaded_at(FIRST) - DAY}
    home.load(loaded_at(second, 4), {"raw_mastodon__lists": [account | late]})
    home.night(second)
    assert home.plans["stg_mastodon__interactions"].parts == 1, "it was not there a day before it was seen"
    home.check(second)


@pytest.mark.parametrize("name", sorted(PARTS))
def test_every_table_that_a_table_is_computed_from_can_touch_it(name: str) -> None:
    inputs = {
        key.path[-1]
        for asset in (*stage.ASSETS, *core.ASSETS, *folds.ASSETS)
        if asset.key.to_user_string() == name
        for key in asset.keys_by_input_name.values()
    }
    # Who a person is follows from the key of pseudonyms, which is a setting: no name moves an interaction.
    untouching = {"fct_interaction": {"identity_name"}}.get(name, set())
    assert set(PARTS[name].touched) == inputs - untouching
    assert set(PARTS[name].reads) <= inputs


def test_rows_that_somebody_else_put_into_a_table_are_seen(home: Home) -> None:
    home.warehouse.connect().execute("delete from core.fct_interaction where kind = 'like'")
    home.night(FIRST)
    assert home.plans["fct_interaction"].why == "somebody else changed it"
    home.check(FIRST)


def test_a_contract_that_fails_takes_back_the_parts_and_keeps_the_rejected_rows(home: Home) -> None:
    before, second = home.rows("fold_response"), FIRST + DAY
    home.load(loaded_at(second), {"raw_activity__interactions": [interaction("new", loaded_at(FIRST))]})
    negative = {"fold_response": lambda frame: frame.with_columns(messages=pl.lit(-1))}
    home.night(second, broken=negative)
    assert home.plans["fold_response"].why is None
    assert home.rows("fold_response")["messages"].min() == -1
    contract, _ = judge(TABLES["fold_response"], home.warehouse, second.isoformat())
    assert not contract.passed
    assert home.rows("fold_response").equals(before)
    rejected = home.warehouse.connect().sql("select distinct messages from folds.fold_response__rejected").fetchall()
    assert rejected == [(-1,)]
    home.night(second)
    assert home.plans["fold_response"].why == "its last write was rolled back, or was no night's"
    home.check(second)


def test_the_version_before_parts_were_written_can_be_looked_at(home: Home) -> None:
    before, second = home.rows("fct_interaction"), FIRST + DAY
    home.load(loaded_at(second), {"raw_activity__interactions": [interaction("i3", loaded_at(FIRST) - 9 * DAY)]})
    home.night(second)
    assert home.warehouse.previous("fct_interaction") == "core.fct_interaction__previous"
    shown = home.warehouse.connect().sql("from core.fct_interaction__previous").pl()
    assert shown.sort(shown.columns).equals(before.select(shown.columns).sort(shown.columns))
    assert not home.rows("fct_interaction").equals(before)


def test_a_night_killed_before_the_folds_leaves_folds_that_say_how_old_they_are(home: Home) -> None:
    second = FIRST + DAY
    home.load(loaded_at(second), {"raw_activity__interactions": [interaction("new", loaded_at(FIRST))]})
    home.night(second, until="fold_relationship_day")
    fold, fact = home.warehouse.log.of("fold_relationship_day"), home.warehouse.log.of("fct_interaction")
    assert fold.as_of == FIRST
    assert fold.seen["fct_interaction"] == fact.version - 1
    third = second + DAY
    home.night(third)
    assert months(home, "fold_relationship_day") == ["2024-01"]
    home.check(third)


def test_forgetting_what_was_written_computes_everything(home: Home) -> None:
    home.warehouse.log.forget()
    home.night(FIRST)
    assert home.in_parts() == set()
    home.check(FIRST)
