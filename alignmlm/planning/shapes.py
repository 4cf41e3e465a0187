"""Sizes of encoders: parameters, and floating-point operations of a token."""

from dataclasses import dataclass

from alignmlm.model_settings import SIZES


@dataclass(frozen=True, kw_only=True, slots=True)
class EncoderShape:
    """A RoBERTa encoder whose output matrix is its input embedding. Sizes are counts."""

    layers: int
    hidden: int
    heads: int
    feed_forward: int
    vocabulary: int
    positions: int = 514  # two of them are padding, as in every RoBERTa
    token_types: int = 1

    @property
    def embedding_parameters(self) -> int:
        """Numbers in the tied matrix of words, the largest single tensor."""
        return self.vocabulary * self.hidden

    @property
    def layer_parameters(self) -> int:
        """Numbers in one layer: attention, feed-forward, two norms."""
        attention = 4 * self.hidden * (self.hidden + 1)
        feed_forward = 2 * self.hidden * self.feed_forward + self.hidden + self.feed_forward
        return attention + feed_forward + 4 * self.hidden

    @property
    def head_parameters(self) -> int:
        """Numbers of the head apart from the tied matrix: dense, norm, one bias a word."""
        return self.hidden * (self.hidden + 1) + 2 * self.hidden + self.vocabulary

    @property
    def parameters(self) -> int:
        """All numbers that are trained, the tied matrix once."""
        other = (self.positions + self.token_types + 2) * self.hidden
        layers = self.layers * self.layer_parameters
        return self.embedding_parameters + other + layers + self.head_parameters

    def whole_parameters(self, threshold: int) -> int:
        """Numbers in tensors of at most `threshold`, which ZeRO-3 keeps whole on each rank."""
        hidden, feed = self.hidden, self.feed_forward
        layer = [hidden * hidden] * 4 + [hidden] * 9 + [feed] + [hidden * feed] * 2
        head = [hidden * hidden, hidden, hidden, hidden, self.vocabulary]
        outside = [self.positions * hidden, self.token_types * hidden, hidden, hidden]
        tensors = layer * self.layers + head + outside + [self.embedding_parameters]
        return sum(size for size in tensors if size <= threshold)

    def training_flops(self, seq_len: int, masked_share: float) -> float:
        """Floating-point operations of one token, forward and backward, the head where masked.

        Source: Kaplan et al., 2020 (arXiv:2001.08361), section 2.1: two a number and token forward,
        twice that backward; attention over the whole row adds 12 x layers x hidden x seq_len.
        """
        layer = 4 * self.hidden**2 + 2 * self.hidden * self.feed_forward
        attention = 12 * self.layers * self.hidden * seq_len
        head = self.hidden**2 + self.embedding_parameters
        return 6 * self.layers * layer + attention + 6 * head * masked_share


def sized(name: str, vocabulary: int, seq_len: int) -> EncoderShape:
    """A size of this project's recipes with a vocabulary of all scripts together."""
    layers, hidden, heads, feed_forward = SIZES[name]
    return EncoderShape(
        layers=layers,
        hidden=hidden,
        heads=heads,
        feed_forward=feed_forward,
        vocabulary=vocabulary,
        positions=seq_len + 2,
    )


SHAPES = {
    "tiny": sized("tiny", 40_000, 512),
    "small": sized("small", 40_000, 512),
    "paper": sized("paper", 80_000, 512),  # Tang et al., 2022: 40,000 words in two scripts
    # Conneau et al., 2020 (arXiv:1911.02116), section 4 and its table of architectures
    "xlm-r-base": EncoderShape(
        layers=12, hidden=768, heads=12, feed_forward=3072, vocabulary=250_002
    ),
    "xlm-r-large": EncoderShape(
        layers=24, hidden=1024, heads=16, feed_forward=4096, vocabulary=250_002
    ),
}
