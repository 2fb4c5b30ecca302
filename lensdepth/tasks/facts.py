"""One-step facts: capitals, opposites, colours."""

CAPITALS = {
    "France": "Paris", "Germany": "Berlin", "Italy": "Rome", "Spain": "Madrid",
    "Japan": "Tokyo", "China": "Beijing", "Russia": "Moscow", "Egypt": "Cairo",
    "Greece": "Athens", "Norway": "Oslo", "Sweden": "Stockholm", "Poland": "Warsaw",
    "Austria": "Vienna", "Portugal": "Lisbon", "Ireland": "Dublin", "Cuba": "Havana",
    "Peru": "Lima", "Chile": "Santiago", "Canada": "Ottawa", "Turkey": "Ankara",
    "Iran": "Tehran", "Iraq": "Baghdad", "Kenya": "Nairobi", "Hungary": "Budapest",
}  # fmt: skip
CAPITAL_TEMPLATES = (
    "The capital of {country} is",
    "The people of {country} are proud of their capital,",
)
COUNTRY_TEMPLATES = ("{capital} is the capital of",)

OPPOSITES = (
    ("hot", "cold"), ("big", "small"), ("up", "down"), ("fast", "slow"), ("old", "young"),
    ("hard", "soft"), ("rich", "poor"), ("dark", "light"), ("early", "late"),
    ("open", "closed"), ("full", "empty"), ("happy", "sad"),
)  # fmt: skip
OPPOSITE_TEMPLATE = "The opposite of {word} is"

COLOURS = {
    "grass": "green", "snow": "white", "coal": "black", "blood": "red", "lemon": "yellow",
    "sky": "blue", "chocolate": "brown", "carrot": "orange", "violet": "purple", "ash": "grey",
}  # fmt: skip
COLOUR_TEMPLATE = "The colour of {thing} is"
