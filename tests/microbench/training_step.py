"""A whole training step of the masked-LM head and encoder, with our losses and with plain torch.

Ours: masked_softmax_loss and alignment_loss. Plain: a linear layer, cross entropy, cosines. Same
weights, same batch; the share of the two losses is what the encoder alone does not need.
"""

import argparse
import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import environment  # noqa: F401 - before torch and the kernels
import torch
from alignmlm_kernels import alignment_loss, masked_softmax_loss
from commands import add_arguments, clock_of, device_of
from compare import MODES
from dictionaries import AlignmentCase, Size, make_dictionary, summed_distance
from records import RESULTS, BenchRow, Place, keep, place_of
from rich.console import Console
from tables import WIDTH, table_of
from timing import PEAK_COUNTED_BY, alternating_ms, free_cached, peak_bytes, quantiles
from torch import Tensor, nn

from alignmlm.data.batches import Batch
from alignmlm.data.tokenizer import Vocabulary
from alignmlm.models.masked_lm import MaskedLanguageModel, MaskedOutput, ModelConfig, new_model

RESULTS_FILE = RESULTS / "training_step.jsonl"
MASK, MASKED_SHARE = 4, 0.15


@dataclass(frozen=True, kw_only=True, slots=True)
class Scale:
    """How large a step is."""

    size: Literal["tiny", "small", "paper"]  # of the model
    vocab: int
    rows: int
    seq: int
    pairs: int


SCALES = {
    "cuda": Scale(size="paper", vocab=80_000, rows=128, seq=512, pairs=40_000),
    "cpu": Scale(size="paper", vocab=80_000, rows=8, seq=512, pairs=40_000),
    "small": Scale(size="tiny", vocab=2_000, rows=2, seq=32, pairs=100),
}
ROUNDS = {"cuda": 20, "cpu": 3, "small": 2}
LossOf = Callable[[MaskedOutput, Tensor, AlignmentCase], Tensor]


def make_batch(scale: Scale, device: torch.device) -> Batch:
    """Random tokens, of which the usual share is to be predicted."""
    draw = torch.Generator().manual_seed(1)
    tokens = scale.rows * scale.seq
    ids = torch.randint(8, scale.vocab, (scale.rows, scale.seq), generator=draw)
    masked = torch.randperm(tokens, generator=draw)[: int(MASKED_SHARE * tokens)].sort().values
    labels = ids.flatten()[masked]
    ids.view(-1)[masked] = MASK
    positions = torch.arange(scale.seq).expand(scale.rows, -1)
    none = torch.zeros_like(masked)
    return Batch(ids, positions, torch.zeros_like(ids), None, masked, labels, none, none).to(device)


def our_losses(output: MaskedOutput, labels: Tensor, dictionary: AlignmentCase) -> Tensor:
    """The mean nats and the alignment term, by this project's functions."""
    nats = masked_softmax_loss(output.hidden, output.weight, labels, output.bias).nats
    return nats.mean() + alignment_loss(output.weight, dictionary.pairs)


def plain_losses(output: MaskedOutput, labels: Tensor, dictionary: AlignmentCase) -> Tensor:
    """The same by plain torch."""
    logits = nn.functional.linear(output.hidden, output.weight, output.bias).float()
    distance = summed_distance(output.weight.float(), dictionary.source, dictionary.target)
    return nn.functional.cross_entropy(logits, labels) + distance / len(dictionary.pairs)


def no_losses(output: MaskedOutput, labels: Tensor, dictionary: AlignmentCase) -> Tensor:
    """Next to nothing, so that what is left is the encoder, its gradients and the optimizer."""
    return output.hidden.float().sum() + 0 * output.weight[0, 0]


LOSSES: dict[str, LossOf] = {
    "alignmlm: auto": our_losses,
    "torch: plain": plain_losses,
    "floor: no losses": no_losses,
}


def training_steps(
    scale: Scale, device: torch.device
) -> dict[str, dict[str, Callable[[int], object]]]:
    """For each choice of losses: its forward pass, and its whole step with the optimizer's."""
    vocabulary = Vocabulary(scale.vocab, 0, 1, 2, 3, MASK, (5,), (0, 1, 2, 3, MASK))
    config = ModelConfig(size=scale.size)
    model = new_model(config, vocabulary, scale.vocab, scale.seq, 1).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)
    batch = make_batch(scale, device)
    size = Size(pairs=scale.pairs, vocab=scale.vocab, hidden=model.embedding.shape[1])
    dictionary = make_dictionary(size, torch.float32, device, "tokens", 0)

    def steps(loss_of: LossOf) -> dict[str, Callable[[int], object]]:
        def forward(_: int) -> Tensor:
            return loss_in_bfloat16(model, batch, dictionary, loss_of)

        def both(turn: int) -> None:
            optimizer.zero_grad(set_to_none=True)
            forward(turn).backward()
            optimizer.step()

        return {"forward": forward, "both": both}

    return {name: steps(loss_of) for name, loss_of in LOSSES.items()}


def loss_in_bfloat16(
    model: MaskedLanguageModel, batch: Batch, dictionary: AlignmentCase, loss_of: LossOf
) -> Tensor:
    """The loss of a batch with the matrix products in bfloat16."""
    with torch.autocast(batch.labels.device.type, torch.bfloat16):
        return loss_of(model(batch), batch.labels, dictionary)


def measured(scale: Scale, device: torch.device, rounds: int) -> list[BenchRow]:
    """A row for each choice of losses and mode."""
    steps, rows = training_steps(scale, device), []
    for mode in MODES:
        works = {name: modes[mode] for name, modes in steps.items()}
        alternating_ms(works, 2, device)
        peaks = {name: peak_bytes(work, device) for name, work in works.items()}
        for name, spent in alternating_ms(works, rounds, device).items():
            times = quantiles(spent)
            row = BenchRow(
                op="training_step",
                impl=name,
                mode=mode,
                shape={"rows": scale.rows, "seq": scale.seq, "vocab": scale.vocab},
                dtype="bfloat16",
                inputs=scale.size,
                rounds=rounds,
                p20_ms=times.p20_ms,
                p50_ms=times.p50_ms,
                p80_ms=times.p80_ms,
                peak_bytes=peaks[name],
                peak_counted_by=PEAK_COUNTED_BY[device.type],
            )
            rows.append(row)
        free_cached(device)
    return rows


def main(arguments: list[str]) -> None:
    """Time the steps, print the table, keep the rows."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add_arguments(parser, RESULTS_FILE)
    asked, console = parser.parse_args(arguments), Console(width=WIDTH)
    device, clock = device_of(asked), clock_of(asked)
    name = "small" if asked.smoke or asked.interpreter else device.type
    place: Place = place_of(device, asked.commit, clock)
    scale = SCALES[name]
    rows = measured(scale, device, asked.rounds or ROUNDS[name])
    title = f"{scale.rows} rows of {scale.seq}, {scale.size}, vocabulary {scale.vocab:,}"
    console.print(table_of(title, rows))
    if asked.keep:
        keep(place, rows, asked.keep)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    main(sys.argv[1:])
