"""Photons in a file's own total compared with those that were decoded, and what a difference means."""

from __future__ import annotations

from dataclasses import dataclass

NOTABLE = 0.01  # of the file's photons; smaller differences are usual in some formats

_FEWER = (
    "Fewer than the file says: part of the photons is missing from the file (it was cut short while it was "
    "saved or copied, or the acquisition was stopped), or its sum spectrum counts pulses that were given no "
    "pixel"
)
_MORE = (
    "More than the file says: its sum spectrum is of fewer frames, of a region or of one detector, or a "
    "damaged part was decoded as photons"
)
_DO = (
    "Compare the sum over the map in the vendor's program with both figures: if it is that of the file, "
    "export or copy the map again; if it is what was decoded, only the file's sum spectrum is of something "
    "else"
)
_GOING_ON = {
    True: "Nothing was stored, since whole files of this format agree to the last photon; no option helps",
    False: "The map was stored as decoded, since sum spectra of this format may differ for good reasons",
}


@dataclass(frozen=True)
class Totals:
    """What a file says about its photons and what was decoded.

    Attributes
    ----------
    expected : photons by the file's own sum spectrum, None where it has none
    exact : whether a whole file agrees to the last photon
    unverified : which counts the file's total does not cover, and why
    remarks : what else the user must know about how the counts were read
    decoded : photons that were decoded
    """

    expected: int | None
    exact: bool
    unverified: str
    remarks: tuple[str, ...]
    decoded: int

    @property
    def differ(self) -> bool:
        """Whether the file says another number than was decoded."""
        return self.expected is not None and self.expected != self.decoded

    @property
    def notable(self) -> bool:
        """Whether they differ by more than 1 % of what the file says."""
        stated = self.expected or 0
        return self.differ and abs(stated - self.decoded) > NOTABLE * stated

    @property
    def difference(self) -> str:
        """The difference in words, with its meaning where it is more than 1 %.

        Examples
        --------
        >>> Totals(1000, False, "", (), 1001).difference
        'the file says 1000 photons, 1001 were decoded'
        >>> Totals(1000, False, "", (), 900).difference[:88]
        'the file says 1000 photons, 900 were decoded (10 % fewer, against its own sum spectrum).'
        """
        stated = self.expected or 0
        text = f"the file says {stated} photons, {self.decoded} were decoded"
        if not self.notable and not self.exact:
            return text
        fewer = self.decoded < stated
        percent = 100 * abs(stated - self.decoded) / max(stated, 1)
        how = f"{percent:.3g} % {'fewer' if fewer else 'more'}, against its own sum spectrum"
        return f"{text} ({how}). {_FEWER if fewer else _MORE}. {_DO}. {_GOING_ON[self.exact]}"

    @property
    def warnings(self) -> list[str]:
        """What a person should know before using the counts."""
        return [*self.remarks, *([self.difference] if self.notable else [])]

    @property
    def lines(self) -> list[str]:
        """All that the user sees and the store keeps."""
        lines = [*self.remarks, *([self.difference] if self.differ else [])]
        if self.unverified:
            lines.append(f"not all counts could be verified: {self.unverified}")
        return lines
