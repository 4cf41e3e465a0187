"""What mpirun starts: rank 1 ends badly while rank 0 waits for a minute."""

import os
import signal
import sys
import time

from alignmlm.ranks.distributed import with_master
from alignmlm.ranks.placement import launched_by


def main(how: str) -> None:
    """End as `how` says: raise, exit or kill."""
    place = with_master(launched_by(os.environ))
    if place.rank == 0:
        time.sleep(60)
        sys.stdout.write("still there\n")
    elif how == "raise":
        raise RuntimeError("rank 1 ends")
    elif how == "exit":
        sys.exit(2)
    elif how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main(sys.argv[1])
