"""Tokens and seconds until a held-out loss: other recipes and this project's, side by side.

authors             RoBERTa as run_mlm.py trains it: logits at every position, fp32, AdamW
trainer roberta     RoBERTa under Trainer's settings, logits at masked positions only, AdamW
trainer modernbert  ModernBERT as published, with its own sparse prediction, likewise
alignmlm before     this project's loop with RoBERTa and AdamW
alignmlm            this project's defaults

On a GPU where there is one, with the trainer's models compiled and Liger's head for its RoBERTa;
else on the CPU. All see the same rows with the same masks, have layers of the same size and the
same schedule, and take turns of some steps. The trainer's sides and ours compute in bf16 where
`train.precision: auto` does. The learning rate of each is the best of one grid, after
--grid-tokens. Held-out text is scored after each turn, off the clock. A side ends at its lowest
target, or at --cap tokens. A row for each side is appended to results/.
"""

import argparse
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from machine import commit, device_name
from rows import keep_rows
from torch import Tensor, nn
from transformers import ModernBertConfig, ModernBertForMaskedLM, RobertaForMaskedLM

from alignmlm.config import load_recipe
from alignmlm.console.terminal import WholeTable, console, new_table, print_line
from alignmlm.corpus.build import build_store
from alignmlm.corpus.sources import expand_path
from alignmlm.data.batches import Batch, batch_samples, make_batch, validation_samples
from alignmlm.data.store import MANIFEST, TRAIN, VALIDATION
from alignmlm.models.masked_lm import roberta_config
from alignmlm.models.settings import SIZES, gated_width
from alignmlm.pretraining.assembly import Assembly, assemble
from alignmlm.pretraining.engine import Engine, chosen_precision, engine_settings
from alignmlm.pretraining.optimizers import learning_rate
from alignmlm.pretraining.policy import read_policy
from alignmlm.pretraining.recipe import Recipe
from alignmlm.pretraining.state import start_moments
from alignmlm.pretraining.training_run import make_module
from alignmlm.ranks.distributed import start_distributed

RESULTS = Path(__file__).parent / "results" / "speedrun.jsonl"
TARGETS_NATS = {2048: (5.0, 4.5), 16000: (6.0,)}  # by vocabulary
GRID = (5e-4, 1e-3, 2e-3, 4e-3)
MATRIX_SHARE = 2.5  # of Muon's learning rate to AdamW's, as in the defaults
UNSCORED = -100
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
SMOKE = [
    '--data.sources=[{"language": "qaa-Latn", "files": ["sample:600"]}]',
    "--languages.ids=[qaa-Latn]",
    "--data.validation=0.1",
    "--optimizer.warmup_steps=2",
    "--train.seq_len=32",
    "--train.batch_rows=8",
]
SMOKE_ASKED = {
    "vocabulary": 400, "cap": 2048, "grid_tokens": 512, "turn_steps": 2, "rows": 16,
    "targets": [5.9], "grid": [1e-3, 2e-3],
}  # fmt: skip


def full_loss(model: nn.Module, batch: Batch) -> Tensor:
    """The loss that the model computes itself, from labels at every position."""
    labels = torch.full((batch.input_ids.numel(),), UNSCORED, device=batch.labels.device)
    labels[batch.masked] = batch.labels.long()
    labels = labels.view(batch.input_ids.shape)
    loss: Tensor = model(batch.input_ids, batch.attention_mask, labels=labels).loss
    return loss


def masked_loss(model: nn.Module, batch: Batch) -> Tensor:
    """The loss of a RoBERTa whose head is given the masked positions alone."""
    states = model.roberta(batch.input_ids, batch.attention_mask).last_hidden_state
    states, labels = states.flatten(0, 1)[batch.masked], batch.labels.long()
    if DEVICE.type == "cpu":
        return nn.functional.cross_entropy(model.lm_head(states).float(), labels)
    from liger_kernel.transformers import LigerFusedLinearCrossEntropyLoss

    head = model.lm_head
    states = head.layer_norm(nn.functional.gelu(head.dense(states)))
    loss: Tensor = LigerFusedLinearCrossEntropyLoss()(
        head.decoder.weight.to(states.dtype), states, labels, head.bias.to(states.dtype)
    )
    return loss


class Plain:
    """transformers' own class under torch's AdamW with Trainer's defaults."""

    def __init__(self, model: nn.Module, loss: Callable[..., Tensor], bf16: bool = False) -> None:
        self.model, self.loss = model.to(DEVICE), loss
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=0.0, weight_decay=0.0, fused=True)
        self.arithmetic = partial(torch.autocast, DEVICE.type, torch.bfloat16, enabled=bf16)
        if DEVICE.type == "cuda" and bf16:
            model.base_model.compile(dynamic=False)

    def step(self, batch: Batch, rate: float) -> None:
        """Forward, backward, clipped gradients, AdamW."""
        self.optimizer.param_groups[0]["lr"] = rate
        with self.arithmetic():
            loss = self.loss(self.model, batch.to(DEVICE))
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()

    @torch.no_grad()
    def nats(self, batch: Batch) -> Tensor:
        """Mean loss at the masked positions."""
        with self.arithmetic():
            return self.loss(self.model, batch.to(DEVICE))


class Ours:
    """The project's engine."""

    def __init__(self, recipe: Recipe, assembly: Assembly) -> None:
        settings = engine_settings(read_policy(None), None, recipe.train, recipe.optimizer, 1)
        self.engine = Engine(make_module(recipe, assembly), settings, recipe.optimizer)
        start_moments(self.engine, 0)

    def step(self, batch: Batch, rate: float) -> None:
        """One step of the engine."""
        self.engine.step([batch], torch.tensor(float(len(batch.labels))), rate, 0)

    def nats(self, batch: Batch) -> Tensor:
        """Mean loss at the masked positions."""
        losses = self.engine.evaluate(batch)
        return losses.nats.sum() / losses.positions.sum()


def wait_for_device() -> None:
    """Wait until a GPU has done what it was asked."""
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def modernbert(recipe: Recipe, assembly: Assembly) -> nn.Module:
    """ModernBERT as published, with layers of a size of ours."""
    layers, hidden, heads, feed_forward = SIZES[recipe.model.size]
    vocabulary = assembly.store.vocabulary
    shape = ModernBertConfig(
        vocab_size=assembly.vocabulary_size, hidden_size=hidden, num_hidden_layers=layers,
        num_attention_heads=heads, intermediate_size=gated_width(feed_forward),
        max_position_embeddings=recipe.train.seq_len, sparse_prediction=True,
        pad_token_id=vocabulary.pad, bos_token_id=vocabulary.bos, eos_token_id=vocabulary.eos,
        cls_token_id=vocabulary.bos, sep_token_id=vocabulary.eos,
    )  # fmt: skip
    return ModernBertForMaskedLM(shape)


def roberta(recipe: Recipe, assembly: Assembly) -> nn.Module:
    """RoBERTa with layers of a size of ours, without dropout: in so short a run it only hurts."""
    size, seq_len = assembly.vocabulary_size, recipe.train.seq_len
    shape = roberta_config(recipe.model, assembly.store.vocabulary, size, seq_len, 1)
    return RobertaForMaskedLM(shape)


def learner_of(side: str, recipe: Recipe, assembly: Assembly) -> Plain | Ours:
    """A new model of one side, random from one seed."""
    torch.manual_seed(recipe.model.seed)
    bf16 = chosen_precision(recipe.train)[0] == "bf16"
    if side == "authors":
        return Plain(roberta(recipe, assembly), full_loss)
    if side == "trainer roberta":
        return Plain(roberta(recipe, assembly), masked_loss, bf16)
    if side == "trainer modernbert":
        return Plain(modernbert(recipe, assembly), full_loss, bf16)
    return Ours(recipe, assembly)


SIDES = {  # settings that differ from the defaults
    "authors": ["--model.architecture=roberta"],
    "trainer roberta": ["--model.architecture=roberta"],
    "trainer modernbert": [],
    "alignmlm before": ["--model.architecture=roberta", "--optimizer.name=adamw"],
    "alignmlm": [],
}


@dataclass(slots=True)
class Side:
    """One side in progress."""

    name: str
    recipe: Recipe
    assembly: Assembly
    learner: Plain | Ours
    held_out: list[Batch]
    tokens: int = 0
    seconds_s: float = 0.0
    curve: list[tuple[int, float, float]] = field(default_factory=list)  # tokens, s, nats

    @property
    def step_tokens(self) -> int:
        """Tokens of a step, padding included."""
        return self.recipe.train.batch_rows * self.recipe.train.seq_len

    @property
    def at_cap(self) -> bool:
        """Whether all steps are taken."""
        return self.tokens >= self.recipe.train.steps * self.step_tokens

    @property
    def nats(self) -> float:
        """The last held-out loss."""
        return self.curve[-1][2] if self.curve else float("inf")

    def take_turn(self, steps: int) -> None:
        """Train some steps on the clock, then score the held-out text."""
        config, loader, began = self.recipe.train, self.assembly.loader, perf_counter()
        first, rows = self.tokens // self.step_tokens, config.batch_rows
        for step in range(first, min(first + steps, config.steps)):
            batch = make_batch(loader, batch_samples(loader, step, rows, 0, 1, rows)[0], TRAIN)
            self.learner.step(batch, learning_rate(step, self.recipe.optimizer, config.steps))
            self.tokens += batch.input_ids.numel()
        wait_for_device()
        self.seconds_s += perf_counter() - began
        sums = [len(each.labels) * float(self.learner.nats(each)) for each in self.held_out]
        nats = sum(sums) / sum(len(each.labels) for each in self.held_out)
        self.curve.append((self.tokens, round(self.seconds_s, 2), round(nats, 4)))

    def reached(self, target: float) -> dict[str, float] | None:
        """Tokens and seconds at the first score that is not above a target; None: it had none."""
        found = next((point for point in self.curve if point[2] <= target), None)
        return None if found is None else {"tokens": found[0], "seconds_s": found[1]}


def side_of(name: str, rate: float, asked: argparse.Namespace, folder: Path) -> Side:
    """A side at its start."""
    base = SMOKE if asked.smoke else ["--languages.ids=[eng-Latn]"]
    places = [f"--data.store={asked.store or folder / 'store'}", "--objective.name=mlm"]
    size = [f"--data.vocabulary_size={asked.vocabulary}", f"--model.size={asked.size}"]
    rates = [
        f"--optimizer.learning_rate={rate}",
        f"--optimizer.matrix_learning_rate={MATRIX_SHARE * rate}",
    ]
    path = None if asked.smoke else Path("recipes/wikipedia-laptop.yaml")
    own = asked.settings if name == "alignmlm" else []
    recipe = load_recipe(path, [*base, *places, *size, *rates, *SIDES[name], *own])
    steps = asked.cap // (recipe.train.batch_rows * recipe.train.seq_len)
    recipe = replace(recipe, train=replace(recipe.train, steps=steps))
    if not (expand_path(recipe.data.store) / MANIFEST).is_file():
        build_store(recipe.data)
    assembly = assemble(recipe)
    samples, rows = validation_samples(assembly.loader, 0, asked.rows), recipe.train.batch_rows
    parts = [samples.part(at, at + rows) for at in range(0, samples.size, rows)]
    held_out = [make_batch(assembly.loader, part, VALIDATION) for part in parts]
    return Side(name, recipe, assembly, learner_of(name, recipe, assembly), held_out)


def best_rate(name: str, asked: argparse.Namespace, folder: Path) -> tuple[float, dict[str, float]]:
    """The learning rate of the lowest held-out loss after the grid's tokens, and all losses."""
    grid = {}
    for rate in asked.grid:
        side = side_of(name, rate, asked, folder)
        side.take_turn(max(1, asked.grid_tokens // side.step_tokens))
        grid[rate] = side.nats
    best = min(grid, key=grid.__getitem__)
    return best, {f"{rate:g}": nats for rate, nats in grid.items()}


def race(sides: Sequence[Side], targets: Sequence[float], asked: argparse.Namespace) -> None:
    """Let sides take turns until each is at its lowest target or at the cap."""
    turn = 0
    while running := [side for side in sides if side.nats > min(targets) and not side.at_cap]:
        for side in running if turn % 2 == 0 else reversed(running):
            side.take_turn(asked.turn_steps)
        turn += 1


def row_of(
    side: Side, grid: dict[str, float], targets: Sequence[float], settings: list[str]
) -> dict[str, Any]:
    """One side as it is kept."""
    precision = "fp32" if side.name == "authors" else chosen_precision(side.recipe.train)[0]
    return {
        "side": side.name, "precision": precision, "size": side.recipe.model.size,
        "vocabulary": side.assembly.vocabulary_size, "seq_len": side.recipe.train.seq_len,
        "batch_rows": side.recipe.train.batch_rows,
        "learning_rate": side.recipe.optimizer.learning_rate,
        "settings": settings if side.name == "alignmlm" else [],
        "grid_nats": grid,
        "reached": {str(target): side.reached(target) for target in targets},
        "tokens": side.curve[-1][0], "seconds_s": side.curve[-1][1], "nats": side.nats,
        "curve": side.curve, "threads": torch.get_num_threads(), "torch": torch.__version__,
        "device": device_name(), "commit": commit(),
    }  # fmt: skip


def table_of(rows: Sequence[dict[str, Any]]) -> WholeTable:
    """All sides, and when they reached the targets."""
    targets = list(rows[0]["reached"])
    table = new_table()
    for name in ("side", "rate", *(f"until {t} nats" for t in targets), "tokens/s", "at the end"):
        table.add_column(name)
    for row in rows:
        cells = [
            f"{found['tokens'] / 1e6:.2f} M tokens, {found['seconds_s']:,.1f} s"
            if (found := row["reached"][target])
            else "not reached"
            for target in targets
        ]
        speed = row["tokens"] / row["seconds_s"]
        end = f"{row['nats']:.3f} nats, {row['tokens'] / 1e6:.2f} M"
        table.add_row(row["side"], f"{row['learning_rate']:g}", *cells, f"{speed:,.0f}", end)
    return table


def arguments() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--vocabulary", type=int, default=2048)
    parser.add_argument("--targets", type=float, nargs="+", help="nats; default: by vocabulary")
    parser.add_argument("--size", default="tiny", choices=SIZES)
    parser.add_argument("--cap", type=int, default=12_000_000, help="tokens of a side")
    parser.add_argument("--grid", type=float, nargs="+", default=GRID, help="learning rates")
    parser.add_argument("--grid-tokens", type=int, default=1_000_000, help="to choose one")
    parser.add_argument("--turn-steps", type=int, default=50, help="between two scores")
    parser.add_argument("--rows", type=int, default=256, help="held-out rows that are scored")
    parser.add_argument("--sides", nargs="+", default=list(SIDES), choices=SIDES)
    parser.add_argument("--settings", nargs="+", default=[], help="key=value, for alignmlm alone")
    parser.add_argument("--store", help="folder of the corpus; built where it is missing")
    parser.add_argument("--out", type=Path, help=f"default: {RESULTS.name} in benchmarks/results")
    parser.add_argument("--smoke", action="store_true", help="sample world; kept with --out alone")
    asked = parser.parse_args()
    asked.settings = [f"--{setting}" for setting in asked.settings]
    if asked.smoke:
        vars(asked).update(SMOKE_ASKED)
    if not asked.targets and asked.vocabulary not in TARGETS_NATS:
        parser.error(f"--targets is needed but for the vocabularies {list(TARGETS_NATS)}")
    return asked


def main() -> None:
    """Choose the learning rates, let the sides run, print the table, keep the rows."""
    asked = arguments()
    targets = asked.targets or TARGETS_NATS[asked.vocabulary]
    start_distributed()
    with tempfile.TemporaryDirectory() as folder:
        grids, sides = {}, []
        for name in asked.sides:
            rate, grids[name] = best_rate(name, asked, Path(folder))
            print_line(f"{name}: learning rate {rate:g} of {grids[name]}")
            sides.append(side_of(name, rate, asked, Path(folder)))
        race(sides, targets, asked)
    rows = [row_of(side, grids[side.name], targets, asked.settings) for side in sides]
    keep_rows(rows, asked, RESULTS)
    console.print(table_of(rows))


if __name__ == "__main__":
    main()
