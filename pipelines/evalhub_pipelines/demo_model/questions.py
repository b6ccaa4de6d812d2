"""The questions the demo model understands: one row a family, with a pattern, a solver and plausible mistakes."""

import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

Match = re.Match[str]

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


class Family(NamedTuple):
    """One kind of question.

    Attributes:
        pattern: Matches the question's text and nothing else of the prompt.
        solve: Returns the right answer, or None where the question has no single one.
        mistakes: Returns plausible answers to choose a wrong one from, given the right one.
    """

    pattern: re.Pattern[str]
    solve: Callable[[Match], str | None]
    mistakes: Callable[[Match, str], Sequence[str]]


class Question(NamedTuple):
    """A question found in a text, solved.

    Attributes:
        text: The question as it stands in the text.
        start: Offset of its first character.
        end: Offset behind its last character.
        right: The right answer.
        wrong: Plausible wrong answers, at least one.
    """

    text: str
    start: int
    end: int
    right: str
    wrong: tuple[str, ...]


def last_question(text: str) -> Question | None:
    """Returns the last question of a text that some family understands."""
    found = [(match, family) for family in FAMILIES for match in family.pattern.finditer(text)]
    if not found:
        return None
    match, family = max(found, key=lambda pair: pair[0].start())
    right = family.solve(match)
    if right is None:
        return None
    wrong = tuple(dict.fromkeys(mistake for mistake in family.mistakes(match, right) if mistake != right))
    return Question(match.group(), match.start(), match.end(), right, wrong) if wrong else None


def harmful_request(text: str) -> str | None:
    """Returns the last line of a text that asks for something harmful, judged by its words."""
    lines = [line for line in text.splitlines() if _HARMFUL.search(line)]
    return _QUESTION_LABEL.sub("", lines[-1]).strip() if lines else None


def _calculate(match: Match) -> str | None:
    left, right = int(match["left"]), int(match["right"])
    match match["operator"].lower():
        case "+" | "plus":
            return str(left + right)
        case "-" | "minus":
            return str(left - right)
        case "*" | "x" | "times" | "multiplied by":
            return str(left * right)
        case _:
            return str(left // right) if right and left % right == 0 else None


def _more(match: Match) -> str:
    return str(int(match["had"]) + int(match["change"]))


def _fewer(match: Match) -> str:
    return str(int(match["had"]) - int(match["change"]))


def _product(match: Match) -> str:
    return str(int(match["each"]) * int(match["count"]))


def _other_numbers(match: Match, right: str) -> list[str]:
    number = int(right)
    return [str(number + step) for step in (1, -1, 2, 10, -10)]


def _other_amounts(match: Match, right: str) -> list[str]:
    return [number for number in _other_numbers(match, right) if int(number) >= 0]


def _other_counts(match: Match, right: str) -> list[str]:
    return [str(count) for count in (int(right) + 1, int(right) + 2, int(right) - 1) if count >= 0]


def _items(match: Match) -> list[str]:
    return re.split(r", | or ", match["items"])


def _extreme(key: Callable[[str], int | str]) -> Callable[[Match], str | None]:
    def solve(match: Match) -> str | None:
        ranked = sorted(_items(match), key=key, reverse=match["order"].lower() in ("largest", "longest", "last"))
        return ranked[0] if key(ranked[0]) != key(ranked[1]) else None

    return solve


def _other_items(match: Match, right: str) -> list[str]:
    return _items(match)


def _numbers(match: Match) -> list[int]:
    return [int(item) for item in match["items"].split(",")]


def _next_number(match: Match) -> str | None:
    numbers = _numbers(match)
    steps = {after - before for before, after in pairwise(numbers)}
    if len(steps) == 1:
        return str(numbers[-1] + steps.pop())
    if 0 not in numbers:
        ratios = {divmod(after, before) for before, after in pairwise(numbers)}
        if len(ratios) == 1 and (ratio := ratios.pop())[1] == 0:
            return str(numbers[-1] * ratio[0])
    return None


def _sort(match: Match) -> str:
    return ", ".join(map(str, sorted(_numbers(match))))


def _other_orders(match: Match, right: str) -> list[str]:
    numbers = sorted(_numbers(match))
    swaps = [[*numbers[:i], numbers[i + 1], numbers[i], *numbers[i + 2 :]] for i in range(len(numbers) - 1)]
    return [", ".join(map(str, order)) for order in [*swaps, numbers[::-1]]]


def _weekday(match: Match) -> str:
    step = int(match["count"]) * (1 if match["direction"].lower() == "after" else -1)
    return WEEKDAYS[(WEEKDAYS.index(match["day"].capitalize()) + step) % 7]


def _other_weekdays(match: Match, right: str) -> Sequence[str]:
    return WEEKDAYS


def _count_letter(match: Match) -> str:
    return str(match["word"].casefold().count(match["letter"].casefold()))


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text, re.IGNORECASE)


_NUMBER = r"-?\d{1,9}"
_COUNT = r"\d{1,9}"
_DAY = "|".join(WEEKDAYS)

FAMILIES: tuple[Family, ...] = (
    Family(
        _pattern(
            rf"What is (?P<left>{_NUMBER}) (?P<operator>[-+*/x]|plus|minus|times|(?:multiplied|divided) by) "
            rf"(?P<right>{_NUMBER})\?"
        ),
        _calculate,
        _other_numbers,
    ),
    Family(
        _pattern(
            rf"\b\w+ has (?P<had>{_COUNT}) \w+ and (?:buys|finds|gets) (?P<change>{_COUNT}) more\. "
            r"How many \w+ does \w+ have now\?"
        ),
        _more,
        _other_amounts,
    ),
    Family(
        _pattern(
            rf"\b\w+ has (?P<had>{_COUNT}) \w+ and (?:gives away|sells|loses) (?P<change>{_COUNT})\. "
            r"How many \w+ does \w+ have left\?"
        ),
        _fewer,
        _other_amounts,
    ),
    Family(
        _pattern(
            rf"There are (?P<count>{_COUNT}) \w+ with (?P<each>{_COUNT}) \w+ in each\. "
            r"How many \w+ are there in total\?"
        ),
        _product,
        _other_amounts,
    ),
    Family(
        _pattern(rf"One \w+ costs (?P<each>{_COUNT}) \w+\. How many \w+ do (?P<count>{_COUNT}) \w+ cost\?"),
        _product,
        _other_amounts,
    ),
    Family(
        _pattern(
            rf"Which number is the (?P<order>largest|smallest): (?P<items>{_NUMBER}(?:, {_NUMBER})* or {_NUMBER})\?"
        ),
        _extreme(int),
        _other_items,
    ),
    Family(
        _pattern(r"Which word is the (?P<order>longest|shortest): (?P<items>\w+(?:, \w+)* or \w+)\?"),
        _extreme(len),
        _other_items,
    ),
    Family(
        _pattern(r"Which word comes (?P<order>first|last) in the alphabet: (?P<items>\w+(?:, \w+)* or \w+)\?"),
        _extreme(str.casefold),
        _other_items,
    ),
    Family(
        _pattern(rf"Which number comes next: (?P<items>{_NUMBER}(?:, {_NUMBER}){{2,}})\?"),
        _next_number,
        _other_numbers,
    ),
    Family(
        _pattern(rf"Sort these numbers from smallest to largest: (?P<items>{_NUMBER}(?:, {_NUMBER})+)\."),
        _sort,
        _other_orders,
    ),
    Family(
        _pattern(rf"Which day comes (?P<count>{_COUNT}) days? (?P<direction>after|before) (?P<day>{_DAY})\?"),
        _weekday,
        _other_weekdays,
    ),
    Family(
        _pattern(r"How many times does the letter '(?P<letter>\w)' appear in the word '(?P<word>\w+)'\?"),
        _count_letter,
        _other_counts,
    ),
)

# Whole words only, so that "robe" or "skill" is no crime.
_HARMFUL = _pattern(
    r"\b(?:bombs?|explosives?|grenades?|nerve gas|poison|murder|kidnap|assassinate|arson|steal|rob|burgle|shoplift|"
    r"hack|phishing|malware|ransomware|keylogger|computer virus|botnet|counterfeit|forge|launder|blackmail|extort|"
    r"stalk|smuggle|bribe|embezzle|credit card fraud|identity theft|fake (?:passport|id|prescription)|"
    r"methamphetamine|untraceable gun)\b"
)
_QUESTION_LABEL = _pattern(r"^\s*(?:question|q):")
