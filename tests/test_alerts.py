"""Alerts: a condition is stored with the row that shows it, said once by whoever looks, and seen by agent and operator."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from processes import REPOSITORY

from orchestrator import context
from orchestrator.alerts import rules, watch
from orchestrator.alerts.rules import Thresholds
from orchestrator.alerts.watch import Told, Watch
from orchestrator.errors import DiskFull
from orchestrator.ledger import alerts, conditions, deliveries, setup
from orchestrator.ledger import credits as ledger
from orchestrator.ledger.alerts import Alert, Limit, Words
from orchestrator.ledger.channels import Unreached
from orchestrator.ledger.credits import CreditSnapshot
from orchestrator.ledger.setup import Setup
from orchestrator.ledger.snapshots import MLX_API, XMR_MINING, Snapshot
from orchestrator.store.database import Connection, Database

NOW = datetime(2026, 11, 21, 8, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
WATCH = Watch(
    Thresholds(5 * 10**9, HOUR, rules.silence(300), rules.silence(300)),
    sources=(XMR_MINING, MLX_API),
    interval_seconds=300.0,
    credits_interval_seconds=300.0,
)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "orchestrator.db")
    yield database
    database.close()


def look(database: Database, usd: float | None, at: datetime, **more: object) -> list[Told]:
    """Store a look at the credits."""
    nano = None if usd is None else round(usd * 10**9)
    row = replace(CreditSnapshot(at, nano, None if nano is None else "account"), **more)  # type: ignore[arg-type]
    with database.write() as connection:
        return watch.store(connection, [row], WATCH)


def read(database: Database, source: str, at: datetime, *, good: bool) -> list[Told]:
    row = Snapshot(source, at, 1, 0, 1.0, requests_served=1) if good else Snapshot(source, at, error="pool: timeout")
    with database.write() as connection:
        return watch.store(connection, [row], WATCH)


def stored(database: Database) -> list[Alert]:
    with database.read() as connection:
        return alerts.recent_alerts(connection, 1000)[::-1]


def lines(database: Database, now: datetime, max_chars: int | None = None) -> list[str]:
    return context.format_for_context(database, Setup, max_chars, now).splitlines()


def events(told: list[Told]) -> list[str]:
    return [one.event for one in told]


def test_low_credits_are_one_alert_then_reminders_and_one_end(database: Database) -> None:
    said: dict[int, list[str]] = {}
    for minutes in range(-30, 200, 5):
        told = look(database, 9.0 if minutes < 0 else 4.27 - minutes / 1000, NOW + minutes * MINUTE)
        said |= {minutes: events(told)} if told else {}
    told = look(database, 20.0, NOW + 200 * MINUTE)

    assert said == {0: ["raised"], 60: ["reminded"], 120: ["reminded"], 180: ["reminded"]}
    assert events(told) == ["resolved"]
    (alert,) = stored(database)
    assert (alert.kind, alert.severity, alert.raised_at, alert.said) == ("low_credits", "critical", NOW, 5)
    assert alert.words.title == "Low credits: $4.27 remaining on OpenRouter (account). Please top up."
    assert alert.resolved_at == NOW + 200 * MINUTE
    assert alert.resolution == "Credits are no longer low: $20.00 remaining on OpenRouter (account)."


def test_the_row_and_its_alert_are_stored_together_or_not_at_all(database: Database) -> None:
    def stored_and_lost() -> None:
        with database.write() as connection:
            watch.store(connection, [CreditSnapshot(NOW, 1, "account")], WATCH)
            assert conditions.lasting(connection) == ["low_credits"]
            raise KeyError

    with pytest.raises(KeyError):
        stored_and_lost()

    with database.read() as connection:
        assert conditions.lasting(connection) == []
        assert ledger.latest(connection, NOW) is None


def test_a_restart_repeats_nothing(tmp_path: Path) -> None:
    said = []
    for minutes in range(0, 60, 5):
        database = Database(tmp_path / "orchestrator.db")
        said += look(database, 4.27, NOW + minutes * MINUTE)
        database.close()

    assert events(said) == ["raised"]


LOOKS = """
import sys
from pathlib import Path
from test_alerts import MINUTE, NOW, look
from orchestrator.store.database import Database

database = Database(Path(sys.argv[1]))
print(sum(len(look(database, 4.27, NOW + minute * MINUTE)) for minute in range(int(sys.argv[2]), 60, 4)))
database.close()
"""


def test_many_processes_that_look_at_once_say_it_once(tmp_path: Path) -> None:
    path = tmp_path / "orchestrator.db"
    environ = {"PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'tests'}", "PATH": os.environ["PATH"]}
    processes = [
        subprocess.Popen([sys.executable, "-c", LOOKS, path, str(n)], env=environ, stdout=subprocess.PIPE, text=True)
        for n in range(4)
    ]
    said = [int(process.communicate(timeout=60)[0]) for process in processes]

    assert sum(said) == 1


def test_a_look_that_fails_neither_ends_nor_repeats_what_is_true(database: Database) -> None:
    look(database, 4.27, NOW)
    told = [
        look(database, None, NOW + n * 5 * MINUTE, failure="unreachable", error="key: timeout") for n in range(1, 20)
    ]
    again = look(database, 4.20, NOW + 100 * MINUTE)

    assert [events(one) for one in told if one] == []
    assert events(again) == ["reminded"]


def test_credits_unknown_for_two_hours_are_said_until_they_are_known(database: Database) -> None:
    told = {}
    for minutes in range(0, 60 * 30, 5):
        if said := look(database, None, NOW + minutes * MINUTE, failure="unreachable", error="key: timeout"):
            told[minutes] = [f"{one.condition} {one.event}" for one in said]
    known = look(database, 30.0, NOW + 30 * HOUR)

    assert told == {120: ["credits_unknown raised"], 120 + 24 * 60: ["credits_unknown reminded"]}
    assert [one.title for one in known] == ["OpenRouter's credits are known again: $30.00 remaining (account)."]


def test_an_uncapped_key_is_said_once_in_a_month(database: Database) -> None:
    told = [look(database, None, NOW + n * HOUR, error="uncapped key, no management key") for n in range(24 * 30)]

    assert [events(one) for one in told if one] == [["raised"]]


def test_low_credits_end_when_the_limit_is_taken_off_the_key(database: Database) -> None:
    look(database, 4.27, NOW, remaining_source="key limit", limit_remaining_nano=4_270_000_000)
    look(database, None, NOW + 5 * MINUTE, failure="unreachable", error="key: timeout")
    told = look(database, None, NOW + 10 * MINUTE, error="uncapped key, no management key")

    assert [(one.event, one.condition) for one in told] == [("resolved", "low_credits")]
    assert not [line for line in lines(database, NOW + 10 * MINUTE) if "low credits" in line]


@pytest.mark.parametrize(
    ("failure", "condition", "title"),
    [
        ("rejected", "key_rejected", "OpenRouter rejects the key (HTTP 401): nothing can be spent with it."),
        ("out_of_money", "out_of_money", "Out of money: OpenRouter refuses the key. Please top up."),
    ],
)
def test_a_refused_key_is_said_at_once_and_its_end_too(
    database: Database, failure: str, condition: str, title: str
) -> None:
    look(database, 9.0, NOW)
    (raised,) = look(database, None, NOW + 5 * MINUTE, failure=failure, error="key: HTTP 402")
    quiet = look(database, None, NOW + 10 * MINUTE, failure="unreachable", error="key: timeout")
    (resolved,) = look(database, 9.0, NOW + 15 * MINUTE)

    assert (raised.condition, raised.title, raised.severity) == (condition, title, "critical")
    assert quiet == []
    assert (resolved.event, resolved.condition) == ("resolved", condition)


def test_a_source_that_is_silent_is_said_for_itself_also_one_that_was_never_good(database: Database) -> None:
    read(database, XMR_MINING, NOW - 5 * MINUTE, good=True)
    told = {}
    for minutes in range(0, 200, 5):
        for source in (XMR_MINING, MLX_API):
            if said := read(database, source, NOW + minutes * MINUTE, good=source == MLX_API and minutes > 150):
                told[minutes, source] = events(said)

    assert told == {
        (120, XMR_MINING): ["raised"], (120, MLX_API): ["raised"], (155, MLX_API): ["resolved"],
    }  # fmt: skip


def test_rows_that_waited_are_judged_by_the_newest(database: Database) -> None:
    rows = [CreditSnapshot(NOW + n * 5 * MINUTE, 4 * 10**9, "account") for n in range(5)]
    rows.append(CreditSnapshot(NOW + 25 * MINUTE, 40 * 10**9, "account"))

    with database.write() as connection:
        assert watch.store(connection, rows, WATCH) == []


def sent(database: Database, now: datetime) -> list[int]:
    """Deliver to the one channel all that is due, and return the alerts that the message stood for."""
    with database.write() as connection:
        waiting = deliveries.claim(connection, "slack", "f1", "me", 100, now=now)
        deliveries.note_sent(connection, "slack", "f1", "me", waiting, "", now=now)
    return [one.alert.id for one in waiting]


def with_a_channel(database: Database) -> None:
    with database.write() as connection:
        deliveries.enter(connection, {"slack": "f1"}, withdraw=True)


def test_a_balance_that_goes_back_and_forth_is_stored_each_time_and_told_of_three_times_an_hour(
    database: Database,
) -> None:
    with_a_channel(database)
    told: dict[int, list[int]] = {}
    for minutes in range(0, 120, 5):
        look(database, 4.99 if minutes % 10 == 0 else 5.01, NOW + minutes * MINUTE)
        told[minutes] = sent(database, NOW + minutes * MINUTE)

    assert [alert.raised_at for alert in stored(database)] == [NOW + n * 10 * MINUTE for n in range(12)]
    assert {minutes: ids for minutes, ids in told.items() if ids} == {
        0: [1], 5: [1], 10: [2], 15: [2], 20: [3], 25: [3], 60: [7], 65: [7], 70: [8], 75: [8], 80: [9], 85: [9],
    }  # fmt: skip
    with database.read() as connection:
        fourth = deliveries.of_alerts(connection, [4])
    assert [(one.state, one.attempts, one.reason) for one in fourth] == [("dropped", 0, "came and went too often")]


def test_what_stays_true_after_it_came_and_went_is_told_when_its_time_has_come(database: Database) -> None:
    with_a_channel(database)
    for minutes in range(0, 30, 5):
        look(database, 4.99 if minutes % 10 == 0 else 5.01, NOW + minutes * MINUTE)
        sent(database, NOW + minutes * MINUTE)
    told = {}
    for minutes in range(30, 130, 5):
        look(database, 4.50, NOW + minutes * MINUTE)
        told[minutes] = sent(database, NOW + minutes * MINUTE)

    assert lines(database, NOW + 35 * MINUTE)[-1] == "- Alert (critical, 5min ago): low credits, $4.50 left"
    # The first of the three was an hour ago; then reminders keep their distance from that.
    assert {minutes: ids for minutes, ids in told.items() if ids} == {60: [4], 120: [4]}


def test_a_clock_that_was_ahead_neither_counts_as_a_crossing_nor_keeps_one_back(database: Database) -> None:
    with_a_channel(database)
    ahead = NOW + timedelta(days=4000)
    for n in range(7):
        look(database, 4.99 if n % 2 == 0 else 5.01, ahead + n * MINUTE)

    sent(database, ahead)
    look(database, 4.50, NOW)

    assert sent(database, NOW) == [4]


def test_a_clock_that_was_set_back_lets_the_new_look_decide(database: Database) -> None:
    for minutes in range(0, 60, 5):
        look(database, 9.0, NOW + minutes * MINUTE)

    told = look(database, 4.27, NOW + 7 * MINUTE)

    assert events(told) == ["raised"]


def test_the_file_that_works_again_is_open_for_a_day_and_reminded_of_when_it_fails_again(database: Database) -> None:
    fault = DiskFull(database.path, "database or disk is full")
    with_a_channel(database)

    def survived(minutes: int) -> list[str]:
        now = NOW + minutes * MINUTE
        with database.write() as connection:
            return events(watch.file_survived(connection, fault, 3, now - 12 * MINUTE, WATCH, now=now))

    first = survived(0), sent(database, NOW)
    soon = survived(30), sent(database, NOW + 30 * MINUTE)
    later = survived(61), sent(database, NOW + 61 * MINUTE)
    (alert,) = stored(database)
    shown = lines(database, NOW + 20 * HOUR)[-1]
    calm = look(database, 9.0, NOW + 61 * MINUTE + 24 * HOUR)

    assert (first, soon, later) == ((["raised"], [1]), ([], []), (["reminded"], [1]))
    assert (alert.state, alert.resolved_at) == ("open", None)
    assert shown == "- Alert (warning, 20h ago): the file could not be written for 12min"
    assert [(one.event, one.title) for one in calm] == [
        ("resolved", "The database has been written for a day without a fault.")
    ]
    assert [one.state for one in stored(database)] == ["over"]
    assert len(lines(database, NOW + 26 * HOUR)) == 1


def entered(database: Database, watched: Watch, *, withdraw: bool, now: datetime) -> None:
    with database.write() as connection:
        setup.write(connection, Setup(sources=watched.sources))
        watch.enter(connection, watched, {}, withdraw=withdraw, now=now)


def test_what_is_no_longer_watched_ends_without_a_word_but_not_beside_a_daemon(database: Database) -> None:
    look(database, 4.27, NOW)
    for n in range(25):
        read(database, MLX_API, NOW + n * 5 * MINUTE, good=False)
    without = replace(WATCH, sources=(XMR_MINING,), credits_interval_seconds=None)
    entered(database, WATCH, withdraw=True, now=NOW)

    entered(database, without, withdraw=False, now=NOW + 3 * HOUR)
    beside = [alert.state for alert in stored(database)], "OpenRouter" in "".join(lines(database, NOW))
    entered(database, without, withdraw=True, now=NOW + 3 * HOUR)
    alone = [alert.state for alert in stored(database)], "OpenRouter" in "".join(lines(database, NOW))

    assert beside == (["open", "open"], True)
    assert alone == (["over", "over"], False)
    assert [alert.resolution for alert in stored(database)] == [None, None]


def test_an_open_alert_stands_in_the_context_with_what_is_true_now(database: Database) -> None:
    entered(database, WATCH, withdraw=True, now=NOW)
    look(database, 4.27, NOW - 2 * HOUR)
    look(database, 3.10, NOW - 2 * MINUTE, usage_daily_nano=1_200_000_000)

    assert lines(database, NOW)[-2:] == [
        "- OpenRouter: $3.10 left, $1.20 spent today (2min ago)",
        "- Alert (critical, 2h ago): low credits, $3.10 left",
    ]
    assert lines(database, NOW, 70) == ["Revenue:", "- Alert (critical, 2h ago): low credits, $3.10 left"]


def test_what_is_over_or_acknowledged_leaves_the_context(database: Database) -> None:
    look(database, 4.27, NOW)
    for n in range(25):
        read(database, MLX_API, NOW + n * 5 * MINUTE, good=False)
    low, silent = stored(database)
    assert [line for line in lines(database, NOW) if "Alert" in line] != []

    with database.write() as connection:
        assert alerts.acknowledge(connection, low.id, now=NOW)
        assert not alerts.acknowledge(connection, 4711, now=NOW)
    read(database, MLX_API, NOW + 130 * MINUTE, good=True)

    assert [line for line in lines(database, NOW + 130 * MINUTE) if "Alert" in line] == []
    assert [alert.state for alert in stored(database)] == ["acknowledged", "over"]
    assert silent.kind == "source_silent"


def test_the_gravest_stand_first_and_the_rest_is_counted(database: Database) -> None:
    with database.write() as connection:
        for n in range(8):
            alerts.raise_alert(
                connection, f"budget:{n}", "warning", Words(f"budget {n}", f"Budget {n}"), now=NOW + n * MINUTE
            )
        alerts.raise_alert(connection, "low_credits", "critical", Words("low credits, $4.27 left", "Low"), now=NOW)

    said = [line for line in lines(database, NOW + HOUR) if "Alert" in line]

    assert said[:3] == [
        "- Alert (critical, 1h ago): low credits, $4.27 left",
        "- Alert (warning, 53min ago): budget 7",
        "- Alert (warning, 54min ago): budget 6",
    ]
    assert said[5:] == ["- Alerts: 4 more, see `orchestrator alerts list`"]


@given(st.text())
def test_no_word_of_an_alert_leaves_its_line(word: str) -> None:
    alert = Alert(
        1, "budget:x", "budget", "warning", NOW, Words(word, word), Words(word, word), None, 1, NOW, None, None, None
    )
    facts = context.Facts(
        NOW, {}, None, None, alerts=(alert,), unreached=(Unreached("slack", 1, 1, since=NOW, reason=word),)
    )

    assert [line.text.splitlines()[1:] for line in context.render(facts)] == [[], [], []]


def test_the_limit_is_stored_with_the_alert_and_is_that_of_the_last_look(database: Database) -> None:
    look(database, 4.27, NOW, remaining_source="key limit", limit_nano=20 * 10**9)
    look(database, 3.10, NOW + 5 * MINUTE, remaining_source="key limit", limit_nano=10 * 10**9)
    (key,) = stored(database)
    look(database, 2.00, NOW + 10 * MINUTE, remaining_source="account")
    (account,) = stored(database)

    assert (key.words.limit_nano, key.words.spent_nano) == (20 * 10**9, 15_730_000_000)
    assert (key.now.limit_nano, key.now.spent_nano) == (10 * 10**9, 6_900_000_000)
    assert (account.words, account.now.limit_nano, account.now.remaining_nano) == (key.words, None, 2 * 10**9)


def stop(connection: Connection, name: str, reason: str, now: datetime, retries: datetime | None = None) -> None:
    deliveries.note_failed(connection, name, name, "", [], reason, next_attempt_at=retries, now=now)


OPS, BOSS, CFO = (f"email:{name}@example.org" for name in ("ops", "boss", "cfo"))


@pytest.mark.parametrize(
    ("configured", "stopped", "failing", "said"),
    [
        (["slack"], ["slack"], [], "slack (stopped 2h ago): no (550)"),
        ([OPS], [OPS], [], "email (stopped 2h ago): no (550)"),
        ([OPS, BOSS], [OPS], [], "1 of 2 email recipients (stopped 2h ago): no (550); the other still gets them"),
        ([OPS, BOSS], [OPS], [BOSS], "1 of 2 email recipients (stopped 2h ago): no (550); the other cannot be reached for now"),
        ([OPS, BOSS], [OPS, BOSS], [], "any of 2 email recipients (stopped 2h ago): no (550)"),
        ([OPS, BOSS, CFO], [CFO], [], "1 of 3 email recipients (stopped 2h ago): no (550); the other 2 still get them"),
        ([OPS, BOSS, CFO], [CFO], [OPS], "1 of 3 email recipients (stopped 2h ago): no (550); of the other 2, 1 cannot be reached for now"),
        ([OPS, BOSS, "slack"], [BOSS], ["slack"], "1 of 2 email recipients (stopped 2h ago): no (550); the other still gets them"),
    ],
)  # fmt: skip
def test_a_stopped_channel_stands_in_the_context_with_how_many_others_work_and_without_its_address(
    database: Database, configured: list[str], stopped: list[str], failing: list[str], said: str
) -> None:
    with database.write() as connection:
        deliveries.enter(connection, {name: name for name in configured}, withdraw=True)
        for name in stopped:
            stop(connection, name, "no (550)", NOW)
        for name in failing:
            stop(connection, name, "timeout", NOW, retries=NOW + HOUR)

    assert lines(database, NOW + 2 * HOUR)[-1] == f"- Alerts no longer reach {said}"


def test_of_several_that_are_stopped_the_first_says_since_when_and_why(database: Database) -> None:
    with database.write() as connection:
        deliveries.enter(connection, {OPS: OPS, BOSS: BOSS}, withdraw=True)
        stop(connection, OPS, "the recipient is refused (SMTP 550)", NOW)
        stop(connection, BOSS, "the login is refused (SMTP 535)", NOW + HOUR)

    assert lines(database, NOW + 2 * HOUR)[-1].endswith("(stopped 2h ago): the recipient is refused (SMTP 550)")


OPENROUTER = [
    # readings, as minutes ago, what is left, and more; and the line
    ([], "no data collected yet"),
    ([(2, 16.63, {"usage_daily_nano": 1_200_000_000})], "$16.63 left, $1.20 spent today (2min ago)"),
    ([(2, 16.63, {})], "$16.63 left (2min ago)"),
    ([(9 * 60, 16.63, {"usage_daily_nano": 1})], "$16.63 left (STALE: 9h ago)"),
    ([(2, -0.185117, {})], "-$0.19 left (2min ago)"),
    ([(2, None, {"error": "uncapped key, no management key"})], "uncapped key, balance unknown (2min ago)"),
    ([(2, None, {"error": "key: limit_remaining missing"})], "balance unknown (2min ago): limit_remaining missing"),
    ([(2, None, {"failure": "rejected", "error": "key: HTTP 401"})], "key rejected (2min ago)"),
    ([(2, None, {"failure": "out_of_money", "error": "key: HTTP 402"})], "out of money (2min ago)"),
    ([(2, None, {"failure": "unreachable", "error": "key: timeout"})], "unreachable (2min ago): timeout"),
    (
        [(120, 16.63, {}), *((m, None, {"failure": "unreachable", "error": "key: timeout"}) for m in range(115, -1, -5))],
        "$16.63 left (STALE: 2h ago); unreachable for 2h, 24 tries: timeout",
    ),
    (
        [(7, 16.63, {}), (2, None, {"failure": "rejected", "error": "key: HTTP 401"})],
        "$16.63 left (7min ago); key rejected for 7min, 1 try",
    ),
    (
        [(2, 50.0, {"failure": "out_of_money", "error": "key: HTTP 403"})],
        "out of money (2min ago); $50.00 in the account",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("readings", "line"), OPENROUTER, ids=[line for _, line in OPENROUTER])
def test_the_context_says_what_is_left_how_old_that_is_and_what_failed_since(
    database: Database, readings: list[tuple[int, float | None, dict[str, object]]], line: str
) -> None:
    entered(database, WATCH, withdraw=True, now=NOW)
    for minutes, usd, more in readings:
        look(database, usd, NOW - minutes * MINUTE, **more)

    assert f"- OpenRouter: {line}" in lines(database, NOW)


def test_a_process_without_the_key_shows_the_line_and_without_a_file_it_is_what_is_configured(
    database: Database,
) -> None:
    assert context.format_for_context(
        database, lambda: Setup(sources=(), credits_interval_seconds=300.0), None, NOW
    ) == ("Revenue: no source is configured\n- OpenRouter: no data collected yet")
    entered(database, replace(WATCH, sources=()), withdraw=True, now=NOW)
    look(database, 16.63, NOW)

    assert lines(database, NOW) == ["Revenue: no source is configured", "- OpenRouter: $16.63 left (0min ago)"]


def test_old_alerts_go_with_their_deliveries_and_what_lasts_stays(database: Database) -> None:
    def raised(connection: Connection, days: int, *, over: bool) -> int:
        at = NOW - timedelta(days=days)
        alert_id = alerts.raise_alert(connection, f"budget:{days}", "info", Words("x", "X"), now=at)
        if over:
            conditions.resolve(connection, alert_id, "It is over.", now=at)
        return alert_id

    with database.write() as connection:
        deliveries.enter(connection, {"slack": "f1"}, withdraw=True)
        for days in (500, 400, 300):
            raised(connection, days, over=True)
        lasting = raised(connection, 600, over=False)
        deliveries.claim(connection, "slack", "f1", "me", 10, now=NOW)
        before = NOW - timedelta(days=365)

        assert alerts.prunable(connection, before) == 2
        assert (alerts.prune(connection, before, 1), alerts.prune(connection, before, 5)) == (1, 1)
        left = [alert.id for alert in alerts.recent_alerts(connection, 10)]
        assert (len(left), lasting in left) == (2, True)
        assert {one.alert_id for one in deliveries.of_alerts(connection, [1, 2, 3, 4])} <= set(left)
        assert raised(connection, 1, over=False) > max(left)


def test_a_budgets_alert_is_a_line_of_its_view(database: Database) -> None:
    limit = Limit("2026-11-21", '{"tenant_id": "acme"}', "day", 80, 8_050_000_000, 10**10)
    with database.write() as connection:
        deliveries.enter(connection, {"discord": "a", "slack": "b"}, withdraw=True)
        alerts.raise_alert(connection, "budget:acme", "warning", Words("b", "B"), limit=limit, now=NOW)
        for name, print_ in (("slack", "b"), ("discord", "a")):
            sent = deliveries.claim(connection, name, print_, "me", 10, now=NOW)
            deliveries.note_sent(connection, name, print_, "me", sent, "", now=NOW)

        cursor = connection.execute("SELECT * FROM budget_alerts")
        row = dict(zip((name for name, _ in cursor.get_description()), next(cursor), strict=True))

    assert row == {
        "raised_at": "2026-11-21T08:00:00.000Z", "day": "2026-11-21", "scope": '{"tenant_id": "acme"}', "period": "day",
        "threshold_percent": 80, "severity": "warning", "spent_usd": 8.05, "limit_usd": 10.0,
        "recipients": "discord, slack", "spent_nano": 8_050_000_000, "limit_nano": 10**10,
    }  # fmt: skip
