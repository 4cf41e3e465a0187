"""DeepSpeed's hostfiles: one line per node, `name slots=N`; only valid host names pass."""

import re
from dataclasses import dataclass
from pathlib import Path

from alignmlm.errors import ConfigError, DataError
from alignmlm.storage.text import numbered_lines, split_blanks

# ssh and pdsh get the names unchanged: one with a leading dash would be taken for an option
NAME = re.compile(r"([A-Za-z_][\w.-]*@)?[A-Za-z0-9]([\w.-]{0,251}[A-Za-z0-9])?", re.ASCII)
SLOTS = re.compile(r"slots=([0-9]{1,4})")
FORM = "look like `node1 slots=8`"


@dataclass(frozen=True, slots=True)
class Host:
    """A node of a hostfile."""

    name: str  # or user@name
    slots: int  # ranks on it


def read_hostfile(path: Path) -> list[Host]:
    """The nodes of a hostfile, in order.

    Raises:
        ConfigError: no such file, no node in it, or a line that is not `name slots=N`; the message
            names file and line.
    """
    try:
        lines = list(numbered_lines(path))
    except DataError as error:
        raise ConfigError("hostfile", str(path), f"be a text file ({error})") from error
    hosts: dict[str, Host] = {}
    for number, line in lines:
        text = line.partition("#")[0].strip(" \t")
        if not text:
            continue
        host = parse_host(text, f"{path}:{number}")
        if host.name in hosts:
            raise ConfigError(f"{path}:{number}", text, f"not name {host.name} a second time")
        hosts[host.name] = host
    if not hosts:
        raise ConfigError("hostfile", str(path), "name at least one node")
    return list(hosts.values())


def parse_host(text: str, place: str) -> Host:
    """The node of one line.

    Raises:
        ConfigError: it is not `name slots=N`, or has characters that no host name has.
    """
    parts = split_blanks(text)
    if len(parts) != 2:
        raise ConfigError(place, text, FORM)
    name, slots = NAME.fullmatch(parts[0]), SLOTS.fullmatch(parts[1])
    if name is None:
        raise ConfigError(place, text, f"{FORM}: a host name has letters, digits and any of . - _")
    if slots is None or int(slots[1]) < 1:
        raise ConfigError(place, text, f"{FORM}: slots are a number from 1 to 9999")
    return Host(parts[0], int(slots[1]))
