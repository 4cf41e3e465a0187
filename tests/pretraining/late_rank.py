"""What test_collective_timeout.py starts under torchrun: rank 1 stays away from a collective."""

import logging
import sys
import time

import torch

from alignmlm.ranks.distributed import start_distributed

LIMIT_S = 3.0


def main() -> None:
    """Rank 0 says how long it waited, in a group of DeepSpeed's own and in one of torch's."""
    rank, _ = start_distributed(LIMIT_S)
    import deepspeed

    groups = {"deepspeed": deepspeed.comm.new_group([0, 1]), "torch": torch.distributed.new_group()}
    torch.distributed.barrier()
    for name, group in groups.items():
        started = time.perf_counter()
        if rank == 0:
            try:
                torch.distributed.all_reduce(torch.ones(1), group=group)
            except RuntimeError as error:
                logging.getLogger(__name__).debug("%s", error)
            sys.stdout.write(f"{name} {time.perf_counter() - started:.1f}\n")
    if rank == 1:
        time.sleep(len(groups) * LIMIT_S + 4)


if __name__ == "__main__":
    main()
