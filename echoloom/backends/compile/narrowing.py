"""The cheapest word lengths that are good enough, by trials of few of them.

A longer word never makes gradients worse by much, so the shortest good one is found by halving: the
narrow side first, at the longest words; then the shortest word for that narrow side, and for any
other that could be cheaper.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from echoloom.backends.chips.cost import Cost
from echoloom.backends.compile.figures import TensorQuality
from echoloom.ir.widths import MOST, Widths, accumulator_for

NARROWS, WORDS = range(8, 30), range(8, 37)  # bits tried
FEWER, ATTEMPTS = 3, 3  # bits of the narrow side, from one attempt to the next; and attempts
FEWEST_SEGMENTS = 5  # bits of a table


@dataclass(frozen=True, eq=False)
class Trial:
    """What word lengths gave: the widths with all that they need, what they cost, the worst figures
    with the tensors that they are of, and the `score`: the distance from perfect figures in parts
    of the bounds. `refused`: why there are no figures."""

    widths: Widths
    cost: Cost
    score: float
    quality: TensorQuality
    tensors: tuple[str, str] = ("", "")  # of the cosine and of the norm ratio
    refused: str = ""


# What becomes of several word lengths, all tried at once.
Try = Callable[[Sequence[Widths]], Sequence[Trial]]
Price = Callable[[Widths], Cost]  # the least that word lengths can cost


@dataclass
class Narrowing:
    """A search and the trials that it has made, in their order. `together`: how many are made at
    once; `good`: the score that is good enough."""

    attempt: Try
    price: Price
    start: Widths
    good: float
    together: int = 1
    made: dict[Widths, Trial] = field(default_factory=dict)

    def tried(self, many: Iterable[Widths]) -> Mapping[Widths, Trial]:
        """Trials of all these, those that were made before as they are."""
        new = [w for w in dict.fromkeys(many) if w not in self.made]
        if new:
            self.made |= zip(new, self.attempt(new), strict=True)
        return self.made

    def is_good(self, widths: Widths) -> bool:
        return self.tried([widths])[widths].score <= self.good

    def widths(self, word: int, narrow: int) -> Widths:
        accumulator = accumulator_for(word, narrow)
        return replace(self.start, word=word, narrow=narrow, accumulator=accumulator, gradient=None)

    def run(self) -> Widths | None:
        """The cheapest that is good enough; None where not even the longest words are."""
        self.tried([self.start])  # to compare with
        narrows = [n for n in NARROWS if 2 * n <= self.product]
        # The longest narrow sides leave the words less: where that is too little, shorter ones.
        tops = range(len(narrows), 0, -FEWER)[:ATTEMPTS]
        found_first = (self.least(narrows[:top], self.longest) for top in tops)
        narrow = next((n for n in found_first if n is not None), None)
        best: Widths | None = None
        for n in () if narrow is None else range(narrow, narrows[-1] + 1):
            top = min(WORDS[-1], self.product - n)
            words = [w for w in WORDS if n <= w <= top and self.cheaper(self.widths(w, n), best)]
            if words and words[-1] == top:
                words = [w for w in words if w <= self.longest(n).word]
            word = self.least(words, lambda w, n=n: self.widths(w, n))
            found = None if word is None else self.widths(word, n)
            if found is not None and (best is None or self.made[found].cost < self.made[best].cost):
                best = found
        return None if best is None else self.fewer_segments(best)

    @property
    def product(self) -> int:
        """Bits of the longest product whose sums still are words of the integers' levels: they are
        as many more as with the usual words."""
        usual = self.made[self.start].widths
        return MOST - max(1, usual.accumulator - usual.word - usual.narrow)

    def longest(self, narrow: int) -> Widths:
        """The longest words with this narrow side, or those to compare with where these are no
        better: figures near a bound are to either side of it by chance."""
        longest = self.widths(min(WORDS[-1], self.product - narrow), narrow)
        usual = self.widths(self.start.word, narrow)
        if narrow <= usual.word < longest.word and not self.is_good(longest):
            return usual
        return longest

    def cheaper(self, widths: Widths, than: Widths | None) -> bool:
        return than is None or self.price(widths) < self.made[than].cost

    def least(self, values: Sequence[int], widths: Callable[[int], Widths]) -> int | None:
        """The least of ascending values that is good; None where the largest is not."""
        if not values or not self.is_good(widths(values[-1])):
            return None
        low, high = 0, len(values) - 1  # the answer's index is in low .. high
        while low < high:
            parts = self.together + 1
            between = sorted({low + (high - low) * part // parts for part in range(1, parts)})
            tried = {i: widths(values[i]) for i in between}
            found = self.tried(tried.values())
            good = [i for i in between if found[tried[i]].score <= self.good]
            bad = [i for i in between if i not in good]
            high = min([high, *good])
            low = max([low, *(i + 1 for i in bad if i < high)])
        return values[high]

    def fewer_segments(self, widths: Widths) -> Widths:
        """With shorter tables as long as that costs less and is good."""
        while widths.segment_bits > FEWEST_SEGMENTS:
            fewer = replace(widths, segment_bits=widths.segment_bits - 1)
            if not self.is_good(fewer) or not self.made[fewer].cost < self.made[widths].cost:
                break
            widths = fewer
        return widths

    def nearest(self) -> Trial:
        """The trial with the best figures."""
        return min(self.made.values(), key=lambda trial: trial.score)
