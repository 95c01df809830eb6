"""The in-process API: it finds the file as the command line does, and answers from any thread."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from freezegun import freeze_time

import orchestrator
from orchestrator.errors import FileMissing
from orchestrator.ledger import alerts, setup, snapshots
from orchestrator.ledger.setup import Setup
from orchestrator.ledger.snapshots import MLX_API, XMR_MINING, Snapshot
from orchestrator.store.database import Database

NOW = datetime(2026, 11, 18, 12, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Run where no configuration and no file of the developer's can be found."""
    for name in list(os.environ):
        if name.startswith(("ORCHESTRATOR_", "XDG_")) or name in ("STATE_DIRECTORY", "CREDENTIALS_DIRECTORY"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    yield
    orchestrator.close()


def filled(path: Path, *rows: Snapshot, sources: tuple[str, ...] = (XMR_MINING,)) -> Database:
    database = Database(path)
    with database.write() as connection:
        setup.write(connection, Setup(sources=sources))
        for row in rows:
            snapshots.insert(connection, row)
    return database


def reading(at: datetime, balance: int = 10**12) -> Snapshot:
    return Snapshot(XMR_MINING, at, balance, 0, 100.0, 200.0)


def test_every_public_name_loads_and_is_documented() -> None:
    assert dir(orchestrator) == sorted(orchestrator.__all__)
    for name in orchestrator.__all__:
        assert getattr(orchestrator, name).__doc__
    with pytest.raises(AttributeError, match="no_such_name"):
        orchestrator.no_such_name  # noqa: B018


def test_without_a_file_the_context_says_so_and_makes_none(tmp_path: Path) -> None:
    assert orchestrator.format_for_context() == "Revenue:\n- MLX API: no data collected yet"
    assert not list(tmp_path.rglob("orchestrator.db"))


def test_the_file_in_the_working_directory_is_found_once_it_exists(tmp_path: Path) -> None:
    orchestrator.format_for_context()
    filled(tmp_path / "orchestrator.db", reading(NOW)).close()

    assert "XMR Mining: $200.00 balance" in orchestrator.format_for_context(now=NOW)


def test_the_environment_names_the_file_before_anything_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(tmp_path / "orchestrator.db", reading(NOW)).close()
    filled(tmp_path / "other.db", reading(NOW, 2 * 10**12)).close()
    monkeypatch.setenv("ORCHESTRATOR_DB", str(tmp_path / "other.db"))

    assert "$400.00 balance" in orchestrator.format_for_context(now=NOW)


def test_the_clock_is_the_default_for_now(tmp_path: Path) -> None:
    database = filled(tmp_path / "x.db", reading(NOW))

    with freeze_time(NOW + timedelta(minutes=7)):
        assert "(7min ago)" in orchestrator.format_for_context(db=database)


def test_latest_tells_never_from_not_configured(tmp_path: Path) -> None:
    database = filled(tmp_path / "x.db", sources=(XMR_MINING,))

    latest = orchestrator.get_latest(db=database, now=NOW)

    assert latest[MLX_API] is None
    assert latest[XMR_MINING] == snapshots.never(XMR_MINING)


def test_latest_has_the_value_its_age_and_what_was_tried_since(tmp_path: Path) -> None:
    tried = NOW - timedelta(minutes=1)
    database = filled(
        tmp_path / "x.db",
        reading(NOW - timedelta(minutes=12, seconds=50)),
        Snapshot(XMR_MINING, tried, error="pool: timeout"),
    )

    latest = orchestrator.get_latest(db=str(database.path), now=NOW)[XMR_MINING]

    assert latest is not None
    assert (latest.balance_atomic, latest.age_minutes, latest.state) == (10**12, 12, "stale")
    assert (latest.last_attempt_at, latest.failures, latest.last_error) == (tried, 1, "pool: timeout")


def test_latest_without_a_file_asks_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[orchestrator]\n[revenue]\nmlx_url = ''\n")

    assert orchestrator.get_latest() == {XMR_MINING: None, MLX_API: None}


def test_a_trend_needs_a_file() -> None:
    with pytest.raises(FileMissing, match="orchestrator once"):
        orchestrator.get_weekly_trend()


def test_a_trend_of_unknown_weeks_is_none_and_not_zero(tmp_path: Path) -> None:
    trend = orchestrator.get_weekly_trend(db=filled(tmp_path / "x.db", reading(NOW)), now=NOW)

    assert (trend.this_week.xmr_atomic, trend.this_week.xmr_usd, trend.this_week.requests) == (None, None, None)
    assert trend.this_week.flag == "unknown"
    assert trend.change_percent == {"xmr_atomic": None, "xmr_usd": None, "requests": None, "tokens": None}


def test_many_threads_may_ask_at_once(tmp_path: Path) -> None:
    rows = [reading(NOW - timedelta(hours=n), (100 - n) * 10**9) for n in range(100)]
    path = filled(tmp_path / "x.db", *rows).path

    with ThreadPoolExecutor(8) as threads:
        texts = set(threads.map(lambda _: orchestrator.format_for_context(now=NOW, db=path), range(200)))

    assert len(texts) == 1


def test_a_child_of_a_fork_may_ask_too(tmp_path: Path) -> None:
    path = filled(tmp_path / "x.db", reading(NOW)).path
    expected = orchestrator.format_for_context(now=NOW, db=path)

    child = os.fork()
    if child == 0:
        os._exit(0 if orchestrator.format_for_context(now=NOW, db=path) == expected else 1)
    _, status = os.waitpid(child, 0)

    assert status == 0
    assert orchestrator.format_for_context(now=NOW, db=path) == expected


def test_the_history_of_alerts_has_the_newest_first_and_is_empty_without_a_file(tmp_path: Path) -> None:
    assert orchestrator.get_alert_history() == []

    database = filled(tmp_path / "x.db")
    words = alerts.Words(title="Low credits: $4.27 remaining", brief="low credits, $4.27 left")
    with database.write() as connection:
        for n in range(3):
            alerts.raise_alert(connection, f"test:{n}", "warning", words, now=NOW + timedelta(minutes=n))

    history = orchestrator.get_alert_history(db=database)

    assert [alert.raised_at for alert in history] == [NOW + timedelta(minutes=n) for n in (2, 1, 0)]
    assert len(orchestrator.get_alert_history(limit=2, db=database)) == 2
    assert len(orchestrator.get_alert_history(db=database, now=NOW)) == 1
