"""Invented words for the simulated community: texts of posts, and handles of people who do not exist."""

import numpy as np

OFFERS = (
    "Now {percent}% off until Sunday, use code THANKS at checkout.",
    "Buy now for only ${price}.99 while stocks last!",
    "Get {percent}% discount today, order now.",
    "Limited offer: {percent}% discount for followers, shop now.",
)
GIVEN, FAMILY, SERVERS, WORDS = (
    text.split()
    for text in (
        """
        ada amir anouk arlo bela bruno carla cem dalia dario elif emil esra fabio farah greta hugo ines ivo
        jana jonas kaja kofi lena leon lucia malik marta mira nils noor olga omar petra rosa samir tilda uma
        yara zeno
        """,
        """
        abbot adler aydin barro becker bright castel costa dahl demir eklund ferro field gallo haas holm ivers
        jansen kaya keller lindt lopez marsh meyer novak okafor olsen pardo quist reed rossi santos sand tamm
        ueda vidal weiss wolff young zeman
        """,
        """
        kiln.example orchard.example harbor.example meadow.example loom.example lantern.example tundra.example
        quay.example
        """,
        """
        above after against almost always among ancient apple around ashes autumn barley beacon become before
        begin believe below beside between birch bitter boat border both bread brick bright brook brought
        brush bundle cabin called canvas carried cedar chair chapter cherry clay climb cloud cobalt colour
        compass corner could country cousin creek curious dark dawn delta different door drawing drift dust
        earth echo eight empty enough every fabric falcon farther feather fern fifty finch fire flax floor
        flower forest forgot fourth frost gather ginger glass grain grass great ground half hand harvest heard
        heavy held hollow horizon house idea inside island jacket journey keeper kitchen knot ladder lamp
        large laughter leaf leather left letter lichen linen little lower march market meadow melody might
        mill mirror moment morning mother music nearly never north number ocean old onion orange other outside
        owl paper pebble people perhaps picture plain plate pocket pond porch quarry question quilt raven
        remember ribbon river robin root rough saddle salt season seed seven shallow shelter short silent
        simple sketch sleep small snow soil south spoon square stone story straw street studio swallow tale
        thread through tide today tomorrow tower travel tuesday twelve twilight upstairs velvet violet wagon
        warm wave weave whale wheel white willow window wonder wool workshop yesterday
        """,
    )
)


def text_of_post(rng: np.random.Generator, account: str, *, is_promotional: bool) -> str:
    """A few sentences of 40 to 60 words; a promotional one ends with a campaign link, an offer, or both."""
    words = [WORDS[i] for i in rng.integers(0, len(WORDS), rng.integers(40, 61))]
    breaks = np.sort(rng.choice(np.arange(4, len(words) - 4), size=3, replace=False))
    sentences = [" ".join(part).capitalize() + "." for part in np.split(np.array(words), breaks)]
    if is_promotional:
        link = f"https://shop.{account.replace('_', '-')}.example/kit?utm_source=social&utm_campaign={words[0]}"
        offer = OFFERS[rng.integers(len(OFFERS))].format(percent=rng.integers(2, 9) * 5, price=rng.integers(9, 60))
        sentences.append((link, offer, f"{offer} {link}")[rng.integers(3)])
    return " ".join(sentences)


def handle(code: int) -> str:
    """The handle with that number; different numbers, different handles.

    >>> handle(0), handle(12_801)
    ('ada.abbot@kiln.example', 'amir.abbot1@kiln.example')
    """
    rest, given = divmod(code, len(GIVEN))
    rest, family = divmod(rest, len(FAMILY))
    more, server = divmod(rest, len(SERVERS))
    return f"{GIVEN[given]}.{FAMILY[family]}{more or ''}@{SERVERS[server]}"
