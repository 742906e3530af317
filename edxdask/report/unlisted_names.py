"""Names of the elements and peaks that warnings say are in the counts and that nobody listed."""

from __future__ import annotations

import re
from collections.abc import Sequence

_OF_FIT = re.compile(r"^(.+?): not listed, but|^(unknown at [\d.]+ keV)")
_OF_QUANTIFICATION = re.compile(r"holds what is not listed: (.+?)\. The fit")
_NAMED = re.compile(r"(?:^|, )([A-Z][a-z]?|unknown) \(")


def names_of_unlisted(warnings: Sequence[str]) -> list[str]:
    """Name them, each once, in the order of the warnings.

    Examples
    --------
    >>> names_of_unlisted(["Cu: not listed, but Cu_Ka at 8.04 keV is there (97887 counts, 417 sigma)."])
    ['Cu']
    """
    names: list[str] = []
    for text in warnings:
        quantified, fitted = _OF_QUANTIFICATION.search(text), _OF_FIT.search(text)
        if quantified is not None:
            names += _NAMED.findall(quantified[1])
        elif fitted is not None:
            names.append(fitted[1] or fitted[2])
    return list(dict.fromkeys(names))
