"""A transformers encoder whose head runs on masked positions only."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForMaskedLM,
    ModernBertConfig,
    PretrainedConfig,
    PreTrainedModel,
    RobertaConfig,
)
from transformers.utils.hub import cached_file

from alignmlm.artifacts.model_files import CONFIG, model_files
from alignmlm.data.batches import Batch
from alignmlm.data.tokenizer import Vocabulary
from alignmlm.errors import CheckpointError, ConfigError
from alignmlm.models.language_embeddings import (
    COUNT,
    add_language_embeddings,
    restore_language_embeddings,
)
from alignmlm.models.loading import LOADING_ERRORS, encoder_weights, shown
from alignmlm.models.settings import ARCHITECTURES, SIZES, ModelConfig, gated_width
from alignmlm.ranks.stragglers import phase


class Matrix(NamedTuple):
    """A matrix of an encoder's layer."""

    weight: Tensor
    blocks: int = 1  # matrices stacked along its rows


@dataclass(frozen=True, kw_only=True, slots=True)
class Architecture:
    """A masked-LM architecture of transformers, whose name is its model_type there."""

    encoder: Callable[[Any], nn.Module]  # of the model with its head
    transform: Callable[[Any, Tensor], Tensor]  # between the encoder and the vocabulary
    decoder: Callable[[Any], nn.Linear]  # its weight is tied to the input embedding
    matrices: Callable[[Any], list[Matrix]]  # of the encoder's layers: no embedding, no head
    first_position: Callable[[PretrainedConfig], int] = lambda shape: 0  # of a row's first token
    token_types: bool = False  # whether they serve as language embeddings; if not, those are added
    # of the encoder: its last layer, and a forward of it at some positions only, which takes the
    # layer, the positions and the layer's own arguments; None: the layer runs at all positions
    last_layer: Callable[[Any], tuple[nn.Module, Callable[..., Tensor]]] | None = None
    # (settings, vocabulary, tokens of all scripts, seq_len, languages): the configuration of a new
    # model; None: no new models, only those that start from a checkpoint
    shape: Callable[[ModelConfig, Vocabulary, int, int, int], PretrainedConfig] | None = None


def roberta_transform(model: Any, hidden: Tensor) -> Tensor:
    """Dense, GELU, norm of RoBERTa's head."""
    head = model.lm_head
    return head.layer_norm(nn.functional.gelu(head.dense(hidden)))


def bert_matrices(encoder: Any) -> list[Matrix]:
    """Each layer's query, key, value, output, and two of the feed-forward part."""
    modules = (module for layer in encoder.encoder.layer for module in layer.modules())
    return [Matrix(module.weight) for module in modules if isinstance(module, nn.Linear)]


def modernbert_matrices(encoder: Any) -> list[Matrix]:
    """Each layer's fused QKV, attention output, fused gate and input, and feed-forward output."""
    return [
        Matrix(module.weight, blocks)
        for layer in encoder.layers
        for module, blocks in (
            (layer.attn.Wqkv, 3),
            (layer.attn.Wo, 1),
            (layer.mlp.Wi, 2),
            (layer.mlp.Wo, 1),
        )
    ]


def bert_layer_at(
    layer: Any, positions: Tensor, states: Tensor, mask: Tensor | None, *_: Any, **others: Any
) -> Tensor:
    """The output of one of BERT's layers at some positions: after attention, each is by itself."""
    attended, _attention = layer.attention(states, mask, **others)
    output: Tensor = layer.feed_forward_chunk(attended.flatten(0, 1)[positions])
    return output


def modernbert_layer_at(layer: Any, positions: Tensor, states: Tensor, **others: Any) -> Tensor:
    """The output of one of ModernBERT's layers at some positions."""
    attended, _attention = layer.attn(layer.attn_norm(states), **others)
    kept: Tensor = (states + attended).flatten(0, 1)[positions]
    return kept + layer.mlp(layer.mlp_norm(kept))


@contextmanager
def ending_at(
    positions: Tensor, layer: nn.Module, forward: Callable[..., Tensor]
) -> Iterator[None]:
    """A context in which a layer runs at some positions only, by a forward of its own.

    transformers' encoders call their layers themselves and have no other place for it. Outside the
    context the model is transformers' own, for exports and whoever else uses it.
    """
    layer.forward = partial(forward, layer, positions)
    try:
        yield
    finally:
        del layer.forward


DROPOUTS = (
    "hidden_dropout_prob", "attention_probs_dropout_prob",
    "attention_dropout", "embedding_dropout", "mlp_dropout",
)  # fmt: skip
ROTARY_BASE = 10_000.0  # Su et al., 2021 (RoFormer), section 3.4.2


class MaskedOutput(NamedTuple):
    """The outputs that the losses need; ZeRO-3 finds the tied matrix in them and keeps it whole."""

    hidden: Float[Tensor, "masked hidden"]  # after the head's transform
    weight: Float[Tensor, "vocab hidden"]  # output and input embedding, tied
    bias: Float[Tensor, " vocab"] | None


class MaskedLanguageModel(nn.Module):
    """Any known encoder, with its masked-LM head applied to the masked positions only."""

    def __init__(self, model: PreTrainedModel, language_embeddings: bool = False) -> None:
        super().__init__()
        self.model, self.language_embeddings = model, language_embeddings
        self.parts: Architecture = ARCHITECTURES[model.config.model_type]

    def forward(self, batch: Batch) -> MaskedOutput:
        """Hidden states at the masked positions, and the tied matrix."""
        inputs: dict[str, Tensor | None] = {
            "input_ids": batch.input_ids,
            "attention_mask": batch.attention_mask,
            "position_ids": batch.position_ids + self.parts.first_position(self.model.config),
        }
        if self.language_embeddings:
            inputs["token_type_ids"] = batch.language_ids
        states = self.states(inputs, batch.masked)
        with phase("head and loss"):
            hidden = self.parts.transform(self.model, states)
        decoder = self.parts.decoder(self.model)
        return MaskedOutput(hidden, decoder.weight, decoder.bias)

    def states(
        self, inputs: dict[str, Tensor | None], masked: Tensor
    ) -> Float[Tensor, "masked hidden"]:
        """The encoder's output at the masked positions; its last layer computes no other."""
        encoder = self.parts.encoder(self.model)
        if self.parts.last_layer is None:
            states: Tensor = encoder(**inputs).last_hidden_state
            return states.flatten(0, 1)[masked]
        with ending_at(masked, *self.parts.last_layer(encoder)):
            return encoder(**inputs).last_hidden_state

    @property
    def matrices(self) -> list[Matrix]:
        """The matrices of the encoder's layers."""
        return self.parts.matrices(self.parts.encoder(self.model))

    @property
    def embedding(self) -> nn.Parameter:
        """The word embeddings, one row per token of the model's vocabulary."""
        return self.model.get_input_embeddings().weight  # type: ignore[return-value]


def roberta_config(
    config: ModelConfig, vocabulary: Vocabulary, size: int, seq_len: int, languages: int
) -> RobertaConfig:
    """RoBERTa of a named size; token types serve as language embeddings."""
    layers, hidden, heads, feed_forward = SIZES[config.size]
    return RobertaConfig(
        vocab_size=size,
        num_hidden_layers=layers,
        hidden_size=hidden,
        num_attention_heads=heads,
        intermediate_size=feed_forward,
        max_position_embeddings=vocabulary.pad + 1 + seq_len,
        type_vocab_size=languages,
        hidden_dropout_prob=config.dropout,
        attention_probs_dropout_prob=config.dropout,
        layer_norm_eps=1e-5,
        bos_token_id=vocabulary.bos,
        pad_token_id=vocabulary.pad,
        eos_token_id=vocabulary.eos,
    )


def layer_kinds(layers: int, local_attention: int) -> list[Any]:
    """The attention of each layer: the last one and every third before it are global.

    Source: Warner et al., 2024 (ModernBERT), section 2.1.2, which counts from the first layer; with
    as few layers as here, a global one needs a local one below it.
    """
    return [
        "sliding_attention" if local_attention and (layers - 1 - layer) % 3 else "full_attention"
        for layer in range(layers)
    ]


def modernbert_config(
    config: ModelConfig, vocabulary: Vocabulary, size: int, seq_len: int, languages: int
) -> ModernBertConfig:
    """ModernBERT of a named size, for rows of at most a few hundred tokens.

    Differs from the published models where those are made for rows of 8,192 tokens: the rotary base
    is RoFormer's, and local layers attend to far fewer tokens than 128 (docs/training.md has what
    this does to the loss). Biases are RoBERTa's; the published models have none.
    """
    layers, hidden, heads, feed_forward = SIZES[config.size]
    kinds = layer_kinds(layers, config.local_attention)
    rotary = {"rope_type": "default", "rope_theta": ROTARY_BASE}
    return ModernBertConfig(
        vocab_size=size,
        num_hidden_layers=layers,
        hidden_size=hidden,
        num_attention_heads=heads,
        intermediate_size=gated_width(feed_forward),
        max_position_embeddings=seq_len,
        layer_types=kinds,
        local_attention=config.local_attention,
        rope_parameters={kind: dict(rotary) for kind in sorted(set(kinds))},
        bos_token_id=vocabulary.bos,
        pad_token_id=vocabulary.pad,
        eos_token_id=vocabulary.eos,
        cls_token_id=vocabulary.bos,
        sep_token_id=vocabulary.eos,
        attention_bias=True,
        mlp_bias=True,
        norm_bias=True,
        classifier_bias=True,
        attention_dropout=config.dropout,
        embedding_dropout=config.dropout,
        mlp_dropout=config.dropout,
    )


ROBERTA = Architecture(
    encoder=lambda model: model.roberta,
    transform=roberta_transform,
    decoder=lambda model: model.lm_head.decoder,
    matrices=bert_matrices,
    first_position=lambda shape: shape.pad_token_id + 1,
    token_types=True,
    last_layer=lambda encoder: (encoder.encoder.layer[-1], bert_layer_at),
    shape=roberta_config,
)
XLM_ROBERTA = replace(ROBERTA, shape=None)
BERT = Architecture(
    encoder=lambda model: model.bert,
    transform=lambda model, hidden: model.cls.predictions.transform(hidden),
    decoder=lambda model: model.cls.predictions.decoder,
    matrices=bert_matrices,
    token_types=True,
    last_layer=lambda encoder: (encoder.encoder.layer[-1], bert_layer_at),
)
MODERNBERT = Architecture(
    encoder=lambda model: model.model,
    transform=lambda model, hidden: model.head(hidden),
    decoder=lambda model: model.decoder,
    matrices=modernbert_matrices,
    last_layer=lambda encoder: (encoder.layers[-1], modernbert_layer_at),
    shape=modernbert_config,
)


def new_model(
    config: ModelConfig, vocabulary: Vocabulary, size: int, seq_len: int, languages: int
) -> MaskedLanguageModel:
    """A model with `size` tokens, initialised at random from model.seed, or from model.start.

    `languages` is the number of language embeddings that the objective needs; 1 means none.

    Raises:
        ConfigError: model.start is not a known masked LM, or does not fit the recipe; or the
            architecture is not one for new models.
    """
    torch.manual_seed(config.seed)
    if config.start is not None:
        model = started_model(config.start, config.dropout, size, seq_len, languages)
    else:
        architecture = ARCHITECTURES[config.architecture]
        if architecture.shape is None:
            requirement = "be one that new models can have, or go on from model.start"
            raise ConfigError("model.architecture", config.architecture, requirement)
        shape = architecture.shape(config, vocabulary, size, seq_len, languages)
        model = AutoModelForMaskedLM.from_config(shape)
        if languages > 1 and not architecture.token_types:
            add_language_embeddings(model, languages)
    return MaskedLanguageModel(model, languages > 1)


def started_weights(start: str, shape: PretrainedConfig) -> PreTrainedModel:
    """A checkpoint's model, from safetensors only: loading it must not run code.

    Raises:
        ConfigError: it has no safetensors weights, or lacks some of the encoder's, or is a folder
            with a file that leads out of it.
    """
    if Path(start).is_dir():
        try:
            model_files(Path(start))
        except CheckpointError as error:
            requirement = f"have safetensors weights that lie in it ({error})"
            raise ConfigError("model.start", start, requirement) from error
    options: dict[str, Any] = {"use_safetensors": True, "trust_remote_code": False}
    try:
        model, report = AutoModelForMaskedLM.from_pretrained(
            start, config=shape, dtype=torch.float32, output_loading_info=True, **options
        )
    except LOADING_ERRORS as error:
        raise ConfigError("model.start", start, f"have safetensors weights ({error})") from error
    if missing := sorted(encoder_weights(model, report["missing_keys"])):
        requirement = f"have all weights of its encoder; it lacks {shown(missing)}"
        raise ConfigError("model.start", start, requirement)
    return model


def started_model(
    start: str, dropout: float, size: int, seq_len: int, languages: int
) -> PreTrainedModel:
    """A checkpoint's model, its vocabulary and language embeddings extended to fit the recipe.

    Raises:
        ConfigError: it is no known masked LM with tied embeddings, or does not fit the recipe.
    """
    try:
        shape = AutoConfig.from_pretrained(start, trust_remote_code=False)
    except LOADING_ERRORS as error:
        raise ConfigError(
            "model.start", start, f"be a Hugging Face checkpoint ({error})"
        ) from error
    if shape.model_type not in ARCHITECTURES:
        described = f"{start} of type {shape.model_type}"
        raise ConfigError("model.start", described, f"be one of {sorted(ARCHITECTURES)}")
    parts = ARCHITECTURES[shape.model_type]
    if shape.pad_token_id is None:
        described = f"{start} with pad_token_id = null"
        raise ConfigError("model.start", described, "have the id of its padding token")
    room = shape.max_position_embeddings - parts.first_position(shape)
    if room < seq_len:
        raise ConfigError("train.seq_len", seq_len, f"be at most {room} with model.start = {start}")
    for name in DROPOUTS:
        if hasattr(shape, name):
            setattr(shape, name, dropout)
    model = started_weights(start, shape)
    if size < shape.vocab_size:
        raise ConfigError("data.vocabulary_size", size, f"be at least {shape.vocab_size}")
    model.resize_token_embeddings(size, mean_resizing=False)
    if parts.decoder(model).weight is not model.get_input_embeddings().weight:
        requirement = "have one matrix for input and output (tie_word_embeddings: true)"
        raise ConfigError("model.start", start, requirement)
    if not parts.token_types:
        continue_language_embeddings(model, start, languages)
    elif languages > shape.type_vocab_size:
        grow_language_embeddings(model, parts.encoder(model).embeddings, languages)
    return model


def continue_language_embeddings(model: PreTrainedModel, start: str, languages: int) -> None:
    """Give a model without token types the language embeddings of its checkpoint, or new ones.

    Raises:
        ConfigError: the checkpoint has some, for fewer languages.
    """
    known = getattr(model.config, COUNT, 0)
    if languages == 1:
        setattr(model.config, COUNT, 0)
    elif not known:
        add_language_embeddings(model, languages)
    elif known < languages:
        described = f"{start} with embeddings of {known} languages"
        raise ConfigError("model.start", described, f"have those of the recipe's {languages}")
    else:
        # for a name on the hub, the folder is the one that transformers has downloaded it to
        restore_language_embeddings(model, Path(str(cached_file(start, CONFIG))).parent)


def grow_language_embeddings(model: PreTrainedModel, embeddings: Any, languages: int) -> None:
    """Give each language the embedding that the checkpoint had for its first token type."""
    old = embeddings.token_type_embeddings.weight.data
    new = nn.Embedding(languages, old.shape[1])
    new.weight.data.copy_(old[:1].expand(languages, -1))
    embeddings.token_type_embeddings = new
    model.config.type_vocab_size = languages
