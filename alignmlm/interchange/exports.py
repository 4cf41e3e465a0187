"""A store as Parquet: a row for each document, a file for each shard.

document         number within the split
text             of its tokens, without </s>
ids              with the </s> that closes the document
word_starts      places in ids, from 0
sentence_starts  the same

README.md beside them is a dataset card, so that the folder can be uploaded to a hub as it is.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from alignmlm.artifacts.provenance import without_folders
from alignmlm.data.shards import Shard
from alignmlm.data.store import TOKENIZER, Store
from alignmlm.data.tokenizer import load_tokenizer
from alignmlm.errors import DataError, quoted
from alignmlm.storage.atomic import new_folder, replace_text
from alignmlm.storage.locks import locked

DECODED_AT_ONCE = 1024  # documents
CARD = """---
language: ["{code}"]
license: unknown
pretty_name: {language}, {split}
tags: [alignmlm, masked-lm]
configs:
- config_name: default
  data_files:
  - split: {split}
    path: {split}-*.parquet
---

# {language}: the {split} split of an alignmlm store

{documents:,} documents, {tokens:,} tokens (each document's `</s>` included), in the store's order.

```python
from datasets import load_dataset

dataset = load_dataset("path/to/this/folder", split="{split}")
```

| column | what it holds |
|---|---|
| document | its number within the split, from 0 |
| text | the text of its tokens |
| ids | its tokens, with the `</s>` that closes it |
| word_starts, sentence_starts | places in `ids`, from 0, at which words and sentences start |

## Where it comes from

- store: `{data_id}`, tokenizer: `{tokenizer}` (xxh3), {vocabulary:,} tokens
{provenance}
## Licence

None is stated. Whoever publishes the data chooses one that the licences of its sources allow, and
writes it at the top in the place of `unknown`.
"""


def document_texts(documents: list[np.ndarray], tokenizer: Tokenizer, eos: int) -> list[str]:
    """The text of each document, without </s>."""
    texts: list[str] = []
    for first in range(0, len(documents), DECODED_AT_ONCE):
        some = documents[first : first + DECODED_AT_ONCE]
        plain = [ids[ids != eos].tolist() for ids in some]
        texts += tokenizer.decode_batch(plain, skip_special_tokens=False)
    return texts


def shard_columns(shard: Shard, tokenizer: Tokenizer, eos: int, first: int) -> dict[str, Any]:
    """The documents of a shard, verified, as Arrow columns; `first` is the first one's number."""
    import pyarrow as pa

    text, _ = shard.sentences(0, shard.entry.tokens)
    closing = np.flatnonzero(text.ids == eos)
    ends = closing + 1 if text.ids[-1] == eos else np.append(closing + 1, len(text.ids))
    bounds = np.append(0, ends)
    ids = text.ids.astype(shard.dtype)
    columns = {
        "document": pa.array(np.arange(first, first + len(ends))),
        "text": pa.array(document_texts(np.split(ids, ends[:-1]), tokenizer, eos)),
        "ids": pa.ListArray.from_arrays(pa.array(bounds, pa.int32()), pa.array(ids)),
    }
    for name in ("word_starts", "sentence_starts"):
        places = np.flatnonzero(getattr(text, name))
        cuts = np.searchsorted(places, bounds)
        inside = places - np.repeat(bounds[:-1], np.diff(cuts))
        values = pa.array(inside.astype(np.uint32))
        columns[name] = pa.ListArray.from_arrays(pa.array(cuts, pa.int32()), values)
    return columns


def write_parquet(path: Path, shard: Shard, tokenizer: Tokenizer, eos: int, first: int) -> int:
    """Write the documents of a shard; returns their number."""
    import pyarrow as pa
    from datasets import Dataset

    table = pa.table(shard_columns(shard, tokenizer, eos, first))
    dataset = Dataset(table, fingerprint=shard.entry.digest)
    with bars_hidden():
        dataset.to_parquet(str(path))
    return len(dataset)


@contextmanager
def bars_hidden() -> Iterator[None]:
    """Hide the progress bars of `datasets`, one for each file."""
    from datasets import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    were_hidden = are_progress_bars_disabled()
    disable_progress_bars()
    try:
        yield
    finally:
        if not were_hidden:
            enable_progress_bars()


def dataset_card(store: Store, language: str, split: str) -> str:
    """README.md of an exported split: what it is, how it is loaded, where it comes from."""
    shards = store.manifest.splits[language][split]
    known = dict(store.manifest.provenance)
    if isinstance(sources := known.get("sources"), list):
        known["sources"] = [source for source in sources if source.get("language") == language]
    provenance = "".join(f"- {name}: `{without_folders(value)}`\n" for name, value in known.items())
    return CARD.format(
        code=language.partition("-")[0],
        language=language,
        split=split,
        documents=sum(shard.documents for shard in shards),
        tokens=sum(shard.tokens for shard in shards),
        data_id=store.manifest.data_id,
        tokenizer=store.manifest.tokenizer_xxh3,
        vocabulary=store.vocabulary.size,
        provenance=provenance,
    )


def check_new(output: Path) -> None:
    """Raise if the folder of an export exists.

    Raises:
        DataError: it does.
    """
    if output.exists():
        raise DataError(f"{output} exists; name another folder for the Parquet files")


def export_parquet(
    store: Path,
    output: Path,
    language: str,
    split: str,
    progress: Callable[[float], None] = lambda share: None,
) -> list[Path]:
    """Write a split as Parquet into a new folder, with a card; returns the file of each shard.

    At most one shard is in memory; every block of it is verified. The folder appears atomically;
    `datasets.load_dataset("parquet", data_files=...)` reads it.

    Raises:
        DataError: a folder in use, a language or split that the store does not have, or damage.
    """
    opened, tokenizer = Store(store), load_tokenizer(store / TOKENIZER)
    check_new(output)
    if split not in (splits := opened.manifest.splits.get(language, {split: []})):
        raise DataError(
            f"{store} has no split {quoted(split)} of {language}; it has {', '.join(splits)}"
        )
    shards = opened.split(language, split).shards
    documents, names = 0, []
    with locked(output):
        check_new(output)  # another process may have been faster
        with new_folder(output) as partial:
            for number, shard in enumerate(shards):
                names.append(f"{split}-{number:05d}-of-{len(shards):05d}.parquet")
                path, eos = partial / names[-1], opened.vocabulary.eos
                documents += write_parquet(path, shard, tokenizer, eos, documents)
                progress((number + 1) / len(shards))
            replace_text(partial / "README.md", dataset_card(opened, language, split))
    return [output / name for name in names]
