"""What the model is trained to do: pure functions of (batch, model outputs)."""
