"""Training of Phi-4-multimodal models: data, collation, losses, optimizers, the training loop and its saved state."""
