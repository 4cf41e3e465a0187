"""The error for wrong shapes, types, devices and labels."""


class KernelError(ValueError):
    """Arguments that a loss cannot take; the message names the argument."""
