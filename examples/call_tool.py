"""Let the model call a Python function, run it, and send the result back.

    python examples/call_tool.py

prints

    the model asks for get_weather(city='Paris')
    the function returns sunny
    the model answers ...

nano was trained to make calls but never saw a result, so its last answer says nothing; the published model uses it.
"""

from __future__ import annotations

import phi4mm
from phi4mm import Message, SamplingParams


def get_weather(city: str) -> str:
    """Get the weather in a city."""
    return "sunny" if city == "Paris" else "rainy"


def main() -> None:
    model = phi4mm.load("nano")
    messages = [Message.user("What is the weather in Paris?")]
    reply = model.chat(messages, tools=[get_weather])
    (call,) = reply.tool_calls
    print(f"the model asks for {call.name}({', '.join(f'{k}={v!r}' for k, v in call.arguments.items())})")
    result = get_weather(**call.arguments)
    print(f"the function returns {result}")
    messages += [Message.assistant(reply.text), Message.tool(result)]
    print(f"the model answers {model.chat(messages, params=SamplingParams(max_tokens=30)).text}")


if __name__ == "__main__":
    main()
