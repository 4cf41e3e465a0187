"""Pre-train multilingual masked-LM encoders whose languages share a space, and measure transfer."""

__version__ = "0.1.0"
