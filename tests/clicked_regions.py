"""Regions of the made-up example `01_two_discs` as programs ask for them: words, and a
click on each disc."""

# on the discs of the made-up example
LEFT = {"x": 70, "y": 120}
RIGHT = {"x": 180, "y": 150}
WORDS = [
    {"source": "a cat", "prompt": "a fox"},
    {"source": "a dog", "prompt": "a panda"},
]
CLICKED = [
    {**words, "clicks": [click]}
    for words, click in zip(WORDS, (LEFT, RIGHT), strict=True)
]
