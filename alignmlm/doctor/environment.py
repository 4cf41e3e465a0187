"""`.deepspeed_env`: what DeepSpeed's launcher exports to the nodes besides its own defaults.

DeepSpeed 0.19 exports PYTHON*, MLFLOW*, MV2*, UCX* and, on GPUs, NCCL*; all else only from this
file, which it reads in the working folder and in ~, line by line: a blank line or a comment makes
it fail. It puts the values between double quotes into a shell command.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from alignmlm.errors import ConfigError
from alignmlm.storage.atomic import replace_text
from alignmlm.storage.text import numbered_lines
from alignmlm.storage.variables import expanded

FILE = ".deepspeed_env"  # unless DS_ENV_FILE names another
NAME = re.compile(r"\s*\w+\s*")
WANTED = re.compile(
    "ALIGNMLM_DATA|HF_.*|TRANSFORMERS_.*|TORCH_EXTENSIONS_DIR|TRITON_.*|XDG_CACHE_HOME"
    "|NUMBA_CACHE_DIR|OMP_NUM_THREADS|DS_ACCELERATOR|GLOO_SOCKET_IFNAME|NCCL_.*|CUDA_HOME"
    "|LD_LIBRARY_PATH|WANDB_MODE|WANDB_DIR|SSL_CERT_FILE|.*_proxy"
)
SECRET = re.compile(".*(TOKEN|KEY|SECRET|PASSWORD).*")  # every user of a node sees its commands
EXPORTED = ("PYTHON", "MLFLOW", "MV2", "UCX", "NCCL")
LOGIN = re.compile("://[^/]*@")  # the user, and usually a password, in a URL
UNSAFE = re.compile(r'["$`\\\n\r!]')


def wanted(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that alignmlm and its libraries read, without secrets.

    Raises:
        ConfigError: a value that the nodes' shells would change or execute.
    """
    variables = {
        name: value
        for name, value in sorted(environ.items())
        if WANTED.fullmatch(name)
        and value
        and not SECRET.fullmatch(name)
        and not LOGIN.search(value)
    }
    for name, value in variables.items():
        if UNSAFE.search(value):
            requirement = 'have none of " $ ` \\ ! and no line break to be put into .deepspeed_env'
            raise ConfigError(name, value, requirement)
    return variables


def own_lines(path: Path) -> list[str]:
    """The lines of a .deepspeed_env that set variables other than those that wanted() looks for."""
    found = []
    for _, line in numbered_lines(path) if path.is_file() else ():
        name, sign, _ = line.partition("=")
        if sign and NAME.fullmatch(name) and not WANTED.fullmatch(name.strip()):
            found.append(f"{line}\n")
    return found


def write_environment(folder: Path, environ: Mapping[str, str]) -> tuple[Path, dict[str, str]]:
    """Write the .deepspeed_env of a folder, or remove an empty one; returns path and variables.

    Other variables that the file sets stay in it.
    """
    variables, path = wanted(environ), folder / environ.get("DS_ENV_FILE", FILE)
    lines = [*own_lines(path), *(f"{name}={value}\n" for name, value in variables.items())]
    if lines:
        replace_text(path, "".join(lines))
    else:
        path.unlink(missing_ok=True)
    return path, variables


def read_environment(folder: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that DeepSpeed will take from ~ and from a folder.

    Raises:
        ConfigError: a line that it cannot read.
        DataError: a file that is not UTF-8.
    """
    variables: dict[str, str] = {}
    name = environ.get("DS_ENV_FILE", FILE)
    for path in (Path(expanded("~")) / name, folder / name):
        if not path.is_file():
            continue
        for number, line in numbered_lines(path):
            key, sign, value = line.partition("=")
            if not sign or not NAME.fullmatch(key):
                requirement = "look like NAME=value; DeepSpeed takes no blank lines and no comments"
                raise ConfigError(f"{path}:{number}", line, requirement)
            variables[key.strip()] = value.strip()
    return variables


def on_nodes(folder: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of a rank on another node, as far as DeepSpeed's launcher decides it."""
    exported = {name: value for name, value in environ.items() if name.startswith(EXPORTED)}
    paths = [str(folder), *filter(None, [environ.get("PYTHONPATH")])]
    return exported | {"PYTHONPATH": os.pathsep.join(paths)} | read_environment(folder, environ)


def forgotten(folder: Path, environ: Mapping[str, str]) -> list[str]:
    """Names of variables that are set here and will be missing or different on the nodes."""
    given = on_nodes(folder, environ)
    return [name for name, value in wanted(environ).items() if given.get(name) != value]
