"""Which code a run ran: versions, commit, uncommitted changes, command line and launcher."""

import json
import os
import platform
import re
import socket
import subprocess
import sys
import time
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePath, PureWindowsPath
from typing import Any

import alignmlm
from alignmlm.errors import CheckpointError
from alignmlm.ranks.placement import LAUNCHERS, launcher_of
from alignmlm.storage.atomic import replace_text
from alignmlm.storage.plain_data import read_json
from alignmlm.storage.records import check_keys

CODE = "code.json"
ABSOLUTE = re.compile(r"(?P<hub>(hub:)?)(file:|[/~$]|(?P<windows>[A-Za-z]:[\\/]|\\\\))")
LIBRARIES = (
    "torch", "deepspeed", "transformers", "tokenizers", "datasets", "numpy", "numba", "triton",
    "safetensors", "mpi4py",
)  # fmt: skip
RECORDED = (
    "SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID", "SLURM_RESTART_COUNT",
    "SLURM_JOB_NODELIST", "SLURM_NTASKS", "TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT",
    "WORLD_SIZE", "LOCAL_WORLD_SIZE", "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES",
)  # fmt: skip


def without_folders(value: Any) -> Any:
    """Plain values with file names instead of absolute paths."""
    if isinstance(value, dict):
        return {key: without_folders(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [without_folders(part) for part in value]
    if isinstance(value, str) and (match := ABSOLUTE.match(value)):
        flavour = PureWindowsPath if match["windows"] else PurePath
        return match["hub"] + flavour(value[match.end("hub") :]).name
    return value


def git(folder: Path, *command: str) -> str | None:
    """What a git command that changes nothing prints; None without git or outside a checkout."""
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", "-C", str(folder), *command],
            capture_output=True, timeout=60, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else None


def checkout() -> Path | None:
    """The folder of the checkout that this package is imported from; None if it is installed."""
    root = Path(alignmlm.__file__).parents[1]
    return root if (root / ".git").exists() else None


def changes(folder: Path) -> str | None:
    """What differs from the last commit, as a patch; untracked files are left out."""
    return git(folder, "diff", "HEAD", "--binary", "--no-ext-diff", "--no-color")


def git_record(folder: Path | None) -> dict[str, Any]:
    """Commit, hash of the changes since, and names of untracked Python files."""
    if folder is None or (commit := git(folder, "rev-parse", "HEAD")) is None:
        return {"commit": None, "diff_sha256": None, "untracked": []}
    patch = changes(folder)
    untracked = git(folder, "ls-files", "--others", "--exclude-standard", "--", "*.py") or ""
    return {
        "commit": commit.strip(),
        "diff_sha256": sha256(patch.encode()).hexdigest() if patch else None,
        "untracked": untracked.splitlines(),
    }


def library_versions() -> dict[str, str]:
    """Versions of the installed libraries that results may depend on."""
    versions = {}
    for name in LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def launcher() -> str:
    """What started this process: torchrun, srun, deepspeed and so on, or python."""
    name = launcher_of(os.environ)
    return "python" if name is None else LAUNCHERS[name].shown or name


def code_record() -> dict[str, Any]:
    """What identifies one start of a run: code, versions, command line and environment."""
    return {
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "alignmlm": alignmlm.__version__,
        "git": git_record(checkout()),
        "python": platform.python_version(),
        "libraries": library_versions(),
        "command": [sys.executable, *sys.argv],
        "folder": str(Path.cwd()),
        "host": socket.gethostname(),
        "launcher": launcher(),
        "environment": {name: os.environ[name] for name in RECORDED if name in os.environ},
    }


def recorded_starts(folder: Path) -> list[dict[str, Any]]:
    """The starts in a folder's code.json, the first one first; none where there is no such file.

    Raises:
        CheckpointError: it is damaged.
    """
    path = folder / CODE
    known = read_json(path, CheckpointError) if path.exists() else {"starts": []}
    check_keys(known, {"starts": list}, path, CheckpointError)
    starts: list[dict[str, Any]] = known["starts"]
    return starts


def record_start(folder: Path, **chosen: str) -> None:
    """Add this start, and what it chose by itself, to the folder's code.json; rank 0 calls it."""
    starts = [*recorded_starts(folder), code_record() | {"chosen": chosen}]
    replace_text(
        folder / CODE, json.dumps({"schema_version": 1, "starts": starts}, indent=1) + "\n"
    )


def chosen_before(folder: Path, name: str) -> str | None:
    """The value of `name` in a folder's latest start that chose one; None where none did."""
    place = folder / CODE
    for start in reversed(recorded_starts(folder)):
        check_keys(start, {}, place, CheckpointError, optional={"chosen": dict})
        chosen = start.get("chosen", {})
        check_keys(chosen, {}, place, CheckpointError, optional={name: str})
        if name in chosen:
            return str(chosen[name])
    return None
