"""What this server does with each field of a request: one table, from which docs/serving.md is checked.

A field of a request's Struct that is not in ACCEPTED is implemented.
"""

from __future__ import annotations

# Struct of a request -> field -> why it has no effect. The values are checked and then dropped.
ACCEPTED: dict[str, dict[str, str]] = {
    "ChatBody": {
        "metadata": "nothing is stored",
        "prompt_cache_key": "prefixes are found by their tokens",
        "prompt_cache_options": "prefixes are found by their tokens",
        "prompt_cache_retention": "prefixes stay as long as there is memory",
        "reasoning_effort": "the model does not reason apart from its answer",
        "safety_identifier": "nothing is stored",
        "service_tier": "there is one tier",
        "user": "nothing is stored",
        "verbosity": "ask for it in the prompt",
    },
    "CompletionBody": {"user": "nothing is stored"},
    "ResponseBody": {
        "metadata": "it comes back in the answer; nothing is stored",
        "prompt_cache_key": "prefixes are found by their tokens",
        "prompt_cache_options": "prefixes are found by their tokens",
        "prompt_cache_retention": "prefixes stay as long as there is memory",
        "reasoning": "the model does not reason apart from its answer",
        "safety_identifier": "nothing is stored",
        "service_tier": "there is one tier",
        "user": "nothing is stored",
    },
}
# Struct of a request -> field -> why it is refused, and what to do.
REFUSED: dict[str, dict[str, str]] = {
    "ChatBody": {
        "audio": "the model answers in text",
        "function_call": "use tool_choice",
        "functions": "use tools",
        "moderation": "this server has no moderation model",
        "prediction": "repeated text is predicted by itself",
        "web_search_options": "this server does not search",
    },
    "ResponseBody": {
        "access_programs": "there are none here",
        "background_options": "an answer ends with its connection",
        "context_management": "send the context that is to be read",
        "conversation": "nothing is stored; send the conversation as input",
        "image": "images are read as they are",
        "max_tool_calls": "the server calls no tools itself",
        "moderation": "this server has no moderation model",
        "previous_response_id": "nothing is stored; send the conversation as input",
        "prompt": "prompts are not stored here; send instructions and input",
    },
    "CompletionBody": {"suffix": "the model was not trained to fill in"},
}


def refused(kind: type) -> dict[str, str]:
    """The refused fields of a Struct, those of its bases among them."""
    return {name: why for base in kind.__mro__ for name, why in REFUSED.get(base.__name__, {}).items()}
