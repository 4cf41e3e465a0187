"""Zero-shot transfer: tasks, language changes on labelled text, fine-tuning, BS, BZ and Delta."""
