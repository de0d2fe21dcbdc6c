"""Plain values of the public API and of prompts: messages, inputs, sampling, request, response. No torch."""
