"""The tools of nano's synthetic data: names, parameters, values, and texts of requests."""

from __future__ import annotations

from dataclasses import dataclass

from phi4mm.nano.synth.sentences import FOODS, PLACES

CITIES = (
    "Paris", "London", "Rome", "Berlin", "Madrid", "Boston", "Cairo", "Tokyo", "Lisbon", "Vienna", "Prague", "Oslo",
    "Dublin", "Athens", "Warsaw", "Sydney", "Toronto", "Chicago", "Seattle", "Mumbai", "Delhi", "Seoul", "Lima",
    "Havana", "Nairobi", "Moscow", "Geneva", "Milan", "Munich", "New York", "San Francisco", "Hong Kong", "Los Angeles",
)  # fmt: skip
NAMES = (
    "Anna",
    "Peter",
    "Maria",
    "Tom",
    "Lucy",
    "David",
    "Sarah",
    "Omar",
    "Nina",
    "Jack",
    "Emma",
    "Paul",
    "Alice",
    "Ben",
)
MUSIC = ("jazz", "rock", "pop", "blues", "opera", "folk", "disco", "soul", "techno", "classical music")
TOPICS = ("football", "science", "business", "art", "space", "health", "politics", "cinema", "tennis", "robots")
LANGUAGES = ("French", "German", "Spanish", "Italian", "Greek", "Polish", "Dutch")
SAYINGS = ("I am late", "dinner is ready", "the train is here", "happy birthday", "see you tomorrow", "thank you")
ITEMS = (*FOODS, "ticket", "bicycle", "phone", "lamp", "chair", "umbrella", "camera", "guitar")
ROOMS = ("kitchen", "bedroom", "bathroom", "garage", "hall", "office", "garden", "living room")


@dataclass(frozen=True)
class Skill:
    """Something a tool can do.

    descriptions  alternatives, of which one is declared
    values        the possible values of each parameter; numbers become JSON numbers
    requests      templates of requests, with one {} per parameter, in the order of `parameters`
    """

    name: str
    descriptions: tuple[str, ...]
    parameters: tuple[str, ...]
    values: tuple[tuple[str | int, ...], ...]
    requests: tuple[str, ...]


SKILLS = (
    Skill(
        "get_weather",
        ("Get the weather in a city.", "Current weather of a place."),
        ("city",),
        (CITIES,),
        (
            "What is the weather in {}?",
            "How is the weather in {}?",
            "Weather in {}?",
            "Is it raining in {}?",
            "Tell me the weather in {}.",
            "Will it be sunny in {}?",
        ),
    ),
    Skill(
        "get_time",
        ("Get the time in a city.", "Local time of a place."),
        ("city",),
        (CITIES,),
        ("What time is it in {}?", "Tell me the time in {}.", "What is the time in {}?"),
    ),
    Skill(
        "find_hotel",
        ("Find a hotel in a city.", "Search for hotels."),
        ("city",),
        (CITIES,),
        ("Find a hotel in {}.", "I need a hotel in {}.", "Where can I sleep in {}?"),
    ),
    Skill(
        "book_train",
        ("Book a train between two cities.", "Buy a train ticket."),
        ("origin", "destination"),
        (CITIES, CITIES),
        ("Book a train from {} to {}.", "I want to go from {} to {} by train.", "Buy a train ticket from {} to {}."),
    ),
    Skill(
        "play_music",
        ("Play music.", "Play a kind of music."),
        ("genre",),
        (MUSIC,),
        ("Play some {}.", "I want to hear {}.", "Put on some {}.", "Play {}."),
    ),
    Skill(
        "set_timer",
        ("Start a timer.", "Set a timer for some minutes."),
        ("minutes",),
        (tuple(range(1, 100)),),
        ("Set a timer for {} minutes.", "Start a timer of {} minutes.", "Timer for {} minutes."),
    ),
    Skill(
        "set_temperature",
        ("Set the temperature of the room.", "Set the heating."),
        ("degrees",),
        (tuple(range(10, 35)),),
        ("Set the temperature to {} degrees.", "Make it {} degrees.", "Heat the room to {} degrees."),
    ),
    Skill(
        "send_message",
        ("Send a message to somebody.", "Write to a friend."),
        ("name", "text"),
        (NAMES, SAYINGS),
        ("Tell {} that {}.", "Send {} a message: {}.", "Write to {}: {}."),
    ),
    Skill(
        "turn_on_light",
        ("Turn on the light in a room.", "Switch a lamp on."),
        ("room",),
        (ROOMS,),
        ("Turn on the light in the {}.", "Switch on the {} light.", "I need light in the {}."),
    ),
    Skill(
        "get_price",
        ("Get the price of a product.", "Look up what something costs."),
        ("item",),
        (ITEMS,),
        ("How much is the {}?", "What does a {} cost?", "Tell me the price of the {}."),
    ),
    Skill(
        "get_news",
        ("Get the news about a topic.", "Read the latest news."),
        ("topic",),
        (TOPICS,),
        ("Show me news about {}.", "What is new in {}?", "Any news about {}?"),
    ),
    Skill(
        "translate",
        ("Translate a word.", "Translate into another language."),
        ("word", "language"),
        (ITEMS, LANGUAGES),
        ("Translate {} to {}.", "How do you say {} in {}?", "What is {} in {}?"),
    ),
    Skill(
        "find_place",
        ("Find the way to a place.", "Show the route."),
        ("place",),
        (PLACES,),
        ("How do I get to the {}?", "Show me the way to the {}.", "Take me to the {}."),
    ),
)
