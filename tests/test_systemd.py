"""The units: what systemd itself says about them, and what they promise each other."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.config.credentials import SECRET_NAMES

FOLDER = Path(__file__).parent.parent / "systemd"
INSTALLED = "/opt/orchestrator/.venv/bin/orchestrator"
SERVICES = ["orchestrator.service", "orchestrator-once.service"]
# Exposure times ten: what is left is the network, the local socket of sd_notify, the group's UMask and the host's root folder.
EXPOSURE = 11


def systemd_version() -> int:
    """Return the version of systemd-analyze, 0 where there is none."""
    if shutil.which("systemd-analyze") is None:
        return 0
    said = subprocess.run(["systemd-analyze", "--version"], capture_output=True, text=True, check=True).stdout
    return int(said.split()[1].split("~")[0].split(".")[0])


# 252 is the first that looks for credentials in /etc/credstore.
needs_systemd = pytest.mark.skipif(systemd_version() < 252, reason="there is no systemd-analyze >= 252 here")


def settings(name: str, section: str) -> list[tuple[str, str]]:
    """Return the settings of one section in the order of the file; a setting may stand there several times."""
    found: list[tuple[str, str]] = []
    current = ""
    for line in (FOLDER / name).read_text().splitlines():
        if line.startswith("["):
            current = line.strip("[]")
        elif line and not line.startswith("#") and current == section:
            key, value = line.split("=", 1)
            found.append((key, value))
    return found


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """Return a folder with the units as installed, but with an executable that exists on this machine."""
    for unit in FOLDER.glob("orchestrator*.*"):
        (tmp_path / unit.name).write_text(unit.read_text().replace(INSTALLED, sys.executable))
    return tmp_path


@needs_systemd
@pytest.mark.parametrize("name", [*SERVICES, "orchestrator-once.timer"])
def test_systemd_finds_nothing_wrong_with_the_unit(units: Path, name: str) -> None:
    said = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", units / name], capture_output=True, text=True, check=False
    )

    assert (said.returncode, said.stdout + said.stderr) == (0, "")


@needs_systemd
@pytest.mark.parametrize("name", SERVICES)
def test_the_service_is_exposed_no_more_than_it_needs(units: Path, name: str) -> None:
    said = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE}", "--no-pager", units / name],
        capture_output=True,
        text=True,
        check=False,
    )

    assert said.returncode == 0, said.stdout


@pytest.mark.skipif(shutil.which("systemd-sysusers") is None, reason="there is no systemd-sysusers here")
def test_the_sysusers_file_makes_a_user_and_its_group(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()

    subprocess.run(
        ["systemd-sysusers", f"--root={tmp_path}", FOLDER / "orchestrator.conf"], capture_output=True, check=True
    )

    user = (tmp_path / "etc/passwd").read_text().strip().split(":")
    group = (tmp_path / "etc/group").read_text().strip().split(":")
    assert (user[0], user[3], group[0]) == ("orchestrator", group[2], "orchestrator")
    assert user[5:] == ["/var/lib/orchestrator", "/usr/sbin/nologin"]


def test_the_daemon_tells_systemd_that_it_lives_and_a_bad_configuration_is_not_tried_again() -> None:
    daemon = dict(settings("orchestrator.service", "Service"))

    assert daemon["ExecStart"] == f"{INSTALLED} run"
    assert (daemon["Type"], daemon["NotifyAccess"]) == ("notify", "main")
    assert daemon["WatchdogSec"]
    assert daemon["Restart"] == "on-failure"
    assert "78" in daemon["RestartPreventExitStatus"].split()


def test_a_file_that_no_restart_mends_is_not_tried_for_ever() -> None:
    unit, daemon = (dict(settings("orchestrator.service", section)) for section in ("Unit", "Service"))
    window, pause, tries = unit["StartLimitIntervalSec"], daemon["RestartSec"], int(unit["StartLimitBurst"])

    assert int(window.removesuffix("min")) * 60 > 2 * tries * int(pause.removesuffix("s"))


@pytest.mark.parametrize("name", SERVICES)
def test_the_group_may_use_what_the_service_makes(name: str) -> None:
    service = dict(settings(name, "Service"))

    assert (service["User"], service["Group"]) == ("orchestrator", "orchestrator")
    assert (service["StateDirectory"], service["StateDirectoryMode"], service["UMask"]) == (
        "orchestrator",
        "2770",
        "0007",
    )


def test_both_services_have_the_same_credentials_and_the_same_walls() -> None:
    own = {"Type", "NotifyAccess", "ExecStart", "WatchdogSec", "Restart", "RestartSec", "RestartPreventExitStatus"}
    own |= {"TimeoutStartSec", "TimeoutStopSec"}

    daemon, once = ([s for s in settings(name, "Service") if s[0] not in own] for name in SERVICES)

    assert daemon == once


@pytest.mark.parametrize("name", SERVICES)
def test_a_credential_that_is_not_there_does_not_stop_the_service(name: str) -> None:
    credentials = [value.split(":") for key, value in settings(name, "Service") if key == "LoadCredential"]

    assert credentials
    # systemd refuses to start when an absolute path is missing, and passes over a name it finds in no credential store.
    assert [source for _, source in credentials if source.startswith("/")] == []
    assert all(source.startswith("orchestrator.") for _, source in credentials)


@pytest.mark.parametrize("name", SERVICES)
def test_every_secret_that_the_program_knows_can_be_a_credential(name: str) -> None:
    credentials = [value.split(":")[0] for key, value in settings(name, "Service") if key == "LoadCredential"]

    assert sorted(credentials) == sorted(SECRET_NAMES)
