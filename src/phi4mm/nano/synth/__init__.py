"""The synthetic data that nano is trained on: sentences, speech, drawn images, tool calls and chat."""
