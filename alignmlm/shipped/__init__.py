"""Recipes, studies, ds_configs and launchers that come with alignmlm, found by name.

The folders here are links to those of the checkout; a wheel has their files.
"""

from pathlib import Path

from alignmlm.errors import ConfigError, nearest

OWN = Path(__file__).parent
FORMS = {"recipe": "recipes/*.yaml", "study": "studies/*.yaml", "--deepspeed": "ds_configs/*.json"}


def shipped_file(kind: str, name: Path | str) -> Path:
    """A file of the user's, or where there is none, the one of that name that comes with alignmlm.

    For a study, "sample", "sample.yaml" and "studies/sample.yaml" name the same file.

    Raises:
        ConfigError: there is neither.
    """
    path, form = Path(name), Path(FORMS[kind])
    if path.is_file():
        return path
    own = OWN / form.parent / f"{path.name.removesuffix(form.suffix)}{form.suffix}"
    if path.parent in (Path(), form.parent) and own.is_file():
        return own
    names = sorted(each.stem for each in OWN.glob(str(form)))
    requirement = f"be an existing file, or one of alignmlm's: {', '.join(names)}"
    raise ConfigError(kind, str(name), requirement + nearest(path.stem, names))


def shipped_launchers() -> Path:
    """The batch scripts of the current folder, or else those that come with alignmlm."""
    here = Path("launchers")
    return here if here.is_dir() else OWN / here
