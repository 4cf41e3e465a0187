"""Training steps with both losses under each ZeRO stage; writes the weights for the test."""

import os
import sys
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812
from alignmlm_kernels import WordPairs, alignment_loss, masked_softmax_loss
from torch import Tensor, nn

MASKED, VOCAB, HIDDEN, STEPS = 24, 211, 16, 5
PAIRS = [torch.tensor(part) for part in ([3, 4, 5, 9], [0, 1, 3, 4], [7, 8, 7, 3], [0, 1, 2, 4])]


class Tied(nn.Module):
    """The smallest masked LM: a tied matrix, one layer between its two uses, both losses."""

    def __init__(self) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(3)
        self.weight = nn.Parameter(torch.randn(VOCAB, HIDDEN, generator=draw) / 4)
        self.between = nn.Parameter(torch.randn(HIDDEN, HIDDEN, generator=draw) / 4)
        self.bias = nn.Parameter(torch.zeros(VOCAB))

    def forward(self, tokens: Tensor, labels: Tensor) -> Tensor:
        """Mean cross entropy plus the alignment of the pairs."""
        hidden = torch.tanh(F.embedding(tokens, self.weight) @ self.between)
        prediction = masked_softmax_loss(hidden, self.weight, labels, self.bias, reduction="mean")
        return prediction.nats + alignment_loss(self.weight, WordPairs(*PAIRS))


def batch(step: int) -> tuple[Tensor, Tensor]:
    """Tokens and labels of a step, of all ranks."""
    draw = torch.Generator().manual_seed(step)
    found = torch.randint(0, VOCAB, (2, MASKED), generator=draw)
    return found[0], found[1]


def plain_steps() -> dict[str, Tensor]:
    """The weights after some steps of PyTorch alone, with the whole batch at once."""
    model = Tied()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for step in range(STEPS):
        optimizer.zero_grad()
        model(*batch(step)).backward()
        optimizer.step()
    return {name: value.detach() for name, value in model.named_parameters()}


def settings(stage: int) -> dict[str, object]:
    """What DeepSpeed is told."""
    policy = {"stage": stage, "stage3_param_persistence_threshold": 0}
    return {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_clipping": 0.0,  # as PyTorch alone
        "zero_optimization": policy,
        "zero_allow_untested_optimizer": True,
    }


def main(folder: Path) -> None:
    """Train under every stage, one after another."""
    import deepspeed
    from deepspeed.ops.op_builder import all_ops  # noqa: F401 - fills __compatible_ops__

    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    deepspeed.init_distributed("gloo")
    rank, ranks = torch.distributed.get_rank(), torch.distributed.get_world_size()
    for stage in (1, 2, 3):
        model = Tied()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
        engine, *_ = deepspeed.initialize(model=model, optimizer=optimizer, config=settings(stage))
        for step in range(STEPS):
            tokens, labels = (part.chunk(ranks)[rank] for part in batch(step))
            engine.backward(engine(tokens, labels))
            engine.step()
        with deepspeed.zero.GatheredParameters(list(model.parameters()), enabled=stage == 3):
            found = {name: value.detach().clone() for name, value in model.named_parameters()}
        if rank == 0:
            torch.save(found, folder / f"zero{stage}.pt")
    torch.distributed.barrier()
    sys.stdout.flush()
    os._exit(0)  # ZeRO 3 aborts now and then when the process ends by itself


if __name__ == "__main__":
    main(Path(sys.argv[1]))
