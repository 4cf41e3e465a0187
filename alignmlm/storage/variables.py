"""Environment variables in paths, the only place where they are expanded."""

import os
import re

from alignmlm.errors import ConfigError

VARIABLE = re.compile(r"\$(?:([A-Za-z_]\w*)|\{([^}]*)\})", re.ASCII)


def expanded(path: str, key: str = "path") -> str:
    """A path with the values of its $VARIABLES, and the home folder for a leading ~.

    Where one is not set but a file has exactly this name, dollar sign included, that file is meant.

    Raises:
        ConfigError: a variable is not set, or is empty.
    """
    names = [bare or braced for bare, braced in VARIABLE.findall(path)]
    missing = [name for name in names if not os.environ.get(name)]
    if missing and os.path.lexists(path):
        return path
    if missing:
        unset = " and ".join(f"${name}" for name in dict.fromkeys(missing))
        verb = "is" if len(set(missing)) == 1 else "are"
        raise ConfigError(key, path, f"name variables that are set; {unset} {verb} not")
    return os.path.expanduser(os.path.expandvars(path))  # noqa: PTH111 - ~nobody stays as it is
