"""Where the rows of a benchmark are kept."""

import json
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def keep_rows(rows: Sequence[dict[str, Any]], asked: Namespace, committed: Path) -> None:
    """Append rows to --out or to the committed file; those of --smoke to --out alone."""
    path = asked.out or (None if asked.smoke else committed)
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
