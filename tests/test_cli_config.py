"""`config show|check|set` and `init` as a person meets them: what is on stdout, what on stderr, and how they end."""

import json
import os
import pty
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from orchestrator.cli.main import main
from orchestrator.config import default_toml

ROOT = Path(__file__).parent.parent
WALLET = "4" + "A" * 94


class Shell:
    """A shell in a folder of its own; `run` returns exit code, stdout and stderr."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.capsys = capsys
        self.config = folder / "config.toml"
        self.overrides = folder / "overrides.toml"

    def run(self, *words: str) -> tuple[int, str, str]:
        self.capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(list(words))
        said = self.capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, said.out, said.err


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    for name in os.environ:
        if name.startswith(("ORCHESTRATOR_", "XDG_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ORCHESTRATOR_DB", str(tmp_path / "orchestrator.db"))
    monkeypatch.chdir(tmp_path)
    return Shell(tmp_path, capsys)


def test_init_writes_a_file_for_its_owner_alone_and_says_what_to_do_next(shell: Shell) -> None:
    before = os.umask(0o777)
    try:
        code, out, err = shell.run("init")
    finally:
        os.umask(before)

    assert (code, err) == (0, "")
    assert out.startswith(f"Wrote {shell.config}.\n")
    assert "orchestrator config check" in out
    assert "orchestrator once" in out
    assert shell.config.read_text() == default_toml()
    assert stat.S_IMODE(shell.config.stat().st_mode) == 0o600
    assert shell.run("config", "check") == (0, f"ok: {shell.config}\n", "")


@pytest.mark.parametrize("what", ["file", "dangling link", "folder"])
def test_init_never_writes_over_anything(shell: Shell, what: str) -> None:
    if what == "file":
        shell.config.write_text("mine")
    elif what == "dangling link":
        shell.config.symlink_to(shell.folder / "nowhere")
    else:
        (shell.config / "config.toml").mkdir(parents=True)

    code, out, err = shell.run("init")

    assert (code, out) == (1, "")
    assert err.splitlines() == [f"Error: {err.splitlines()[0].removeprefix('Error: ')}"]
    assert "is left as it is" in err or "cannot be written" in err
    assert not (shell.folder / "nowhere").exists()
    if what == "file":
        assert shell.config.read_text() == "mine"


def test_init_writes_where_it_is_told_and_then_names_the_file_in_what_to_do(shell: Shell) -> None:
    path = shell.folder / "new" / "my.toml"

    code, out, _ = shell.run("init", "new/my.toml")

    assert code == 0
    assert path.read_text() == default_toml()
    assert f"orchestrator --config {path} config check" in out
    assert shell.run("init", "new")[0] == 0
    assert (shell.folder / "new" / "config.toml").exists()


def test_init_names_a_folder_where_it_may_not_write(shell: Shell) -> None:
    (shell.folder / "file").touch()

    code, out, err = shell.run("init", "file/config.toml")

    assert (code, out) == (1, "")
    assert err == f"Error: {shell.folder}/file/config.toml cannot be written: Not a directory\n"


def test_check_without_any_file_is_ok(shell: Shell) -> None:
    assert shell.run("config", "check") == (0, "ok: there is no file, defaults and environment are in force\n", "")


def test_check_tells_every_problem_on_a_line_of_stderr_and_ends_with_78(shell: Shell) -> None:
    shell.config.write_text("[orchestrator]\nscan_interval_seconds = 0\nweek_starts_on = 'sonday'\n")

    code, out, err = shell.run("config", "check")

    assert (code, out) == (78, "")
    assert len(err.splitlines()) == 2
    assert f"{shell.config}:2: orchestrator.scan_interval_seconds: " in err
    assert "(did you mean sunday?)" in err


def test_check_names_both_files_and_warns(shell: Shell) -> None:
    shell.config.write_text("[orchestrator]\n[retention]\ncalls_days = 1\n")
    shell.overrides.write_text("[retention]\ncalls_days = 2\n")

    code, out, err = shell.run("config", "check")

    assert (code, out) == (0, f"ok: {shell.config}, {shell.overrides}\n")
    assert err == f"warning: {shell.overrides}:2: retention.calls_days replaces what stands at {shell.config}:3\n"


def test_show_prints_key_value_and_origin_and_no_secret(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    shell.config.write_text(
        f'[orchestrator]\n[revenue]\nxmr_wallet = "{WALLET}"\n[prices."a.b"]\ninput_per_million = 0.5\n'
    )
    monkeypatch.setenv("OPENROUTER_API_KEY", "hunter2")

    code, out, err = shell.run("config", "show")

    shown = {line.split()[0]: line.split(maxsplit=1)[1] for line in out.splitlines()}
    assert (code, err) == (0, "")
    assert shown["orchestrator.database"].split() == [
        f"{shell.folder}/orchestrator.db",
        "environment",
        "ORCHESTRATOR_DB",
    ]
    assert shown["orchestrator.scan_interval_seconds"].split() == ["60", "default"]
    assert shown["revenue.xmr_wallet"].split() == [WALLET, f"{shell.config}:3"]
    assert shown["revenue.enabled"].split() == ["true", "default"]
    assert shown['prices."a.b"'].startswith('{"input_per_million": 0.5}')
    assert shown["OPENROUTER_API_KEY"].split() == ["set", "(environment)", "environment", "OPENROUTER_API_KEY"]
    assert shown["SMTP_PASSWORD"].split() == ["none", "default"]
    assert "hunter2" not in out


def test_show_as_json_has_the_same(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    shell.config.write_text("[orchestrator]\n[retention]\ncalls_days = 1\n[budget]\nenforce = true\n")
    shell.overrides.write_text("[retention]\ncalls_days = 2\n")
    monkeypatch.setenv("SLACK_WEBHOOK_URL", "https://hunter2.example")

    code, out, err = shell.run("config", "show", "--json")

    said = json.loads(out)
    settings = {row["key"]: row for row in said["data"]["settings"]}
    assert (code, err) == (0, "")
    assert set(said) == {"generated_at", "data"}
    assert said["data"]["path"] == str(shell.config)
    assert said["data"]["overrides"] == str(shell.overrides)
    assert settings["retention.calls_days"] == {
        "key": "retention.calls_days",
        "value": 2,
        "origin": f"{shell.overrides}:2",
    }
    assert settings["budget.daily_limit_usd"]["value"] == 10
    assert settings["budget.monthly_limit_usd"]["value"] is None
    assert settings["budget.thresholds"]["value"][0] == {"at": 50, "severity": "info"}
    assert settings["SLACK_WEBHOOK_URL"]["value"] == "set (environment)"
    assert settings["SMTP_PASSWORD"]["value"] is None
    assert len(said["data"]["warnings"]) == 2
    assert "hunter2" not in out


def test_a_terminal_gets_a_table_and_its_wish_for_no_colour_is_heard(shell: Shell) -> None:
    ours, theirs = pty.openpty()
    environ = os.environ | {"PYTHONPATH": str(ROOT), "NO_COLOR": "1", "TERM": "xterm", "COLUMNS": "200"}
    code = "from orchestrator.cli.main import main; main(['config', 'show'])"

    with subprocess.Popen([sys.executable, "-c", code], env=environ, stdout=theirs) as process:
        os.close(theirs)
        said = b""
        while chunk := read_some(ours):
            said += chunk
    os.close(ours)

    lines = said.decode().splitlines()
    assert process.returncode == 0
    assert all(head in lines[0] for head in ("key", "value", "origin"))
    assert any(line.split() == ["retention.calls_days", "90", "default"] for line in lines)
    assert "\x1b[3" not in said.decode()


def read_some(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:
        return b""  # Linux ends a terminal with an error


def test_set_changes_overrides_and_leaves_the_file_alone(shell: Shell) -> None:
    shell.config.write_text("[orchestrator]\n")

    code, out, err = shell.run("config", "set", "budget.daily_limit_usd", "20.50")

    assert (code, err) == (0, "")
    assert out == f"budget.daily_limit_usd is set in {shell.overrides}\n"
    assert tomllib.loads(shell.overrides.read_text()) == {"budget": {"daily_limit_usd": 20.5}}
    assert stat.S_IMODE(shell.overrides.stat().st_mode) == 0o600
    assert shell.config.read_text() == "[orchestrator]\n"


def test_set_and_unset_of_an_array(shell: Shell) -> None:
    assert shell.run("config", "set", "alerts.email.recipients", '["a@example.org"]')[0] == 0
    assert tomllib.loads(shell.overrides.read_text())["alerts"]["email"]["recipients"] == ["a@example.org"]

    assert shell.run("config", "set", "alerts.email.recipients", "--unset")[0] == 0
    assert tomllib.loads(shell.overrides.read_text()) == {}
    assert shell.run("config", "set", "alerts.email.recipients", "--unset") == (
        1,
        "",
        f"Error: alerts.email.recipients is not in {shell.overrides}\n",
    )


@pytest.mark.parametrize(
    "words",
    [
        ("revenue.pool_url", "https://evil.example"),
        ("web.enabled", "true"),
        ("actions.scale_down", '["rm"]'),
        ("orchestrator.database", "x.db"),
        ("retention.calls_days", "-1"),
        ("retention.calls_day", "1"),
        ("smtp_password", "hunter2"),
    ],
)
def test_set_refuses_what_cannot_be_with_78_and_writes_nothing(shell: Shell, words: tuple[str, str]) -> None:
    code, out, err = shell.run("config", "set", *words)

    assert (code, out) == (78, "")
    assert len(err.splitlines()) == 1
    assert "hunter2" not in err
    assert not shell.overrides.exists()


@pytest.mark.parametrize("words", [("retention.calls_days",), ("retention.calls_days", "1", "--unset"), ()])
def test_set_wants_a_value_or_unset(shell: Shell, words: tuple[str, ...]) -> None:
    assert shell.run("config", "set", *words)[0] == 2


def test_set_says_when_the_environment_stays_in_force(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCHESTRATOR_RETENTION__CALLS_DAYS", "3")

    code, _, err = shell.run("config", "set", "retention.calls_days", "4")

    assert code == 0
    assert err == "warning: environment ORCHESTRATOR_RETENTION__CALLS_DAYS is stronger, and stays in force\n"


def test_unset_mends_overrides_that_keep_everything_from_starting(shell: Shell) -> None:
    shell.overrides.write_text("[retention]\ncalls_days = -1\n")
    assert shell.run("config", "check")[0] == 78

    assert shell.run("config", "set", "retention.calls_days", "--unset")[0] == 0

    assert shell.run("config", "check")[0] == 0


def test_set_makes_the_users_state_directory(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ORCHESTRATOR_DB")
    monkeypatch.setenv("XDG_STATE_HOME", str(shell.folder / "state"))

    assert shell.run("config", "set", "retention.calls_days", "4")[0] == 0

    folder = shell.folder / "state" / "orchestrator"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert (folder / "overrides.toml").exists()
