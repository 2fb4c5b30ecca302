"""Words of the few-shot tasks: our own lists, of words that most tokenizers hold whole."""

from lensdepth.tasks import facts

CAPITALS = {
    **facts.CAPITALS,
    "England": "London", "Thailand": "Bangkok", "Finland": "Helsinki", "Denmark": "Copenhagen",
    "Belgium": "Brussels", "Scotland": "Edinburgh", "Syria": "Damascus", "Lebanon": "Beirut",
    "Indonesia": "Jakarta", "Vietnam": "Hanoi", "Afghanistan": "Kabul", "Ukraine": "Kiev",
    "Bulgaria": "Sofia", "Switzerland": "Bern", "Wales": "Cardiff",
}  # fmt: skip

LANGUAGES = {
    "France": "French", "Germany": "German", "Austria": "German", "Italy": "Italian",
    "Spain": "Spanish", "Mexico": "Spanish", "Argentina": "Spanish", "Chile": "Spanish",
    "Peru": "Spanish", "Japan": "Japanese", "China": "Chinese", "Russia": "Russian",
    "Egypt": "Arabic", "Iraq": "Arabic", "Syria": "Arabic", "Greece": "Greek",
    "Norway": "Norwegian", "Sweden": "Swedish", "Poland": "Polish", "Portugal": "Portuguese",
    "Brazil": "Portuguese", "England": "English", "Australia": "English", "Turkey": "Turkish",
    "Iran": "Persian", "Hungary": "Hungarian", "Finland": "Finnish", "Denmark": "Danish",
    "Thailand": "Thai", "Korea": "Korean", "Vietnam": "Vietnamese",
    "Israel": "Hebrew", "Romania": "Romanian", "Ukraine": "Ukrainian",
}  # fmt: skip

OPPOSITES = (
    ("hot", "cold"), ("big", "small"), ("up", "down"), ("fast", "slow"), ("old", "new"),
    ("hard", "soft"), ("rich", "poor"), ("dark", "light"), ("early", "late"), ("open", "closed"),
    ("full", "empty"), ("happy", "sad"), ("good", "bad"), ("high", "low"), ("long", "short"),
    ("thick", "thin"), ("strong", "weak"), ("wet", "dry"), ("clean", "dirty"), ("true", "false"),
    ("left", "right"), ("day", "night"), ("love", "hate"), ("win", "lose"), ("buy", "sell"),
    ("wide", "narrow"), ("deep", "shallow"), ("loud", "quiet"), ("north", "south"),
    ("east", "west"), ("inside", "outside"), ("first", "last"), ("black", "white"),
    ("male", "female"), ("near", "far"), ("above", "below"), ("before", "after"),
    ("begin", "end"), ("push", "pull"), ("summer", "winter"),
)  # fmt: skip

COLOURS = {
    "grass": "green", "leaves": "green", "lettuce": "green", "spinach": "green",
    "snow": "white", "milk": "white", "salt": "white", "chalk": "white",
    "coal": "black", "tar": "black", "soot": "black", "ink": "black",
    "blood": "red", "tomatoes": "red", "strawberries": "red", "cherries": "red", "rubies": "red",
    "lemons": "yellow", "bananas": "yellow", "butter": "yellow", "the sun": "yellow",
    "the sky": "blue", "the ocean": "blue", "sapphires": "blue", "blueberries": "blue",
    "chocolate": "brown", "coffee": "brown", "mud": "brown", "bark": "brown",
    "carrots": "orange", "pumpkins": "orange", "violets": "purple", "plums": "purple",
}  # fmt: skip

NOUNS = {
    "dog": "dogs", "cat": "cats", "book": "books", "key": "keys", "tree": "trees",
    "house": "houses", "car": "cars", "boy": "boys", "girl": "girls", "bird": "birds",
    "friend": "friends", "teacher": "teachers", "student": "students", "doctor": "doctors",
    "letter": "letters", "river": "rivers", "garden": "gardens", "table": "tables",
    "chair": "chairs", "window": "windows", "picture": "pictures", "flower": "flowers",
    "horse": "horses", "apple": "apples", "child": "children", "man": "men", "woman": "women",
    "bottle": "bottles", "lamp": "lamps", "song": "songs", "soldier": "soldiers",
    "farmer": "farmers",
}  # fmt: skip
NEARBY = {
    "cabinet": "cabinets", "wall": "walls", "door": "doors", "bridge": "bridges",
    "tower": "towers", "road": "roads", "hotel": "hotels", "church": "churches",
    "fence": "fences", "statue": "statues", "shop": "shops", "hill": "hills",
}  # fmt: skip
"""Nouns that stand between a subject and its verb."""
TAILS = ("here", "old", "new", "good", "small", "large", "beautiful", "gone", "strange", "famous")

PAST = {
    "go": "went", "eat": "ate", "see": "saw", "take": "took", "give": "gave", "run": "ran",
    "write": "wrote", "sing": "sang", "drink": "drank", "swim": "swam", "fly": "flew",
    "know": "knew", "grow": "grew", "speak": "spoke", "break": "broke", "drive": "drove",
    "think": "thought", "buy": "bought", "bring": "brought", "teach": "taught", "catch": "caught",
    "find": "found", "sleep": "slept", "keep": "kept", "leave": "left", "feel": "felt",
    "meet": "met", "tell": "told", "sell": "sold", "win": "won", "lose": "lost", "make": "made",
    "walk": "walked", "play": "played", "work": "worked", "jump": "jumped", "talk": "talked",
    "help": "helped", "call": "called", "dance": "danced", "paint": "painted", "smile": "smiled",
}  # fmt: skip

WOMEN = (
    "Mary", "Anna", "Lucy", "Sarah", "Emma", "Kate", "Alice", "Laura", "Julia", "Helen", "Susan",
    "Emily", "Jane", "Elizabeth", "Margaret", "Linda", "Karen", "Lisa", "Nancy", "Amy",
)  # fmt: skip
MEN = (
    "John", "Peter", "Tom", "James", "David", "Paul", "Mark", "Robert", "Simon", "Daniel",
    "George", "Adam", "Henry", "William", "Michael", "Richard", "Thomas", "Charles", "Frank",
    "Jack",
)  # fmt: skip

GOOD = (
    "wonderful", "great", "excellent", "amazing", "brilliant", "beautiful", "fantastic",
    "delightful", "charming", "superb", "perfect", "lovely", "outstanding", "enjoyable",
    "impressive", "funny", "touching", "clever", "fresh", "magnificent",
)  # fmt: skip
BAD = (
    "terrible", "awful", "horrible", "boring", "dull", "disappointing", "bad", "weak", "poor",
    "stupid", "annoying", "ridiculous", "slow", "painful", "tedious", "ugly", "confusing", "lame",
    "worthless", "dreadful",
)  # fmt: skip

THINGS = (
    "apple", "river", "stone", "cloud", "table", "horse", "paper", "music", "garden", "winter",
    "bridge", "silver", "doctor", "window", "flower", "island", "letter", "mother", "orange",
    "pencil", "rabbit", "school", "summer", "ticket", "village", "wagon", "yellow", "forest",
    "butter", "castle",
)  # fmt: skip
"""Words for copying, that suggest nothing of each other."""

ARGUMENTS = (
    "name", "size", "file", "data", "path", "key", "value", "index", "user", "text", "code",
    "date", "time", "list", "model", "state", "color", "width", "height", "count", "label",
    "token", "image", "level", "source", "result", "message", "order", "group", "parent",
)  # fmt: skip
FUNCTIONS = ("load", "save", "check", "update", "create", "process", "build", "send", "find", "run")

COUNTED = (
    "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
    "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
    "twenty",
)  # fmt: skip

EVERYDAY = (
    "because", "mother", "government", "history", "water", "around", "something", "children",
    "country", "important", "together", "morning",
)  # fmt: skip
"""Words that every tokenizer of everyday text holds whole, and that of no bundled model knows."""
