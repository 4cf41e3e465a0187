"""Head direction: on which side of their heads dependents stand."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from alignmlm.syntax.trees import ROOT, Tree

RELATIONS = (
    "amod", "nummod", "det", "nmod", "acl", "acl:relcl", "appos", "nsubj", "obj", "iobj", "obl",
    "xcomp", "ccomp", "advcl", "advmod", "aux", "cop", "case", "mark", "cc", "conj", "punct",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class HeadDirection:
    """Dependents of one relation."""

    after: int  # those that follow their head
    total: int

    @property
    def share(self) -> float:
        """Share of dependents after their head, in [0, 1]; 0 where there are none."""
        return self.after / max(self.total, 1)


def directions(trees: Iterable[Tree]) -> Mapping[str, HeadDirection]:
    """Dependents after their head, by relation; those of "acl:relcl" count under "acl" too."""
    after: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for tree in trees:
        for word, (head, relation) in enumerate(zip(tree.heads, tree.relations, strict=True)):
            if head != ROOT:
                names = {relation, relation.split(":")[0]}
                total.update(names)
                after.update(names if word > head else ())
    return {name: HeadDirection(after[name], total[name]) for name in sorted(total)}
