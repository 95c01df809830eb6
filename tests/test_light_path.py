"""The light path: what an agent's process loads when it imports the package and asks for its context."""

import subprocess
import sys
from pathlib import Path

HEAVY = {
    "httpx",
    "structlog",
    "asyncio",
    "requests",
    "pydantic",
    "rich",
    "genai_prices",
    "msgspec",
    "click",
    "discord_webhook",
}


def loaded_after(code: str, cwd: Path) -> set[str]:
    """Return the modules that a fresh process has loaded after some code, in an empty environment."""
    script = f"{code}\nimport sys\nprint('\\n'.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=cwd, env={"HOME": str(cwd), "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    return set(done.stdout.splitlines())


def test_importing_the_package_loads_nothing_but_itself(tmp_path: Path) -> None:
    before = loaded_after("pass", tmp_path)

    after = loaded_after("import orchestrator", tmp_path)

    assert after - before == {"orchestrator"}


def test_the_context_of_a_collected_file_loads_no_heavy_library(tmp_path: Path) -> None:
    database = tmp_path / "orchestrator.db"
    subprocess.run(
        [sys.executable, "-m", "orchestrator", "--db", str(database), "once"], cwd=tmp_path, check=True, timeout=60,
        capture_output=True, env={"HOME": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[1])},
    )  # fmt: skip

    after = loaded_after("import orchestrator; assert 'MLX API' in orchestrator.format_for_context()", tmp_path)

    assert not after & HEAVY
    assert "apsw" in after


def test_importing_and_making_a_database_touch_no_disk(tmp_path: Path) -> None:
    loaded_after("import orchestrator.store.database as d; d.Database('x.db'); import orchestrator.api", tmp_path)

    assert [path for path in tmp_path.iterdir() if path.suffix != ".pyc"] == []


def test_who_only_asks_loads_nothing_of_what_records(tmp_path: Path) -> None:
    after = loaded_after(
        "import orchestrator; orchestrator.get_latest(), orchestrator.get_pnl, orchestrator.close()", tmp_path
    )

    assert not after & {"orchestrator.recording", "orchestrator.pricing", "orchestrator.api.records"}
