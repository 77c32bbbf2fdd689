"""The sentences of a derivation, set for print: names become formulas."""

import re

_GREEK = "alpha|beta|epsilon|kappa|sigma|lambda|mu|nu|rho|tau|omega|psi|Phi|phi|eta"
_NAME = rf"(?:(?:{_GREEK}|[A-Zb-hj-z])(?:_(?:{_GREEK}|\w+))?'*)(?![\w'])"
_WORD = rf"\d+'*|log\b|logit\b|sinh\b|dt/dmu\b|d(?= (?:{_GREEK})\b)|{_NAME}"
_RUN = re.compile(
    rf"(?<![\w'])(?:{_WORD}|[-+=/^()|<>,](?=[\s\w(]))"
    rf"(?:\s*(?:{_WORD}|[-+=/^()|<>]|,(?= ?{_NAME})))*"
)
_SPECIAL = str.maketrans({c: f"\\{c}" for c in "&%$#_{}"} | {"^": r"\^{}", "~": r"\~{}"})


def _formula(run: str) -> str:
    run = run.replace("dt/dmu", r"dt/d mu").replace("11'", r"\mathbf{1}\mathbf{1}'")
    run = run.replace("nu 1", r"nu \,\mathbf{1}")
    run = re.sub(r"\be\b(?!\^)", r"\\varepsilon ", run)
    run = re.sub(rf"(?<![A-Za-z\\])({_GREEK})(?![A-Za-z])", r"\\\1 ", run)
    run = re.sub(r"\^\(([^()]*)\)", r"^{\1}", run)
    run = re.sub(r"([_^])(\\\w+ |-?\w+)", lambda found: f"{found[1]}{{{found[2].strip()}}}", run)
    run = re.sub(r"\b(log|sinh)\b", r"\\\1", run)
    run = re.sub(r"\blogit\b", r"\\operatorname{logit}", run)
    return re.sub(r" +(?![A-Za-z])", " ", run).strip()


def _holds_formula(run: str) -> bool:
    """A name or an operation between operands, not a lone hyphen, comma or bracketed remark."""
    return bool(re.search(rf"(?<![\w'])(?:{_NAME}|dt/dmu)|\d", run))


def typeset(text: str, escape: bool = True) -> str:
    """Plain text with names of the theory as inline formulas.

    Args:
        text: a sentence as steps carry it.
        escape: whether the rest is escaped for LaTeX (Markdown needs none).
    """
    text = text.replace("step x learning", "step \0 learning").replace("Wright omega", "Wright \1")
    text = re.sub(r"(^|[.:] )A(?= [a-z])", "\\1\2", text)  # the article, not a name
    parts, last = [], 0
    for found in _RUN.finditer(text):
        run = found.group()
        core = _balanced(run.strip(" ,-/="))
        if not core or not _holds_formula(core):
            continue
        start = found.start() + run.index(core)
        if start < last:
            continue
        parts += [_plain(text[last:start], escape), f"${_formula(core)}$"]
        last = start + len(core)
    parts.append(_plain(text[last:], escape))
    return "".join(parts).replace("\0", r"$\times$").replace("\1", "omega").replace("\2", "A")


def _balanced(run: str) -> str:
    """The run without brackets that open or close outside of it."""
    while run.count("(") > run.count(")") and "(" in run:
        head, _, tail = run.rpartition("(")
        run = head.rstrip(" ,-/=+") if not tail.strip() or head else tail
        if not run:
            return ""
    while run.count(")") > run.count("("):
        head, _, tail = run.partition(")")
        run = head.rstrip() if head.count("(") == 0 or not tail else run[: run.rindex(")")].rstrip()
    return run


def _plain(text: str, escape: bool) -> str:
    return text.translate(_SPECIAL) if escape else text
