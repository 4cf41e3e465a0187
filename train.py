"""Pre-train a recipe; what deepspeed, torchrun and srun start. `python train.py --help`."""

from alignmlm.cli import train

if __name__ == "__main__":
    train()
