"""How Finance Query's channels are named, and how to get one that nobody else is on.

In: the symbols and a number. Out: another spelling of the same symbols. Pure; nothing to lose.

The server names a quotes channel by the client's whole text, verbatim, and a profile channel by the path, letter case
kept; what it fetches is upper-cased and made a set. So another spelling is another channel with a fetch task of its
own and the same content: the way round a dead channel, and out of reach of whoever else uses the usual spelling.
Market and hours have one channel each; there is no way round those.
"""

from __future__ import annotations

from collections.abc import Sequence

SPACE_MIN = 1024  # spellings a quotes feed should have to draw from, so that two clients hardly ever meet
EXTRA_MAX = 63  # symbols repeated at most: 64 spellings even for a lone symbol without letters, such as 0700


def variant(symbols: Sequence[str], turn: int, salt: int) -> str:
    """The `turn`-th text for /quotes: the same symbol set, spelled like in no other of `variants(symbols)` turns.

    Spellings differ in letter case; where the letters do not suffice, the first symbols are said again. The first
    letter stays upper case, so that no symbol can ever spell `hours`, `market` or `profile:…`, which are channels too.
    """
    rooms = _rooms(symbols)
    number = (salt + turn) % sum(rooms)
    extra = 0
    while number >= rooms[extra]:
        number -= rooms[extra]
        extra += 1
    return _recased(",".join(_repeated(symbols, extra)), number << 1)


def variants(symbols: Sequence[str]) -> int:
    """How many turns of `variant` are pairwise different; at least 64."""
    return sum(_rooms(symbols))


def path_variant(symbol: str, turn: int, salt: int) -> str:
    """The `turn`-th spelling of a symbol for /profile: letter case only, since a path holds one symbol."""
    return _recased(symbol, (salt + turn) % path_variants(symbol))


def path_variants(symbol: str) -> int:
    """How many turns of `path_variant` are pairwise different: 2 for each letter, 1 where there is none."""
    return 1 << _letters(symbol)


def _rooms(symbols: Sequence[str]) -> list[int]:
    """How many spellings there are with no symbol repeated, with one, with two, … until there are enough."""
    rooms: list[int] = []
    while sum(rooms) < SPACE_MIN and len(rooms) <= EXTRA_MAX:
        free = _letters("".join(_repeated(symbols, len(rooms)))) - 1
        rooms.append(1 << max(free, 0))
    return rooms


def _repeated(symbols: Sequence[str], extra: int) -> list[str]:
    return [*symbols, *(symbols[index % len(symbols)] for index in range(extra))]


def _letters(text: str) -> int:
    return sum(_has_case(character) for character in text)


def _has_case(character: str) -> bool:
    # Beyond ASCII upper() and lower() may change a name's length, and no symbol needs it.
    return character.isascii() and character.isalpha()


def _recased(text: str, pattern: int) -> str:
    """The letters in upper case, except lower where the pattern's bit for that letter is set."""
    spelled = []
    for character in text:
        if _has_case(character):
            spelled.append(character.lower() if pattern & 1 else character.upper())
            pattern >>= 1
        else:
            spelled.append(character)
    return "".join(spelled)
