"""Training of any Phi-4-multimodal: data, collation, losses, optimizers, the loop and its state."""
