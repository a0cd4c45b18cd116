"""The language of rules: a rule is written in a study's file as it is read, and parsed into its type.

A side is the name of a scheme, with further conditions in brackets: ``raw``, ``raw[arch.internal_norm=batch]``,
``[optim=sgd, norm.std=0.25]``. Keys are those of the command line, or columns of a measurement; a value that holds a
comma or a bracket stands in double quotes.

    unit > raw                              the mean is larger (superior)
    unit > raw + 0.02                       larger by more than a margin
    unit > raw - 0.02                       not worse by the margin (non-inferior)
    raw = dataset ± 0.02                    they differ by less (equivalent)
    0.01 < dataset - raw < 0.05             the difference lies between bounds
    2 < raw / dataset < 10                  the ratio does
    raw / dataset > 2                       the ratio is larger
    (dataset - raw | optim=adam) > (dataset - raw | optim=sgd)      the gain is larger under one condition (interaction)
    0 <= failed <= 0.5, failed = 1, mean = 0 ± 1e-6                 a number, in every row (within)
    0.9 <= interval of ratio <= 1.1         a measured interval (estimated)

Behind it stand clauses, in any order:

    in epochs_to.0.3 up to 10               the metric that is compared, and as what a miss counts
    at best                                 the choice of runs; also once for a claim, ``at: [common, best]``
    for each data, arch of cnn, vit         the cells, of all values or of these; also once a claim, ``over: [data]``,
                                            which these divide further
    from spreads[norm=raw]                  rows of a measurement, which are those of this function
    for learned                             rows of one scheme
    where 0.02 matters                      a gain shown to be smaller refutes it; also once a claim, ``matters: 0.02``
    by construction                         it is true whatever the data are, and is told so
    diverged as 0.1                         what a diverged run counts; once for a study, ``chance: 0.1``
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from normlab.config import GROUPS
from normlab.errors import ConfigError

PLAIN = ("norm", "arch", "data", "optim")  # groups whose choice has a column of its own in the records
TOKEN = re.compile(
    r"""\s*(?:(?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![\w.]))
        |(?P<word>[A-Za-z_][\w.]*)
        |(?P<conditions>\[(?:"[^"]*"|[^"\]])*\])
        |(?P<quoted>"[^"]*")
        |(?P<sign><=|>=|\+-|[<>=±/|(),+-]))""",
    re.VERBOSE,
)
WORD = re.compile(r"[A-Za-z_][\w.]*|[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")  # what is read without quotes
CONDITION = re.compile(r'\s*(?P<key>[A-Za-z_][\w.]*)\s*=\s*(?:"(?P<quoted>[^"]*)"|(?P<bare>[^",]*?))\s*(?:,|$)')


def column(key: str) -> str:
    """Where the records have a key of the command line.

    >>> column("arch.internal_norm"), column("augment"), column("norm"), column("eps")
    ('config.arch.internal_norm', 'config.augment.name', 'norm', 'eps')
    """
    if key.partition(".")[0] not in GROUPS or key in PLAIN:
        return key
    return f"config.{key}.name" if key in GROUPS else f"config.{key}"


def key_of(name: str) -> str:
    """The key of a column: what :func:`column` undoes."""
    key = name.removeprefix("config.")
    return key.removesuffix(".name") if key.removesuffix(".name") in GROUPS else key


def parse(text: str) -> dict[str, Any]:
    """The fields of a rule.

    >>> parse("unit > raw - 0.02 at best")
    {'kind': 'non_inferior', 'first': {'norm': 'unit'}, 'second': {'norm': 'raw'}, 'margin': 0.02, 'at': 'best'}
    >>> parse("2 < raw / dataset < 10 in epochs_to.0.3 up to 10")["metric"]
    'epochs_to.0.3'

    Raises:
        ConfigError: if it is no rule; the message says what was expected where.
    """
    return _Reader(text).rule()


class _Reader:
    """Reads a rule from left to right."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens: list[tuple[str, str]] = []
        place = 0
        while text[place:].strip():
            match = TOKEN.match(text, place)
            if match is None:
                raise ConfigError(f"rule {text!r}: cannot read {text[place:].strip()!r}")
            self._tokens.append((str(match.lastgroup), match[str(match.lastgroup)]))
            place = match.end()
        self._at = 0

    def rule(self) -> dict[str, Any]:
        fields = self._statement()
        while self._at < len(self._tokens):
            self._clause(fields)
        return fields

    def _statement(self) -> dict[str, Any]:
        if self._peek("sign", "("):
            return self._interaction()
        if self._kind() == "number":
            return self._bounded()
        if self._kind() == "word" and self._ahead(1) == ("sign", "=") and self._ahead(2)[0] == "number":
            return self._exact()
        first = self._side()
        sign = self._sign(">", "=", "/")
        if sign == "/":
            sides = {"first": first, "second": self._side()}
            self._sign(">")
            return {"kind": "between", **sides, "low": self._number(), "ratio": True}
        second = self._side()
        if sign == "=":
            self._sign("±", "+-")
            return {"kind": "equivalent", "first": first, "second": second, "margin": self._number()}
        return self._one_bound({"first": first, "second": second})

    def _one_bound(self, sides: dict[str, Any]) -> dict[str, Any]:
        shift = self._shift()
        if shift < 0:
            return {"kind": "non_inferior", **sides, "margin": -shift}
        return {"kind": "superior", **sides, **({"margin": shift} if shift else {})}

    def _shift(self) -> float:
        """``+ 0.02``, ``- 0.02``, also written without a space, or nothing."""
        if self._kind() == "number" and self._tokens[self._at][1][0] in "+-":
            return self._number()
        if not (self._peek("sign", "+") or self._peek("sign", "-")):
            return 0.0
        sign = self._sign("+", "-")
        return self._number() if sign == "+" else -self._number()

    def _interaction(self) -> dict[str, Any]:
        first, second, under = self._gain()
        self._sign(">")
        again, against, than = self._gain()
        if (again, against) != (first, second):
            raise self._mistake("expected the same difference under another condition")
        shift = self._shift()
        if shift < 0:
            raise self._mistake("a margin of an interaction is added, not subtracted")
        margin = {"margin": shift} if shift else {}
        return {"kind": "interaction", "first": first, "second": second, "under": under, "than": than, **margin}

    def _gain(self) -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
        self._sign("(")
        first = self._side()
        self._sign("-")
        second = self._side()
        self._sign("|")
        condition: dict[str, str] = {}
        while True:
            key = column(self._word())
            if key in condition | first:
                raise self._mistake(f"{key_of(key)} is given twice")
            self._sign("=")
            condition[key] = self._value()
            if self._sign(",", ")") == ")":
                return first, second, condition

    def _bounded(self) -> dict[str, Any]:
        low = self._number()
        if self._sign("<", "<=") == "<=":
            estimated = self._peek("word", "interval") and self._ahead(1) == ("word", "of")
            self._at += 2 * estimated
            metric = self._word()
            self._sign("<=")
            kind = "estimated" if estimated else "within"
            return {"kind": kind, "metric": metric, "low": low, "high": self._number()}
        first = self._side()
        sign = self._sign("-", "/")
        second = self._side()
        self._sign("<")
        ratio = {"ratio": True} if sign == "/" else {}
        return {"kind": "between", "first": first, "second": second, "low": low, "high": self._number(), **ratio}

    def _exact(self) -> dict[str, Any]:
        metric = self._word()
        self._sign("=")
        value, width = self._number(), 0.0
        if self._peek("sign", "±") or self._peek("sign", "+-"):
            self._at += 1
            width = self._number()
        return {"kind": "within", "metric": metric, "low": value - width, "high": value + width}

    def _clause(self, fields: dict[str, Any]) -> None:
        word = self._word()
        if word == "in" and "metric" not in fields:
            fields["metric"] = self._word()
            if self._peek("word", "up"):
                self._expect("up", "to")
                fields["horizon"] = self._number()
        elif word == "at" and "at" not in fields:
            fields["at"] = self._word()
        elif word == "for" and self._peek("word", "each") and "over" not in fields:
            self._expect("each")
            self._cells(fields)
        elif word in ("from", "for") and "where" not in fields and fields["kind"] in ("within", "estimated"):
            fields["where"] = self._side("call" if word == "from" else "norm")
            if word == "from":
                fields["at"] = "measured"
        elif word == "where" and "matters" not in fields and fields["kind"] in ("superior", "interaction"):
            fields["matters"] = self._number()
            self._expect("matters")
        elif word == "by" and "by_construction" not in fields:
            self._expect("construction")
            fields["by_construction"] = True
        elif word == "diverged" and "diverged_as" not in fields:
            self._expect("as")
            fields["diverged_as"] = self._number()
        else:
            raise self._mistake(f"{word!r} does not belong here, or stands twice")

    def _cells(self, fields: dict[str, Any]) -> None:
        columns = [column(self._word())]
        while self._peek("sign", ","):
            self._at += 1
            columns.append(column(self._word()))
        fields["over"] = columns
        if self._peek("word", "of"):
            self._expect("of")
            values = [self._value()]
            while self._peek("sign", ","):
                self._at += 1
                values.append(self._value())
            fields["among"] = {columns[-1]: values}

    def _side(self, key: str = "norm") -> dict[str, str]:
        where = {key: self._word()} if self._kind() == "word" else {}
        if self._kind() == "conditions":
            conditions = _conditions(self._take()[1:-1], self._text)
            if where.keys() & conditions.keys():
                raise self._mistake(f"{key} is given twice")
            where |= conditions
        if not where:
            raise self._mistake("expected a scheme, or conditions in brackets")
        return where

    def _kind(self) -> str:
        return self._ahead(0)[0]

    def _ahead(self, places: int) -> tuple[str, str]:
        return self._tokens[self._at + places] if self._at + places < len(self._tokens) else ("end", "")

    def _peek(self, kind: str, text: str) -> bool:
        return self._ahead(0) == (kind, text)

    def _take(self) -> str:
        self._at += 1
        return self._tokens[self._at - 1][1]

    def _word(self) -> str:
        if self._kind() != "word":
            raise self._mistake("expected a name")
        return self._take()

    def _value(self) -> str:
        if self._kind() not in ("word", "number", "quoted"):
            raise self._mistake("expected a value")
        return self._take().strip('"')

    def _number(self) -> float:
        negative = self._peek("sign", "-")
        self._at += negative or self._peek("sign", "+")
        if self._kind() != "number":
            raise self._mistake("expected a number")
        return -float(self._take()) if negative else float(self._take())

    def _sign(self, *signs: str) -> str:
        if self._kind() != "sign" or self._ahead(0)[1] not in signs:
            raise self._mistake(f"expected {' or '.join(signs)}")
        return self._take()

    def _expect(self, *words: str) -> None:
        for word in words:
            if not self._peek("word", word):
                raise self._mistake(f"expected {word!r}")
            self._at += 1

    def _mistake(self, problem: str) -> ConfigError:
        where = f"at {self._ahead(0)[1]!r}" if self._at < len(self._tokens) else "at its end"
        return ConfigError(f"rule {self._text!r}, {where}: {problem}")


def _conditions(text: str, rule: str) -> dict[str, str]:
    where, place = {}, 0
    while text[place:].strip():
        match = CONDITION.match(text, place)
        if match is None:
            raise ConfigError(f"rule {rule!r}: cannot read the condition {text[place:].strip()!r}, expected key=value")
        if column(match["key"]) in where:
            raise ConfigError(f"rule {rule!r}: {match['key']} is given twice")
        where[column(match["key"])] = match["bare"] if match["quoted"] is None else match["quoted"]
        place = match.end()
    return where


def write(fields: Mapping[str, Any]) -> str:
    """The text of a rule's fields: what :func:`parse` undoes.

    >>> write(parse("0.01 < dataset - raw[optim=sgd] < 0.05 for each data"))
    '0.01 < dataset - raw[optim=sgd] < 0.05 for each data'
    """
    first, second = (_written(fields.get(side, {})) for side in ("first", "second"))
    kind, margin = fields["kind"], fields.get("margin") or 0.0
    if kind == "superior":
        text = f"{first} > {second}" + f" + {_number(margin)}" * bool(margin)
    elif kind == "non_inferior":
        text = f"{first} > {second} - {_number(margin)}"
    elif kind == "equivalent":
        text = f"{first} = {second} ± {_number(margin)}"
    elif kind == "between":
        sign = "/" if fields.get("ratio") else "-"
        low, high = _number(fields["low"]), fields.get("high")
        both = f"{first} {sign} {second}"
        text = f"{both} > {low}" if high is None else f"{low} < {both} < {_number(high)}"
    elif kind == "interaction":
        gains = [f"({first} - {second} | {_listed(fields[condition], _word)})" for condition in ("under", "than")]
        text = " > ".join(gains) + f" + {_number(margin)}" * bool(margin)
    else:
        text = _number_text(fields)
    metric = fields.get("metric", "test_accuracy")
    if kind not in ("within", "estimated") and metric != "test_accuracy":
        text += f" in {metric}"
        text += f" up to {_number(fields['horizon'])}" if fields.get("horizon") is not None else ""
    where, at = dict(fields.get("where", {})), fields.get("at", "all")
    if where:
        text += f" {'from' if 'call' in where else 'for'} {_written(where)}"
    if fields.get("over"):
        text += f" for each {', '.join(key_of(name) for name in fields['over'])}"
        text += "".join(f" of {', '.join(map(_word, values))}" for values in fields.get("among", {}).values())
    if at != "all" and "call" not in where:
        text += f" at {at}"
    if fields.get("matters"):
        text += f" where {_number(fields['matters'])} matters"
    if fields.get("diverged_as") is not None:
        text += f" diverged as {_number(fields['diverged_as'])}"
    text += " by construction" * bool(fields.get("by_construction"))
    return text


def _number_text(fields: Mapping[str, Any]) -> str:
    low, high, metric = fields["low"], fields["high"], fields["metric"]
    if fields["kind"] == "estimated":
        return f"{_number(low)} <= interval of {metric} <= {_number(high)}"
    if low == high:
        return f"{metric} = {_number(low)}"
    if low == -high:
        return f"{metric} = 0 ± {_number(high)}"
    return f"{_number(low)} <= {metric} <= {_number(high)}"


def _number(value: float) -> str:
    """A number in six digits if they are enough, else in those that a sum of decimal numbers has right."""
    short = f"{value:g}"
    return short if math.isclose(float(short), value, rel_tol=1e-14) else f"{value:.15g}"


def _written(where: Mapping[str, Any]) -> str:
    rest = dict(where)
    name = str(rest.pop("call", "")) or str(rest.pop("norm", ""))
    return name + (f"[{_listed(rest, _in_brackets)}]" if rest else "")


def _listed(where: Mapping[str, Any], written: Callable[[Any], str]) -> str:
    return ", ".join(f"{key_of(key)}={written(value)}" for key, value in where.items())


def _in_brackets(value: Any) -> str:
    text = str(value)
    return f'"{text}"' if re.search(r'[,\]\["]', text) or text != text.strip() else text


def _word(value: Any) -> str:
    text = str(value)
    return text if WORD.fullmatch(text) else f'"{text}"'
