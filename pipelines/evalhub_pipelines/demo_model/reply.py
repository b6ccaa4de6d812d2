"""The documents a reply is made of, in OpenAI's format."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from evalhub_pipelines.demo_model import tokens
from evalhub_pipelines.demo_model.request import Document, Generation

SPOKEN_LOGPROB = -0.01
"""Log-probability of one character of what the model says itself."""


class Reply(NamedTuple):
    """What a request gets: one document, or a stream of them."""

    status: int
    body: Document | Iterator[Document]


class ScoredToken(NamedTuple):
    """A token's text and its log-probability; the first token of a prompt has none."""

    text: str
    logprob: float | None


def spoken(ids: Sequence[int]) -> list[ScoredToken]:
    """Returns the tokens the model says, scored."""
    return [ScoredToken(text, round(SPOKEN_LOGPROB * len(text), 6)) for text in map(tokens.piece, ids)]


def usage(prompt_tokens: int, completion_tokens: int) -> Document:
    """Returns the token counts."""
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }


def completion_logprobs(scored: Sequence[ScoredToken], top: int, offset: int) -> Document:
    """Returns the `logprobs` of a text completion.

    Args:
        scored: The tokens.
        top: How many alternatives the caller asked for.
        offset: Offset of the first token in prompt plus completion.
    """
    offsets = []
    for token in scored:
        offsets.append(offset)
        offset += len(token.text)
    return {
        "tokens": [token.text for token in scored],
        "token_logprobs": [token.logprob for token in scored],
        "top_logprobs": [_top_logprobs(token, top) for token in scored],
        "text_offset": offsets,
    }


def chat_logprobs(scored: Sequence[ScoredToken]) -> Document:
    """Returns the `logprobs` of a chat completion."""
    return {
        "content": [
            {
                "token": token.text,
                "logprob": token.logprob,
                "bytes": list(token.text.encode("utf-8", "surrogatepass")),
                "top_logprobs": [],
            }
            for token in scored
        ]
    }


def completion_chunks(
    head: Document, choices: Sequence[tuple[list[str], str]], counts: Document, options: Generation
) -> Iterator[Document]:
    """Yields a streamed text completion; a choice is its pieces of text and its finish reason."""
    for index, (pieces, finish_reason) in enumerate(choices):
        for piece in pieces:
            yield {**head, "choices": [{"index": index, "text": piece, "logprobs": None, "finish_reason": None}]}
        yield {**head, "choices": [{"index": index, "text": "", "logprobs": None, "finish_reason": finish_reason}]}
    if options.stream_usage:
        yield {**head, "choices": [], "usage": counts}


def chat_chunks(
    head: Document, ids: Sequence[int], finish_reason: str, counts: Document, options: Generation
) -> Iterator[Document]:
    """Yields a streamed chat completion."""
    for index in range(options.n):
        deltas = [{"role": "assistant", "content": ""}, *({"content": tokens.piece(token)} for token in ids)]
        for delta in deltas:
            yield {**head, "choices": [{"index": index, "delta": delta, "finish_reason": None}]}
        yield {**head, "choices": [{"index": index, "delta": {}, "finish_reason": finish_reason}]}
    if options.stream_usage:
        yield {**head, "choices": [], "usage": counts}


def _top_logprobs(token: ScoredToken, top: int) -> dict[str, float] | None:
    if token.logprob is None:
        return None
    alternatives = {token.text: token.logprob}
    # What the model does not expect is less likely than to stop there.
    if top > 0 and token.logprob < round(SPOKEN_LOGPROB * len(token.text), 6):
        alternatives[tokens.END_TEXT] = SPOKEN_LOGPROB
    return alternatives
