"""Who is who in the demo's world: well-known symbols, indices and sectors. Tables only; prices are starting points."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Company:
    symbol: str
    name: str
    price: float
    sector: str | None = None  # None: no company (index, fund, currency, coin)
    industry: str | None = None
    exchange: str = "NASDAQ"


SECTORS = (
    "Technology",
    "Healthcare",
    "Financial Services",
    "Consumer Cyclical",
    "Industrials",
    "Consumer Defensive",
    "Energy",
    "Real Estate",
    "Utilities",
    "Basic Materials",
    "Communication Services",
)

COMPANIES = {
    company.symbol: company
    for company in (
        Company("AAPL", "Apple Inc.", 227.52, "Technology", "Consumer Electronics"),
        Company("MSFT", "Microsoft Corporation", 417.19, "Technology", "Software - Infrastructure"),
        Company("NVDA", "NVIDIA Corporation", 119.37, "Technology", "Semiconductors"),
        Company("GOOGL", "Alphabet Inc.", 165.80, "Communication Services", "Internet Content & Information"),
        Company("AMZN", "Amazon.com, Inc.", 178.50, "Consumer Cyclical", "Internet Retail"),
        Company("META", "Meta Platforms, Inc.", 521.31, "Communication Services", "Internet Content & Information"),
        Company("TSLA", "Tesla, Inc.", 214.11, "Consumer Cyclical", "Auto Manufacturers"),
        Company("AMD", "Advanced Micro Devices, Inc.", 148.56, "Technology", "Semiconductors"),
        Company("INTC", "Intel Corporation", 20.13, "Technology", "Semiconductors"),
        Company("NFLX", "Netflix, Inc.", 686.80, "Communication Services", "Entertainment"),
        Company("AVGO", "Broadcom Inc.", 162.00, "Technology", "Semiconductors"),
        Company("ORCL", "Oracle Corporation", 141.29, "Technology", "Software - Infrastructure", "NYSE"),
        Company("JPM", "JPMorgan Chase & Co.", 224.80, "Financial Services", "Banks - Diversified", "NYSE"),
        Company("BAC", "Bank of America Corporation", 40.75, "Financial Services", "Banks - Diversified", "NYSE"),
        Company("GS", "The Goldman Sachs Group, Inc.", 510.25, "Financial Services", "Capital Markets", "NYSE"),
        Company("V", "Visa Inc.", 276.37, "Financial Services", "Credit Services", "NYSE"),
        Company("BRK-B", "Berkshire Hathaway Inc.", 475.92, "Financial Services", "Insurance - Diversified", "NYSE"),
        Company("XOM", "Exxon Mobil Corporation", 117.94, "Energy", "Oil & Gas Integrated", "NYSE"),
        Company("CVX", "Chevron Corporation", 147.95, "Energy", "Oil & Gas Integrated", "NYSE"),
        Company("LLY", "Eli Lilly and Company", 960.02, "Healthcare", "Drug Manufacturers - General", "NYSE"),
        Company("PFE", "Pfizer Inc.", 29.01, "Healthcare", "Drug Manufacturers - General", "NYSE"),
        Company("UNH", "UnitedHealth Group Incorporated", 590.20, "Healthcare", "Healthcare Plans", "NYSE"),
        Company("WMT", "Walmart Inc.", 77.23, "Consumer Defensive", "Discount Stores", "NYSE"),
        Company("KO", "The Coca-Cola Company", 72.47, "Consumer Defensive", "Beverages - Non-Alcoholic", "NYSE"),
        Company("BA", "The Boeing Company", 173.74, "Industrials", "Aerospace & Defense", "NYSE"),
        Company("CAT", "Caterpillar Inc.", 356.10, "Industrials", "Farm & Heavy Construction Machinery", "NYSE"),
        Company("NEE", "NextEra Energy, Inc.", 80.51, "Utilities", "Utilities - Regulated Electric", "NYSE"),
        Company("PLD", "Prologis, Inc.", 127.82, "Real Estate", "REIT - Industrial", "NYSE"),
        Company("LIN", "Linde plc", 478.25, "Basic Materials", "Specialty Chemicals"),
        Company("DIS", "The Walt Disney Company", 90.38, "Communication Services", "Entertainment", "NYSE"),
        Company("SPY", "SPDR S&P 500 ETF Trust", 563.68, exchange="NYSEArca"),
        Company("QQQ", "Invesco QQQ Trust", 476.27),
        Company("^GSPC", "S&P 500", 5648.40, exchange="SNP"),
        Company("BTC-USD", "Bitcoin USD", 59112.48, exchange="CCC"),
        Company("ETH-USD", "Ethereum USD", 2513.39, exchange="CCC"),
        Company("EURUSD=X", "EUR/USD", 1.10483, exchange="CCY"),
    )
}

# Finance Query's 73, in its order; values are rough levels of late 2024.
INDICES: tuple[tuple[str, float], ...] = (
    ("S&P 500", 5648.4), ("Dow Jones Industrial Average", 41563.1), ("NASDAQ Composite", 17713.6),
    ("NYSE Composite Index", 19402.0), ("NYSE AMEX Composite Index", 4995.1), ("Russell 2000 Index", 2217.6),
    ("CBOE Volatility Index", 15.0), ("S&P/TSX Composite index", 23346.2), ("IBOVESPA", 136004.0),
    ("IPC MEXICO", 51985.9), ("S&P IPSA", 6441.5), ("MERVAL", 1718370.8), ("IVBX2 Indice Valor", 12711.4),
    ("IBX50", 22823.4), ("FTSE 100", 8376.6), ("DAX Performance Index", 18906.9), ("CAC 40", 7630.9),
    ("EURO STOXX 50", 4957.9), ("Euronext 100 Index", 1499.6), ("BEL 20", 4237.4), ("Moscow Exchange", 191.3),
    ("AEX-Index", 917.4), ("IBEX 35", 11401.9), ("FTSE MIB Index", 34372.7), ("SMI PR", 12436.6), ("PSI", 6763.9),
    ("ATX", 3738.9), ("OMX Stockholm 30 Index", 2596.5), ("OMX Copenhagen 25 Index", 1981.4), ("WIG20", 2414.4),
    ("Budapest SE", 72861.8), ("MOEX Russia Index", 2650.3), ("RTS Index", 921.2), ("HANG SENG INDEX", 17989.1),
    ("STI Index", 3442.9), ("S&P BSE SENSEX", 82365.8), ("IDX COMPOSITE", 7670.7), ("FTSE Bursa Malaysia KLCI", 1678.8),
    ("KOSPI Composite Index", 2674.3), ("TWSE Capitalization Weighted Stock Index", 22268.1), ("Nikkei 225", 38647.8),
    ("SSE Composite Index", 2842.2), ("Shenzhen Index", 8348.5), ("Thailand SET Index", 1359.1), ("NIFTY 50", 25235.9),
    ("NIFTY 200", 14128.1), ("PSEi INDEX", 6897.5), ("FTSE China A50", 11712.3), ("Dow Jones Shanghai", 422.7),
    ("INDIA VIX", 13.4), ("EGX 30 Price Return Index", 30762.9), ("FTSE JSE Top 40- USD Net TRI", 4533.2),
    ("FTSE/JSE SA Financials", 20822.3), ("All Share", 83750.1), ("Resource 20", 60011.7),
    ("South Africa Top 40", 76539.0),
    ("FTSE/JSE Industrial 25", 114530.4), ("TA-125", 2077.9), ("TA-35", 2049.2), ("Tadawul All Shares Index", 12145.2),
    ("Tamayuz", 17911.4), ("BIST 100", 9833.2), ("S&P/ASX 200", 8091.9), ("ALL ORDINARIES", 8315.5),
    ("S&P/NZX 50 Index", 12456.5), ("US Dollar Index", 101.7), ("MSCI EUROPE", 2032.8),
    ("British Pound Currency Index", 131.3),
    ("Euro Currency Index", 110.5), ("Japanese Yen Currency Index", 68.4), ("Australian Dollar Currency Index", 67.7),
    ("MSCI WORLD", 3661.2), ("Cboe UK 100", 837.9),
)  # fmt: skip

NAME_WORDS = (
    "Alder",
    "Bright",
    "Cobalt",
    "Delta",
    "Ember",
    "Falcon",
    "Granite",
    "Harbor",
    "Ivory",
    "Juniper",
    "Keystone",
)
NAME_WORDS_2 = ("Ridge", "Point", "Bio", "Street", "River", "Peak", "Field", "Data", "Gold", "Marine", "Logic", "Power")
NAME_ENDS = (
    "Inc.",
    "Corporation",
    "Holdings, Inc.",
    "Therapeutics, Inc.",
    "Group plc",
    "Limited",
    "Corp.",
    "Technologies",
)
