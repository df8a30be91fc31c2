"""What Finlight's frames become. Pure.

Field names and types: Finlight's PROTOCOL, section 3. Only `link`, `source`, `title`, `publishDate` and `language` are
always there; `confidence` comes as a number or as text; everything but the link may be null. What was fetched over REST
to fill a gap is the article alone, without an envelope: it never was a frame.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from recorder.partitions.schema import MOMENT, ORIGIN, READERS, Column, Row, Table, an_object, list_of, struct_of

FINLIGHT = ("finlight", "finlight.raw")

_TEXT = pa.string()
_texts = list_of(READERS[_TEXT])

_LISTING, _read_listing = struct_of(
    (
        Column("ticker", _TEXT, "", "ticker"),
        Column("exchange_code", _TEXT, "", "exchangeCode"),
        Column("exchange_country", _TEXT, "", "exchangeCountry"),
    )
)
_COMPANY, _read_company = struct_of(
    (
        Column("company_id", pa.int64(), "", "companyId"),
        Column("name", _TEXT, "", "name"),
        Column("ticker", _TEXT, "", "ticker"),
        Column("confidence", pa.float64(), "", "confidence"),
        Column("country", _TEXT, "", "country"),
        Column("exchange", _TEXT, "", "exchange"),
        Column("industry", _TEXT, "", "industry"),
        Column("sector", _TEXT, "", "sector"),
        Column("isin", _TEXT, "", "isin"),
        Column("openfigi", _TEXT, "", "openfigi"),
        Column("primary_listing", _LISTING, "", "primaryListing", _read_listing),
        Column("isins", pa.list_(_TEXT), "", "isins", _texts),
        Column("other_listings", pa.list_(_LISTING), "", "otherListings", list_of(_read_listing)),
    )
)


def _tickers(companies: Any) -> list[str] | None:
    """The tickers of the companies, each once, in their order."""
    if type(companies) is not list:
        return None
    found = [company.get("ticker") for company in companies if type(company) is dict]
    return list(dict.fromkeys(ticker for ticker in found if type(ticker) is str))


def _article(frame: Any, _channel: str) -> Iterable[Row]:
    if "action" not in frame:  # a frame like this is marked odd, and not parsed: this one is no frame
        article = an_object(frame)
    elif frame["action"] == "sendArticle":
        article = an_object(frame["data"])
    else:
        return ()
    if type(article.get("link")) is not str:
        raise TypeError("an article is known by its link")
    return (article,)


ARTICLES = Table(
    "articles",
    "News from Finlight, one row a delivery or a recovery; a revised article is delivered again with is_update",
    FINLIGHT,
    (
        Column("link", _TEXT, "URL, the article's only identity", "link", encoding="plain"),
        Column("source", _TEXT, "domain of the publisher", "source"),
        Column("title", _TEXT, "headline", "title", encoding="plain"),
        Column("summary", _TEXT, "summary", "summary", encoding="plain"),
        Column("publish_date", MOMENT, "when it was published, UTC, as the publisher says", "publishDate"),
        Column("created_at", MOMENT, "when Finlight indexed it, UTC", "createdAt"),
        Column("revised_date", MOMENT, "when it was revised, UTC", "revisedDate"),
        Column("is_update", pa.bool_(), "delivered because of a revision", "isUpdate"),
        Column("language", _TEXT, "ISO 639-1", "language"),
        Column("sentiment", _TEXT, "positive, neutral or negative", "sentiment"),
        Column("confidence", pa.float64(), "of the sentiment, 0 to 1", "confidence"),
        Column("tickers", pa.list_(_TEXT), "tickers of the companies, each once", "companies", _tickers),
        Column("companies", pa.list_(_COMPANY), "companies it is about", "companies", list_of(_read_company)),
        Column("categories", pa.list_(_TEXT), "markets, economy, technology, …", "categories", _texts),
        Column("countries", pa.list_(_TEXT), "ISO 3166-1 alpha-2", "countries", _texts),
        Column("images", pa.list_(_TEXT), "URLs", "images", _texts),
        Column("content", _TEXT, "full text, where subscribed and in the plan", "content", encoding="plain"),
    ),
    _article,
    carried=(ORIGIN,),
)
