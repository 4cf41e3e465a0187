"""All-reduce speed over all nodes; the doctor starts this on each node by ssh."""

import json
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from statistics import median
from time import perf_counter

MIB = 16  # of the tensor: a bucket of gradients
ROUNDS = 5
LIMIT_S = 60


@dataclass(frozen=True, slots=True)
class RankPlace:
    """One rank of the measurement."""

    rank: int
    world_size: int
    address: str  # of rank 0
    port: int

    def arguments(self) -> list[str]:
        """The command-line arguments for this place."""
        return [str(self.rank), str(self.world_size), self.address, str(self.port)]


def all_reduce_mb_per_s(place: RankPlace) -> float:
    """Megabytes per second: the size of a tensor over the time of its all-reduce."""
    import torch

    from alignmlm.ranks.distributed import choose_interface

    choose_interface(place.address)
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo",
        init_method=f"tcp://{place.address}:{place.port}",
        rank=place.rank,
        world_size=place.world_size,
        timeout=timedelta(seconds=LIMIT_S),
    )
    tensor, times = torch.ones(MIB * 2**20 // 4), []
    for _ in range(ROUNDS + 1):
        torch.distributed.barrier()
        started = perf_counter()
        torch.distributed.all_reduce(tensor)
        times.append(perf_counter() - started)
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
    return tensor.nbytes / median(times[1:]) / 1e6


def main(arguments: Sequence[str]) -> None:
    """Measure, and print the result as JSON."""
    parser = ArgumentParser(prog="python -m alignmlm.doctor.bandwidth", description=__doc__)
    for name, kind in (("rank", int), ("world_size", int), ("address", str), ("port", int)):
        parser.add_argument(name, type=kind)
    place = RankPlace(**vars(parser.parse_args(arguments)))
    sys.stdout.write(json.dumps({"mb_per_s": all_reduce_mb_per_s(place)}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
