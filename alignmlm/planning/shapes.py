"""Sizes of encoders: parameters, and floating-point operations per token."""

from dataclasses import dataclass

from alignmlm.models.settings import SIZES, gated_width


@dataclass(frozen=True, kw_only=True, slots=True)
class EncoderShape:
    """The shape of an encoder with tied input and output embeddings. Sizes are counts."""

    layers: int
    hidden: int
    heads: int
    feed_forward: int
    vocabulary: int
    positions: int = 514  # two of them are padding, as in every RoBERTa
    token_types: int = 1
    gated: bool = False  # a ModernBERT: gated feed-forward layers, no positions, no types

    @property
    def embedding_parameters(self) -> int:
        """Elements of the tied word-embedding matrix, the largest single tensor."""
        return self.vocabulary * self.hidden

    @property
    def matrices(self) -> list[int]:
        """Sizes of the matrices of one layer: attention, feed-forward."""
        hidden, feed = self.hidden, self.feed_forward
        if self.gated:
            return [3 * hidden * hidden, hidden * hidden, 2 * hidden * feed, hidden * feed]
        return [hidden * hidden] * 4 + [hidden * feed] * 2

    @property
    def tensors(self) -> list[int]:
        """Sizes of all trained tensors, counting the tied matrix once."""
        hidden = self.hidden
        if self.gated:
            biases = [3 * hidden, hidden, 2 * self.feed_forward, hidden] * self.layers
            norms = [hidden] * 2 * (2 * self.layers - 1)  # the first layer has one
            vectors = biases + norms
            outside = [hidden] * 7 + [hidden * hidden, self.vocabulary]
        else:
            vectors = ([hidden] * 9 + [self.feed_forward]) * self.layers  # biases, two norms
            tables = [self.positions * hidden, self.token_types * hidden, hidden, hidden]
            outside = [*tables, hidden * hidden, hidden, hidden, hidden, self.vocabulary]
        return [*self.matrices * self.layers, *vectors, *outside, self.embedding_parameters]

    @property
    def parameters(self) -> int:
        """Number of trained parameters, counting the tied matrix once."""
        return sum(self.tensors)

    def whole_parameters(self, threshold: int) -> int:
        """Elements of all tensors of at most `threshold`, which ZeRO-3 keeps whole on each rank."""
        return sum(size for size in self.tensors if size <= threshold)

    def training_flops(self, seq_len: int, masked_share: float) -> float:
        """Floating-point operations per token, forward and backward; the head only where masked.

        Source: Kaplan et al., 2020 (arXiv:2001.08361), section 2.1: two per parameter and token
        forward, twice that backward; attention over the whole row adds
        12 x layers x hidden x seq_len.
        """
        attention = 12 * self.layers * self.hidden * seq_len
        head = self.hidden**2 + self.embedding_parameters
        return 6 * self.layers * sum(self.matrices) + attention + 6 * head * masked_share


def sized(name: str, vocabulary: int, seq_len: int, architecture: str = "roberta") -> EncoderShape:
    """The encoder of a named size; `vocabulary` counts the words of all scripts together."""
    layers, hidden, heads, feed_forward = SIZES[name]
    gated = architecture == "modernbert"
    return EncoderShape(
        layers=layers,
        hidden=hidden,
        heads=heads,
        feed_forward=gated_width(feed_forward) if gated else feed_forward,
        vocabulary=vocabulary,
        positions=seq_len + 2,
        gated=gated,
    )


SHAPES = {
    "tiny": sized("tiny", 40_000, 512),
    "small": sized("small", 40_000, 512),
    "paper": sized("paper", 80_000, 512),  # Tang et al., 2022: 40,000 words in two scripts
    "base": sized("base", 40_000, 512),
    # Conneau et al., 2020 (arXiv:1911.02116), section 4 and its table of architectures
    "xlm-r-base": EncoderShape(
        layers=12, hidden=768, heads=12, feed_forward=3072, vocabulary=250_002
    ),
    "xlm-r-large": EncoderShape(
        layers=24, hidden=1024, heads=16, feed_forward=4096, vocabulary=250_002
    ),
}
