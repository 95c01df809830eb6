"""better-sqlite3, in a Node process of its own that is told what to store and says how long it took."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from bench.peers import Rows, Store
from bench.typical import CREATE, INSERT

PACKAGE = "better-sqlite3"
# Beside this Python's packages: it has to be compiled once, which takes minutes.
PLACE = Path(sys.prefix) / "bench-node"
SCRIPT = Path(__file__).with_name("better_sqlite3.mjs")
INSTALL_SECONDS = 900


def better_sqlite3(path: Path) -> Store | str:
    """Return what inserts by better-sqlite3, or why it cannot be measured here."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return "there is no node with npm on this machine"
    try:
        _install(npm)
        process = subprocess.Popen(
            [node, str(SCRIPT), str(PLACE), str(path), CREATE, INSERT],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError) as error:
        return f"{PACKAGE} cannot be installed: {type(error).__name__}"
    assert process.stdin is not None
    assert process.stdout is not None
    told, heard = process.stdin, process.stdout
    if not heard.readline():
        return f"{PACKAGE} does not start in this node"

    def store(transactions: Iterable[Rows]) -> list[float]:
        told.write(json.dumps(list(transactions)) + "\n")
        told.flush()
        seconds: list[float] = json.loads(heard.readline())
        return seconds

    return store


def _install(npm: str) -> None:
    if (PLACE / "node_modules" / PACKAGE / "build").is_dir():
        return
    PLACE.mkdir(exist_ok=True)
    subprocess.run(
        [npm, "install", "--no-audit", "--no-fund", "--no-save", PACKAGE],
        cwd=PLACE, check=True, timeout=INSTALL_SECONDS, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
