"""Verdicts in words."""

from collections.abc import Mapping, Sequence

from innersight.trust.table import PairedTest


def many(count: int, what: str = "image") -> str:
    """Return a number with its noun.

    >>> many(1), many(1200, "step")
    ('1 image', '1,200 steps')
    """
    return f"{count:,} {what}" + "s" * (count != 1)


def join(words: Sequence[str], last: str = "and") -> str:
    """Return words as a list in a sentence.

    >>> join(["a", "b", "c"])
    'a, b and c'
    """
    return f" {last} ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def compared(tests: Sequence[PairedTest], level: float, needed: int) -> str:
    """Return what paired tests of one method found, as the rest of a sentence that begins with its title.

    level : of significance. needed : images without which a test cannot be significant.
    """
    better = [one.phrase for one in tests if one.p <= level and one.difference > 0]
    worse = [one.phrase for one in tests if one.p <= level and one.difference < 0]
    unclear = [one.phrase for one in tests if one.p > level and one.count >= needed]
    clauses = [f"beats {join(better)}"] if better else []
    if unclear:
        clauses.append(f"not {join(unclear, 'or')}" if better else f"does not significantly beat {join(unclear, 'or')}")
    if worse:
        clauses.append(f"loses to {join(worse)}")
    if len(clauses) < 2:
        return "".join(clauses)
    first, *rest = clauses
    return f"{first}, but {' and '.join(rest)}" if better else f"{first}, and {rest[0]}"


def verdict(
    title: str,
    tests: Sequence[PairedTest],
    images: int,
    empty: int,
    similar: Mapping[str, float],
    *,
    level: float,
    needed: int,
) -> str:
    """Return what can be said about a method.

    images : how many there are, and empty : on how many of them its map is. similar : rank correlations of its maps
    with those under conditions in which nothing was learned, where they are surely high, by condition.
    """
    if empty == images:
        return f"{title}: no verdict, all of its maps are empty."
    if images < needed:
        sentences = [f"{title}: too few images to test significance: {needed} needed, {images} given."]
    else:
        said = compared(tests, level, needed)
        sentences = [f"{title} {said}."] if said else []
        sentences += [
            f"Its maps hardly change with {name} (rank correlation {value:.2f})." for name, value in similar.items()
        ]
        sentences += [
            f"Too few images to test it against {one.phrase}: {needed} needed, {one.count} given."
            for one in tests
            if one.count < needed
        ]
    if empty:
        sentences.append(f"{empty} of its {images} maps are empty; their pixels were ranked at random.")
    return " ".join(sentences)


def overall(model: str, standings: Mapping[str, str], images: int) -> str:
    """Return which methods can be trusted, in one sentence. standings : by title."""
    titles = {kind: [title for title, own in standings.items() if own == kind] for kind in set(standings.values())}
    believed, doubtful, rest = (titles.get(kind, []) for kind in ("believed", "doubtful", "undecided"))
    clauses = [f"{join(believed)} can be trusted" if believed else "no method has been shown to be trustworthy"]
    clauses += [f"{join(doubtful)} should not be trusted"] * bool(doubtful)
    verb = "does" if images == 1 else "do"
    clauses += [f"{many(images)} {verb} not settle whether {join(rest)} can be"] * bool(rest)
    return f"On {model}, {'; '.join(clauses)}."
