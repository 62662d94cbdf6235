"""One turn through the nodes of a composed pack: what each comes to, what the labels do, and why."""

from collections.abc import Mapping, Sequence
from datetime import date

import msgspec

from models.compose.manifest import Compose
from models.compose.plan import Plan
from models.compose.tables import Rows
from models.compose.values import Truth, Unknown, Value, evaluate
from models.tasks.labelling import About
from models.tasks.text_labels import Known, LabelScore

LEAST = 1e-12  # what keeps a slope finite where a probability is 0 or 1

Said = Mapping[str, Sequence[LabelScore] | Unknown]
"""What each pack says of a turn; Unknown: why it abstains."""


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """What a composed pack says of a turn: the scores of the labels that have an answer, and why the others abstain."""

    scores: list[LabelScore]
    abstains: dict[str, str]


class _Worked(msgspec.Struct, frozen=True):
    """What the nodes came to, what people are told of each, and the score of those that are labels of packs."""

    values: dict[str, Value]
    known: dict[str, tuple[Known, ...]]
    scores: dict[str, LabelScore]


def judge(
    compose: Compose, plan: Plan, text: str, about: About, said: Said, tables: Mapping[str, Rows | Unknown]
) -> Judged:
    """Work out all nodes of a turn, each once, then every label."""
    worked = _work_out(compose, plan, text, about, said, tables)
    scores: list[LabelScore] = []
    abstains: dict[str, str] = {}
    for label, tree in plan.labels.items():
        match evaluate(tree, worked.values):
            case Unknown(why):
                abstains[label] = why
            case Truth() as truth:
                known = (one for node in plan.made_of[label] for one in worked.known.get(node, ()))
                score = LabelScore(
                    label=label,
                    probability=truth.probability,
                    contributions=_contributions(truth, worked.scores),
                    known=tuple(dict.fromkeys(known)),
                )
                scores.append(score)
    return Judged(scores=scores, abstains=abstains)


def _work_out(
    compose: Compose, plan: Plan, text: str, about: About, said: Said, tables: Mapping[str, Rows | Unknown]
) -> _Worked:
    subject = about.subject or Unknown("nobody said what it is about")
    values: dict[str, Value] = {"text": text, "subject": subject, "today": about.day}
    known: dict[str, tuple[Known, ...]] = {"today": (Known("", "today", "", about.day.isoformat()),)}
    scores: dict[str, LabelScore] = {}
    for node, kind in compose.names.items():
        named = next((name for of_kind, name in about.names if of_kind == kind), None)
        values[node] = named or Unknown(f"no {kind} is named in it")
        if named:
            known[node] = (Known("", node, "", named),)
    for node, part in compose.packs.items():
        found = _score_of(part.label, said[part.pack])
        if isinstance(found, Unknown):
            values[node] = Unknown(f"{part.pack}: {found.why}")
        else:
            values[node] = Truth(found.probability, {node: 1.0})
            known[node] = (Known(part.pack, part.label, "", f"{found.probability:.2f}"), *found.known)
            scores[node] = found
    for node, tree in plan.expressions.items():
        value = evaluate(tree, values)
        lookup = compose.lookups.get(node)
        if lookup is None:
            values[node] = value
            known[node] = (Known("", node, "", _shown(value)),)
        elif isinstance(value, str):
            values[node] = _cell(tables[lookup.table], lookup.table, value, lookup.column)
            known[node] = (Known(lookup.table, lookup.column, value, _shown(values[node])),)
        else:
            values[node] = value  # no key, and why
    return _Worked(values, known, scores)


def _score_of(label: str, said: Sequence[LabelScore] | Unknown) -> LabelScore | Unknown:
    if isinstance(said, Unknown):
        return said
    return next((score for score in said if score.label == label), Unknown(f"it has no answer on {label}"))


def _cell(rows: Rows | Unknown, table: str, key: str, column: str) -> Value:
    if isinstance(rows, Unknown):
        return rows
    return rows[key][column] if key in rows else Unknown(f"{table} has no row for {key}")


def _contributions(truth: Truth, scores: Mapping[str, LabelScore]) -> tuple[tuple[int, int, float], ...]:
    """What each stretch of the turn added to the label's log-odds, to the first order: what it added to those of a
    part, times how much the label's rise with the part's (the chain rule; 1 where the part alone decides)."""
    spread = max(truth.probability * (1.0 - truth.probability), LEAST)
    words: dict[tuple[int, int], float] = {}
    for node, slope in truth.slopes.items():
        share = slope * scores[node].probability * (1.0 - scores[node].probability) / spread
        for start, end, weight in scores[node].contributions if share else ():
            words[start, end] = words.get((start, end), 0.0) + share * weight
    return tuple(sorted(((start, end, weight) for (start, end), weight in words.items()), key=lambda one: -one[2]))


def _shown(value: Value) -> str:
    """A value as people write it; of what is not known `?`."""
    match value:
        case float():
            return f"{value:.12g}"
        case date():
            return value.isoformat()
        case Truth(probability):
            return {0.0: "no", 1.0: "yes"}.get(probability, f"{probability:.2f}")
        case Unknown():
            return "?"
    return value
