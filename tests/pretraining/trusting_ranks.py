"""What tests start under torchrun: a run that trusts each induction, however young its embeddings.

A model of a few steps has no embeddings whose pairs the rule would trust.
"""

import sys
from pathlib import Path

from alignmlm.cli import leave
from alignmlm.config import load_recipe
from alignmlm.console.terminal import set_up_logging
from alignmlm.probes import induction
from tests.runs import pretrain

TRUSTING = induction.Rule(margin=0.0, rounds=1, least_precision=0.0, least_known=0)


def main(policy: str, *overrides: str) -> None:
    """Train as train.py does."""
    set_up_logging()
    induction.FROM_EMBEDDINGS = TRUSTING
    pretrain(load_recipe(None, list(overrides)), Path(policy))
    leave(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
