"""The model card of an export (README.md): the model, its results, and how to load it."""

import json

from alignmlm.artifacts.provenance import without_folders
from alignmlm.objectives.objective import AddedLoss
from alignmlm.objectives.registry import OBJECTIVES
from alignmlm.pretraining.checkpoints import Progress
from alignmlm.pretraining.metrics import Metrics
from alignmlm.pretraining.recipe import Recipe

HEAD = """---
language: {languages}
library_name: transformers
pipeline_tag: fill-mask
license: unknown
tags: [alignmlm, masked-lm]
---
"""
USE = """
## Use

```python
import torch
from transformers import AutoModelForMaskedLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("path/to/this/folder")
model = AutoModelForMaskedLM.from_pretrained("path/to/this/folder").eval()
row = tokenizer(f"a text with one {tokenizer.mask_token}", return_tensors="pt")
place = (row.input_ids == tokenizer.mask_token_id).nonzero()[0, 1]
with torch.no_grad():
    logits = model(**row).logits[0, place, : len(tokenizer)]  # no ids of derived languages
print([tokenizer.decode([token]) for token in logits.topk(5).indices])
```

The tokenizer writes the base languages, whose ids are the first ones of the vocabulary. A derived
language uses the same tokenizer: reorder the words, then map the ids (`alignmlm.json` says how the
languages lie in the vocabulary). Ids from `len(tokenizer)` on belong to derived languages and have
no text, so a `fill-mask` pipeline, which proposes any id, shows some of them as nothing: cut the
scores as above.

## Licence

None is stated. Whoever publishes the model chooses one that the licences of its corpora allow, and
writes it at the top in the place of `unknown`.
"""


def named_once(metrics: Metrics) -> Metrics:
    """The metrics, without those that repeat a metric with a shorter name.

    alignment/<words>_percent is the paper's name for alignment/<words>/forward/cosine_p1_percent.
    """
    return {
        name: value
        for name, value in metrics.items()
        if name.replace("/forward/cosine_p1_percent", "_percent") not in metrics.keys() - {name}
    }


def model_card(recipe: Recipe, progress: Progress, metrics: Metrics) -> str:
    """The text of an export's model card."""
    objective = recipe.objective
    adds = isinstance(OBJECTIVES[objective.name], AddedLoss)
    chosen = objective.name + (f" on {objective.base}" if adds else "")
    results = "".join(f"| {name} | {value:.4g} |\n" for name, value in named_once(metrics).items())
    numbers = "".join(
        f"- `{name}`: {without_folders(value)}\n" for name, value in progress.numbers.items()
    )
    languages = ", ".join(f"`{name}`" for name in recipe.languages.ids)
    codes = sorted({name.partition("-")[0] for name in recipe.languages.ids})  # ISO 639-3
    return (
        f"{HEAD.format(languages=json.dumps(codes))}\n# {recipe.run.name}: {chosen}\n\n"
        f"A masked language model of {languages}, pre-trained with alignmlm for "
        f"{progress.step:,} steps ({progress.tokens:,} tokens).\n{USE}\n"
        f"## Last validation\n\n| measure | value |\n|---|---|\n{results}\n"
        f"## Recipe\n\n{numbers}"
    )
