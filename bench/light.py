"""The light path: importing the package, and `context` from a cold start, beside bare Python and Node."""

import shutil
import statistics
import sys
from datetime import datetime
from pathlib import Path

from bench import history
from bench.timing import Row, in_turn, median_ms, peak_memory_mb, process, ratio

ROUNDS = 25


def measure(folder: Path, now: datetime) -> list[Row]:
    """Return the rows for import and cold context; Node's are left out, and said to be, where there is none."""
    history.make(folder / "light.db", 90, now).close()
    context = (sys.executable, "-m", "orchestrator", "--db", str(folder / "light.db"), "context")
    contenders = {
        "python -c pass": process(sys.executable, "-c", "pass", cwd=folder),
        "import orchestrator": process(sys.executable, "-c", "import orchestrator", cwd=folder),
        "context": process(*context, cwd=folder),
    }
    if node := shutil.which("node"):
        contenders["node -e 0"] = process(node, "-e", "0", cwd=folder)
    seconds = in_turn(contenders, ROUNDS)
    bare = median_ms(seconds["python -c pass"])
    memory = statistics.median(peak_memory_mb(context, folder) for _ in range(5))
    rows = [
        Row(
            "`import orchestrator`, fresh process", median_ms(seconds["import orchestrator"]),
            f"{ratio(seconds, 'import orchestrator', 'python -c pass'):.2f} × `python -c pass` ({bare})", "≤ 2 ×",
        ),
        Row(
            "`python -m orchestrator context`, cold", median_ms(seconds["context"]),
            f"{ratio(seconds, 'context', 'python -c pass'):.2f} × `python -c pass` ({bare})", "",
        ),
    ]  # fmt: skip
    if node:
        beside = f"{ratio(seconds, 'context', 'node -e 0'):.2f} × `node -e 0` ({median_ms(seconds['node -e 0'])})"
        rows.append(Row("the same", median_ms(seconds["context"]), beside, "≤ 2 ×"))
    else:
        rows.append(Row("the same beside Node", "not measured", "there is no node on this machine", "≤ 2 ×"))
    rows.append(Row("its peak memory", f"{memory:.1f} MB", "", "≤ 30 MB"))
    return rows
