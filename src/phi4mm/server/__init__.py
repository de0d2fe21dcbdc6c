"""The HTTP server: OpenAI's routes over a loaded model. The web framework is imported here alone."""
