"""A composed pack, ready to label turns: all nodes are worked out in one call, each pack among them runs once a batch.

A label that comes to nothing (a pack has no answer, a row is not there) is left out of the scores: it abstains.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path

from models.compose.manifest import Example, Part
from models.compose.plan import plan
from models.compose.tables import SQLITE, Rows, TableFile, typed_rows
from models.compose.turn import Judged, judge
from models.compose.values import Unknown
from models.errors import ModelError, PackInvalid
from models.pack import MANIFEST, Pack
from models.tasks.labelling import About, Labeller
from models.tasks.text_labels import LabelScore, Speaking


class Composed(Speaking):
    """A composed pack with its parts. May be shared by threads."""

    def __init__(self, pack: Pack, part: Callable[[str], Labeller], site: Path | None) -> None:
        """`part` gives another pack by name, `site` is the site's folder, where its tables are. Raises PackInvalid
        naming manifest and node when anything in `[compose]` does not fit."""
        manifest, self._where = pack.manifest, str(pack.folder / MANIFEST)
        if manifest.compose is None or manifest.task != "text-labels" or manifest.runtime != "compose":
            raise PackInvalid(f'{self._where}: [compose] goes with task = "text-labels" and runtime = "compose" only.')
        compose = self._compose = manifest.compose
        if not set(manifest.labels) == set(manifest.thresholds) == set(compose.labels):
            raise PackInvalid(f"{self._where}: labels, thresholds and compose.labels differ; name the same in each.")
        self._plan = plan(compose, self._where)
        self._parts = {one.pack: self._part(node, one, part) for node, one in compose.packs.items()}
        self._tables = {name: self._table(name, pack, site) for name in compose.tables}
        self.name, self.version, self.languages = manifest.name, manifest.version, manifest.languages
        self.labels, self.thresholds = manifest.labels, manifest.thresholds

    def open(self) -> None:
        """Load the models of all parts. Raises ModelError."""
        for part in self._parts.values():
            part.open()

    def score(
        self, texts: Sequence[str], before: Sequence[str] = (), about: Sequence[About] = (), /
    ) -> list[list[LabelScore]]:
        """See `models.tasks.labelling.Labeller.score`."""
        return [judged.scores for judged in self.judge(texts, before, about)]

    def judge(self, texts: Sequence[str], before: Sequence[str] = (), about: Sequence[About] = ()) -> list[Judged]:
        """What the pack says of each turn, and of each label that it leaves out why. Without `about` a turn has no
        names and no subject, and was said today."""
        return self._judge(texts, before, about, {name: table.rows() for name, table in self._tables.items()})

    def prove(self) -> None:
        """The self-test: every example must get its labels here. Not figures are compared, as of a model, but what is
        called: the figures are those of the parts, which prove theirs and may be newer than this pack. Raises
        PackInvalid."""
        if not self._compose.examples:
            raise PackInvalid(f"{self._where} has no compose.examples, so nothing shows that it works here; add one.")
        for number, example in enumerate(self._compose.examples, 1):
            place = f"{self._where}: compose.examples[{number}]"
            about = About(
                language=example.language, subject=example.subject, names=tuple(example.names.items()), day=example.day
            )
            (judged,) = self._judge([example.text], [""], [about], self._given(example, place))
            called = {one.label: one.probability for one in judged.scores if self._calls(one)}
            if called.keys() != set(example.labels):
                got = ", ".join(f"{label} {probability:.2f}" for label, probability in called.items()) or "no label"
                why = "".join(f"; {label} abstains: {reason}" for label, reason in judged.abstains.items())
                wanted = ", ".join(example.labels) or "none"
                raise PackInvalid(f"{place} fails here: {example.text!r} gets {got}, where {wanted} is due{why}.")

    def _calls(self, score: LabelScore) -> bool:
        return score.probability >= self.thresholds[score.label]

    # ---- what it is made of ----------------------------------------------------------------------------------

    def _part(self, node: str, one: Part, part: Callable[[str], Labeller]) -> Labeller:
        place = f"{self._where}: compose.packs.{node}"
        try:
            labeller = part(one.pack)
        except ModelError as error:
            raise PackInvalid(f"{place}: {error}") from None
        if one.label not in labeller.labels:
            raise PackInvalid(
                f"{place}: the pack {one.pack} {labeller.version} has no label {one.label!r}; "
                f"name one of {', '.join(labeller.labels)}."
            )
        return labeller

    def _table(self, name: str, pack: Pack, site: Path | None) -> TableFile:
        table = self._compose.tables[name]
        place = f"{self._where}: compose.tables.{name}"
        if (Path(table.file).suffix in SQLITE) != bool(table.rows):
            raise PackInvalid(f"{place}: `rows` names the table in an SQLite file, and only there; correct it.")
        folder = pack.folder if table.inside == "pack" else site
        if folder is None:
            raise PackInvalid(f"{place} lies in a site's folder; name the site's packs (--packs SITE/data/packs).")
        if table.inside == "pack" and table.file not in pack.manifest.files:
            raise PackInvalid(f"{place}: {table.file} is not among the pack's `files`; add it there with its SHA-256.")
        path = (folder / table.file).resolve()
        if not path.is_relative_to(folder.resolve()) or (
            table.inside == "site" and path.is_relative_to(folder.resolve() / "data")  # the gateway's own
        ):
            raise PackInvalid(f"{place}: {table.file} lies outside, or in the gateway's own data; move it.")
        try:
            return TableFile(name, table, path)
        except PackInvalid as error:
            raise PackInvalid(f"{place}: {error}") from None

    def _given(self, example: Example, place: str) -> Mapping[str, Rows | Unknown]:
        strange = example.tables.keys() - self._compose.tables.keys()
        if strange:
            raise PackInvalid(f"{place}: {min(strange)!r} is none of compose.tables; correct its name.")
        return {
            name: typed_rows(
                table,
                ((f"row {number}", row) for number, row in enumerate(example.tables.get(name, ()), 1)),
                f"{place}.tables.{name}",
            )
            for name, table in self._compose.tables.items()
        }

    # ---- a batch of turns ------------------------------------------------------------------------------------

    def _judge(
        self,
        texts: Sequence[str],
        before: Sequence[str],
        about: Sequence[About],
        tables: Mapping[str, Rows | Unknown],
    ) -> list[Judged]:
        earlier = before or [""] * len(texts)
        known = about or [About(day=date.today())] * len(texts)
        said = {name: _said(part, texts, earlier, known) for name, part in self._parts.items()}
        return [
            judge(
                self._compose, self._plan, text, what, {name: by_turn[number] for name, by_turn in said.items()}, tables
            )
            for number, (text, what) in enumerate(zip(texts, known, strict=True))
        ]


def _said(
    part: Labeller, texts: Sequence[str], before: Sequence[str], about: Sequence[About]
) -> list[Sequence[LabelScore] | Unknown]:
    """What a part says by turn: one run over all turns that it does not abstain from."""
    why = [part.abstains(text, what.language) for text, what in zip(texts, about, strict=True)]
    heard = [number for number, reason in enumerate(why) if not reason]
    scored = iter(
        part.score([texts[n] for n in heard], [before[n] for n in heard], [about[n] for n in heard]) if heard else ()
    )
    return [Unknown(reason) if reason else next(scored) for reason in why]
