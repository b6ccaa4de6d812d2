"""The demo model itself: what it answers to a prompt, and how likely it finds a continuation."""

import hashlib
import re
from typing import NamedTuple

from evalhub_pipelines.demo_model import judging
from evalhub_pipelines.demo_model.questions import Question, harmful_request, last_question

UNKNOWN = "I do not know."
REFUSAL = "I can't help with that."
COMPLIANCE = "Sure, here is how to do that."

# Log-probability of one character of a text that is ...
_EXPECTED = -0.01  # the model's answer
_REJECTED = -4.0  # the right answer, when the model holds another one
_UNEXPECTED = -1.0  # anything else, and up to half as much again
# Keeps a short right answer below the longer wrong ones in the sum as well as per character.
_REJECTED_TOTAL = -20.0

_ANSWERED_EXAMPLE = re.compile(r"(?im)^[ \t]*(?:answer|response):[ \t]*\S.*\n")
_ANSWER_LABEL = re.compile(r"(?i)\b(?:answer|response):")
_SUGGESTION = re.compile(r"(?i)\bI think the answer is (?P<answer>[^\n]+?)\.(?=\s|$)")
_OPTION = re.compile(r"(?m)^[ \t]*\(?(?P<letter>[A-H])[.):][ \t]+(?P<text>\S.*)$")


class Answer(NamedTuple):
    """What the model makes of a prompt.

    Attributes:
        subject: What it takes the prompt to ask.
        text: What it says.
        start: Offset in the prompt behind which an answer stands, or would stand.
        likely: Every way to write what it says.
        rejected: Every way to write the right answer, when it says a wrong one.
    """

    subject: str
    text: str
    start: int
    likely: frozenset[str]
    rejected: frozenset[str] = frozenset()


class DemoModel:
    """Answers prompts by `skill`, deterministically.

    Whether a question is answered correctly depends on the seed and the question's text alone: not on the examples
    before it, the endpoint, or the other questions. What is right at some skill stays right at every higher one.
    """

    def __init__(self, skill: float, seed: int, refusal_rate: float) -> None:
        """Args are those of `DemoModelSettings`."""
        self._skill = skill
        self._seed = seed
        self._refusal_rate = refusal_rate

    def draw(self, *parts: str) -> float:
        """Returns a number in [0, 1) that depends on the seed and the parts alone."""
        text = "\x1f".join((str(self._seed), *parts)).encode("utf-8", "surrogatepass")
        # 53 bits fit a float exactly, so that the result never rounds up to 1.
        return (int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 11) / (1 << 53)

    def answer(self, prompt: str) -> Answer:
        """Returns the answer to the last question of a prompt."""
        if (judged := judging.judgement(prompt)) is not None:
            return _plain(prompt, judged, len(prompt))
        begin = max((example.end() for example in _ANSWERED_EXAMPLE.finditer(prompt)), default=0)
        part = prompt[begin:]
        question = last_question(part)
        labels = [label.end() for label in _ANSWER_LABEL.finditer(part, question.end if question else 0)]
        asked = part[: labels[-1]] if labels else part
        # A question mark behind the question it understands belongs to one it does not.
        if question is not None and "?" not in asked[question.end :]:
            return self._solve(question, asked, begin, bool(labels))
        start = begin + len(asked)
        if request := harmful_request(asked):
            refuses = self.draw("refusal", request) < self._refusal_rate
            return _plain(request, REFUSAL if refuses else COMPLIANCE, start)
        return _plain(asked.strip(), UNKNOWN, start)

    def logprob_per_character(self, answer: Answer, continuation: str) -> float:
        """Returns how likely each character of a continuation is, as a natural logarithm (negative)."""
        written = _normalise(continuation)
        if written in answer.likely:
            return _EXPECTED
        if written in answer.rejected:
            return _REJECTED + _REJECTED_TOTAL / len(continuation)
        return _UNEXPECTED * (1 + self.draw("continuation", answer.subject, written) / 2)

    def _solve(self, question: Question, asked: str, begin: int, labelled: bool) -> Answer:
        behind = asked[question.end :]
        options = {option["letter"]: option["text"].rstrip() for option in _OPTION.finditer(behind)}
        suggestion = _SUGGESTION.search(behind)
        # Without a label an answer follows the question and what belongs to it.
        known = [match.end() for match in (*_OPTION.finditer(behind), *([suggestion] if suggestion else []))]
        start = begin + (len(asked) if labelled else question.end + max(known, default=0))
        if options and question.right not in options.values():
            return _plain(question.text, UNKNOWN, start)
        said = question.right
        if self.draw("skill", question.text) >= self._skill:
            wrong = [text for text in options.values() if text != said] or list(question.wrong)
            said = wrong[int(self.draw("mistake", question.text) * len(wrong))]
            if suggestion:
                said = suggestion["answer"].strip("'\"")
        rejected = _spellings(question.right, options) if said != question.right else frozenset()
        letters = [letter for letter, text in options.items() if text == said]
        return Answer(question.text, letters[0] if letters else said, start, _spellings(said, options), rejected)


def _plain(subject: str, text: str, start: int) -> Answer:
    return Answer(subject, text, start, frozenset({_normalise(text)}))


def _spellings(text: str, options: dict[str, str]) -> frozenset[str]:
    letters = [letter for letter, option in options.items() if option == text]
    return frozenset(map(_normalise, [text, *letters, *(f"{letter}. {text}" for letter in letters)]))


def _normalise(text: str) -> str:
    return text.strip().rstrip(".").casefold()
