"""Which posts promote something: five rules that anybody can check by eye, each with its name as the reason.

Used by the staging of every source that brings posts; text is read here and not stored. The rules
prefer silence to a false accusation: a price in a review, a link to a bookshop, "buy now, pay
later" in an essay are not promotion. Definition: metrics.md, section 3.
"""

import polars as pl

from assets.staging import near_duplicates

RULES = ("campaign_link", "commerce_link", "sales_language", "near_duplicate", "link_only")
"""The rules, in the order in which `promotion_reason` names them."""

_KEY = ("account_id", "platform", "post")

_LINK = r"""https?://[^\s<>"'`\])}]+"""

# Parameters that an author or a marketing tool puts there. Click identifiers (fbclid, gclid) are
# stamped on by the site on which the reader clicked, and say nothing about the author.
_CAMPAIGN = (
    r"(?i)[?&#;](?:utm_(?:source|medium|campaign|term|content|id)|(?:mtm|pk|piwik)_(?:campaign|source|medium|kwd|keyword)"
    r"|hsa_cam|mc_cid|at_campaign|at_medium|wt[._]mc(?:_id)?|xtor)="
)
# Feed plug-ins put these on every link of a site, promotion or not.
_SYNDICATED = r"(?i)[?&#;]utm_(?:medium|source)=(?:rss|feed|atom)\b"

_SHOP_WORDS = "shop|store|boutique|tienda|loja|negozio|winkel|checkout|buy"
_CART_WORDS = (
    "shop|boutique|tienda|loja|negozio|winkel|checkout|cart|basket|warenkorb|kasse|panier|carrito|carrello|carrinho"
    "|winkelwagen|winkelmand|buy|buy-now|pre-?order"
)
_LOCALES = "en|fr|de|es|it|pt|nl|da|sv|no|fi|pl|cs|ja|us|uk|gb|at|ch|be|ca|au|eu|br|mx"
_COMMERCE = (
    r"(?i)^https?://(?:"
    # hosts that are shops
    rf"(?:www\.)?(?:{_SHOP_WORDS})\.[^/?#]+"
    r"|[^/?#]+\.(?:myshopify|gumroad|bigcartel|lemonsqueezy|sellfy|tictail|ecwid|spreadshop|teemill)\.(?:com|store)"
    r"|(?:www\.)?(?:gumroad\.com/l|payhip\.com/b|sellfy\.com/p|etsy\.com/(?:[a-z-]{2,5}/)?(?:listing|shop)"
    r"|ko-fi\.com/s|redbubble\.com/(?:i|shop)|ebay\.[a-z.]+/itm|amzn\.to|leanpub\.com/[^/]+/c)/[^\s]+"
    # affiliate networks
    r"|(?:[^/?#]+\.)?(?:awin1\.com|shareasale\.com|shrsl\.com|anrdoezrs\.net|dpbolvw\.net|jdoqocy\.com|tkqlhce\.com|kqzyfj\.com"
    r"|linksynergy\.com|skimresources\.com|tradedoubler\.com|hop\.clickbank\.net|digistore24\.com|rover\.ebay\.com|prf\.hn"
    r"|avantlink\.com|pntra\.com)(?:[/?#]|$)"
    # an affiliate's tag, at a shop that has them or by an unmistakable name
    r"|(?:[^/?#]+\.)?amazon\.[a-z.]{2,6}/[^\s]*[?&;](?:tag|ascsubtag)="
    r"|[^\s]*[?&;](?:aff|aff_?id|affiliate|affiliate_?id|couponcode|coupon_code|discount_code|promo_?code)="
    # the path of a shop as first segment: deeper ones are somebody's folder (a repository called "shop")
    rf"|[^/?#]+(?:/(?:{_LOCALES}|[a-z]{{2}}[-_][a-z]{{2}}))?(?:/collections/[^/?#]+)?/(?:{_CART_WORDS}|products?/[^/?#]+|collections/[^/?#]+)(?:[/?#]|$)"
    r")"
)

_PRICE = r"(?:[$£€]\s?\d[\d.,]*|\d[\d.,]*\s?(?:[$£€]|eur\b|euros?\b))"
_PRICE_END = r"(?:\s*[!.,;:)]|\s*$|\s*/|\s+(?:per|pro|par|por|al|per)\s)"
_SALES = "(?i)" + "|".join(
    (
        # a discount in figures
        r"\b\d{1,2}\s?%\s(?:off|discount)\b|\bsave (?:up to )?(?:\d{1,2}\s?%|[$£€]\s?\d+)",
        r"\b\d{1,2}\s?%\s(?:de (?:réduction|remise|rabais|descuento|desconto)|di sconto|(?:de )?dto\b|rabatt\b|reduziert\b|günstiger\b|nachlass\b|korting\b)",
        r"\b(?:sconto del|descuento del|desconto de|remise de|réduction de|rabatt von|korting van)\s\d{1,2}\s?%",
        # a price praised as low, at the end of a clause ("only $5 million" is not one)
        rf"\b(?:for only|for just|only|just|starting at|nur|schon ab|pour seulement|à partir de|por solo|por sólo|a solo|por apenas|voor slechts|slechts)\s{_PRICE}{_PRICE_END}",
        # an offer that ends
        r"\b(?:limited[- ]time (?:only|offer|deal)|special offer|flash sale|while (?:stocks?|supplies) last|(?:now )?on sale now|free shipping|early[- ]bird (?:price|pricing|ticket|tickets|discount|rate))\b",
        r"\b(?:offre (?:limitée|spéciale|exclusive)|vente flash|livraison (?:gratuite|offerte)|prix de lancement|jusqu'à épuisement des stocks)\b",
        r"\b(?:sonderangebot|nur für kurze zeit|solange der vorrat reicht|kostenloser versand|versandkostenfrei|zum sonderpreis)\b",
        r"\b(?:oferta (?:especial|limitada|exclusiva)|envío gratis|hasta agotar existencias|frete grátis|enquanto durarem os estoques|últimas unidades)\b",
        r"\b(?:offerta (?:speciale|limitata|lampo)|spedizione gratuita|fino ad esaurimento scorte)\b",
        r"\b(?:speciale aanbieding|tijdelijke aanbieding|gratis verzending|zolang de voorraad strekt|op is op)\b",
        # a code to type
        r"\b(?:promo|discount|coupon|voucher) code:? \S|\bcode promo\b|\b(?:rabattcode|gutscheincode|kortingscode)\b|\bcódigo (?:de )?(?:descuento|desconto|promocional)\b|\bcodice sconto\b",
        r"(?-i:\b[Uu]se (?:the )?code:? [\"“']?[A-Z]{2,}[0-9]+\b)",
        # a call to buy or to sign up; the words after "buy now" keep out "buy now, pay later"
        r"\bbuy (?:it |yours |one |tickets? )?now\b(?:\s*[!.:→»👉]|\s*$|\s+(?:at|on|from|for|and|https?)\b)",
        r"\b(?:order|shop|pre-?order|sign up|subscribe|register|enroll?) (?:yours |it |your copy )?(?:now|today)(?:[^-\w]|$)",
        r"\b(?:(?:get|grab|reserve|order) (?:yours|your (?:copy|ticket|tickets|spot|seat))|add to cart|link in (?:my |the )?bio)\b",
        r"\b(?:achetez|commandez|réservez|précommandez|inscrivez-vous|abonnez-vous) (?:dès maintenant|maintenant|dès aujourd'hui|vite|votre exemplaire|vos billets)\b|\blien (?:en|dans la|dans ma) bio\b",
        r"\bjetzt (?:kaufen|bestellen|vorbestellen|buchen|anmelden|zugreifen|sichern|abonnieren|shoppen)\b|\blink in (?:der|meiner) bio\b",
        r"\b(?:compra|cómpral[oa]|compre|reserva|inscríbete|suscríbete|regístrate) (?:ya|ahora)\b(?:\s*[!.:]|\s*$|\s+(?:en|por|tu|aquí)\b)|\benlace en (?:la|mi) bio\b",
        r"\b(?:acquista|compra|ordina|prenota|iscriviti|abbonati|registrati) (?:ora|subito|adesso)\b|\blink (?:in|nella mia) bio\b",
        r"\b(?:compre|encomende|garanta|inscreva-se|assine|peça) (?:já|agora)\b|\bgaranta (?:o seu|a sua|já)\b|\blink na bio\b",
        r"\b(?:koop|bestel|reserveer|boek|schrijf je) nu(?: in)?\b(?:\s*[!.:]|\s*$|\s+(?:via|je|jouw|op|voor)\b)|\blink in (?:de|mijn) bio\b",
    )
)
_MEDIA = r"(?i)<(?:img|video|audio|iframe|picture|svg|object|embed)\b|!\["


def judge(posts: pl.DataFrame | pl.LazyFrame) -> pl.DataFrame:
    """Whether each post promotes something, and by which rule.

    Args:
        posts: one row a post: account_id, platform, post, published_at (UTC), url, external_url,
            text (plain or HTML). `url` is where the post itself lives and is not judged.
            `external_url` is what a link post points to. The last three may be null.

    Returns:
        account_id, platform, post, is_promotional, promotion_reason, in the order of the input.

        - `campaign_link`: a link carries campaign parameters (utm_* and its like), other than those
          that feed plug-ins put on everything.
        - `commerce_link`: a link leads to a shop, a shopping basket, or through an affiliate's tag.
        - `sales_language`: a discount in figures, an offer that ends, a code to type, a call to buy
          or sign up; in English, French, German, Spanish, Italian, Portuguese and Dutch. A price
          alone is no promotion.
        - `near_duplicate`: at least 4 of 5 of the runs of five words are those of an own post of the
          60 days before, on the same platform. Texts with fewer than 20 distinct runs are not judged.
        - `link_only`: the text is known and is nothing but a link.

        `promotion_reason` is null where no rule holds; `is_promotional` too where neither text nor
        external address is known, because then nothing was judged.

    >>> from datetime import datetime, UTC
    >>> at = datetime(2024, 5, 1, tzinfo=UTC)
    >>> rows = [("a", "feed", "1", at, None, None, "Get 20 % off, order now!"),
    ...         ("a", "feed", "2", at, None, None, "We spent 20 % of the day reading."),
    ...         ("a", "feed", "3", at, None, None, None)]
    >>> columns = ["account_id", "platform", "post", "published_at", "url", "external_url", "text"]
    >>> judge(pl.DataFrame(rows, schema=columns, orient="row"))["promotion_reason"].to_list()
    ['sales_language', None, None]

    """
    rows = (
        posts.lazy()
        .select(
            *_KEY,
            "published_at",
            pl.col("external_url").cast(pl.String).str.replace_all("&amp;", "&", literal=True),
            pl.col("text").cast(pl.String).str.replace_all("&amp;", "&", literal=True),
        )
        .with_row_index("row")
        .with_columns(
            # Inline tags go without a trace, so that an address cut up by markup becomes whole again.
            plain=pl.col("text")
            .str.replace_all(r"(?i)<(?:/?(?:p|br|div|li|ul|ol|h[1-6]|tr|td|blockquote)\b[^>]*)>", " ")
            .str.replace_all(r"<[^>]*>", "")
            .str.replace_all("(?i)&nbsp;|&#160;", " "),
        )
        .with_columns(prose=pl.col("plain").str.replace_all(r"(?i)\b(?:https?://|www\.)\S+", " "))
        .collect()
    )
    links = _links(rows)
    known = pl.any_horizontal(pl.col("text", "external_url").is_not_null())
    holds = {
        "campaign_link": pl.col("row").is_in(links.filter(_is_campaign())["row"].implode()),
        "commerce_link": pl.col("row").is_in(links.filter(pl.col("link").str.contains(_COMMERCE))["row"].implode()),
        "sales_language": pl.col("prose").str.contains(_SALES),
        "near_duplicate": pl.col("row").is_in(near_duplicates.later_of_pairs(rows)["row"].implode()),
        "link_only": (
            ~pl.col("prose").str.contains(r"[\p{L}\p{N}]")
            & ~pl.col("text").str.contains(_MEDIA)
            & pl.col("row").is_in(links["row"].implode())
        ),
    }
    reason = pl.concat_str(
        [pl.when(holds[name].fill_null(value=False)).then(pl.lit(name)) for name in RULES],
        separator=",",
        ignore_nulls=True,
    )
    return rows.with_columns(promotion_reason=reason.replace("", None)).select(
        *_KEY,
        pl.when(known).then(pl.col("promotion_reason").is_not_null()).alias("is_promotional"),
        "promotion_reason",
    )


def _links(rows: pl.DataFrame) -> pl.DataFrame:
    """Every link of every post: row, link."""
    in_text = rows.filter(pl.col("text").str.contains("://", literal=True)).select(
        "row", link=pl.col("text").str.extract_all(_LINK)
    )
    # Markup may cut an address up; the plain text has it whole.
    in_plain = rows.filter(
        pl.col("text").str.contains("<", literal=True) & pl.col("plain").str.contains("://", literal=True)
    ).select("row", link=pl.col("plain").str.extract_all(_LINK))
    outside = rows.filter(pl.col("external_url").is_not_null()).select("row", link="external_url")
    exploded = pl.concat([in_text, in_plain]).explode("link", empty_as_null=False, keep_nulls=False)
    return pl.concat([exploded, outside])


def _is_campaign() -> pl.Expr:
    return pl.col("link").str.contains(_CAMPAIGN) & ~pl.col("link").str.contains(_SYNDICATED)
