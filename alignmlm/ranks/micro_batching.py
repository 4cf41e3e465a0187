"""How the rows of a step are divided over the ranks."""

from alignmlm.errors import ConfigError


def micro_batches(batch_rows: int, micro_rows: int | None, world_size: int) -> tuple[int, int]:
    """Rows of a micro-batch, and micro-batches per step, on each rank.

    Without `micro_rows` each rank has one micro-batch of all its rows.

    Raises:
        ConfigError: the sizes do not divide each other.
    """
    if batch_rows % world_size:
        requirement = f"be a multiple of the world size, {world_size}"
        raise ConfigError("train.batch_rows", batch_rows, requirement)
    share = batch_rows // world_size
    micro = micro_rows or share
    if share % micro:
        requirement = f"divide train.batch_rows / world size = {share}"
        raise ConfigError("train.micro_rows", micro, requirement)
    return micro, share // micro
