"""What lies in what: scopes, the steps of loops, and runs of many, as one tree over the nodes.

A picture says of each node in which scopes it lies and at which step of which loops. Here both
become one tree of groups, so that a drawing can open and close them alike.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

WIDEST = 150  # children that a group may have before they are gathered into runs
RUN = 100  # children of such a run


@dataclass(frozen=True)
class Group:
    """A scope, one step of a loop, or a run of neighbours, as its ``kind`` says.

    ``parent`` is the number of the group around it, or -1. ``family`` is equal for the same group
    at other steps of the loops around it, so that one opened in a step is open in the next.
    ``loop`` is the number of a step's loop, ``turn`` that of its one execution, else both are -1.

    >>> Group("block", kind="scope", parent=-1, family="/block").step
    -1
    """

    name: str
    kind: str
    parent: int
    family: str
    loop: int = -1
    turn: int = -1
    step: int = -1


@dataclass(frozen=True)
class Nesting:
    """The groups, the loops' names, and for each node of the picture its innermost group or -1.

    >>> Nesting((), (), ()).path(-1)
    []
    """

    groups: tuple[Group, ...]
    loops: tuple[str, ...]
    inside: tuple[int, ...]

    @cached_property
    def last_steps(self) -> dict[int, int]:
        """The last step of each turn of a loop."""
        found: dict[int, int] = {}
        for group in self.groups:
            if group.kind == "step":
                found[group.turn] = max(group.step, found.get(group.turn, group.step))
        return found

    def stop(self, group: int, opened: Collection[int]) -> tuple[int, int]:
        """Return the outermost closed group around a group, or -1, and the open one around that."""
        parent = -1
        for each in self.path(group):
            found = self.groups[each]
            last = found.kind == "step" and found.step == self.last_steps[found.turn]
            if not last and each not in opened:
                return each, parent
            parent = each
        return -1, parent

    def path(self, group: int) -> list[int]:
        """Return the groups from the outermost to this one."""
        found = []
        while group >= 0:
            found.append(group)
            group = self.groups[group].parent
        return found[::-1]


def nest(picture: Mapping[str, Any]) -> Nesting:
    """Return the tree of a picture's groups.

    A scope whose nodes all belong to one step lies in that step; one with several steps lies around
    the loop. A source lies with its readers, in the innermost group that holds them all, but
    outside loops. More than `WIDEST` neighbours are gathered into runs, in the order of the nodes.

    >>> node = {"kind": "equation", "where": "", "name": "mul"}
    >>> nodes = [{**node, "id": n, "boxes": ["cell" + "#2" * n], "steps": [n]} for n in (0, 1)]
    >>> boxes = [{"key": key, "name": "cell", "parent": None} for key in ("cell", "cell#2")]
    >>> found = nest({"nodes": nodes, "boxes": boxes, "edges": []})
    >>> [(group.kind, group.name, group.family) for group in found.groups]
    [('step', 'step 0', '/0:'), ('scope', 'cell', '/0:/cell'),
     ('step', 'step 1', '/0:'), ('scope', 'cell', '/0:/cell')]
    """
    builder = _Builder(picture)
    builder.place_all()
    builder.gather_runs()
    return Nesting(tuple(builder.groups), tuple(builder.loops.values()), tuple(builder.inside))


class _Builder:
    """Makes the groups in the order in which the nodes reach them."""

    def __init__(self, picture: Mapping[str, Any]) -> None:
        self.nodes = picture["nodes"]
        self.names = {box["key"]: box["name"] for box in picture["boxes"]}
        self.depth = _loops_around(self.nodes)
        self.groups: list[Group] = []
        self.inside = [-1] * len(self.nodes)
        self.loops: dict[str, str] = {}  # family of a loop -> name
        self.known: dict[tuple[int, str] | tuple[int, int], int] = {}
        self.turns: dict[int, _Turn] = {}  # the loop that ran last in each group
        self.all_turns = 0
        self.siblings: dict[tuple[int, str], int] = {}
        place = {node["id"]: number for number, node in enumerate(self.nodes)}
        self.readers: list[list[int]] = [[] for _ in self.nodes]
        for edge in picture["edges"]:
            self.readers[place[edge["from"]]].append(place[edge["to"]])

    def place_all(self) -> None:
        """Find each node's group: arguments last, since theirs are given by their readers."""
        given = [number for number, node in enumerate(self.nodes) if _is_given(node)]
        for number in sorted(set(range(len(self.nodes))) - set(given)):
            self.inside[number] = self._group_of(self.nodes[number])
        nesting = Nesting(tuple(self.groups), (), ())
        for number in given:
            around = [nesting.path(self.inside[reader]) for reader in self.readers[number]]
            for level in zip(*around, strict=False):
                if len(set(level)) > 1 or self.groups[level[0]].kind == "step":
                    break
                self.inside[number] = level[0]

    def _group_of(self, node: Mapping[str, Any]) -> int:
        group, level, steps = -1, 0, node["steps"]
        for key in node["boxes"]:
            for step in steps[level : self.depth[key]]:
                group = self._step(group, step, node["where"])
            level = max(level, self.depth[key])
            group = self._scope(group, key)
        for step in steps[level:]:
            group = self._step(group, step, node["where"])
        return group

    def _scope(self, parent: int, key: str) -> int:
        found = self.known.get((parent, key))
        if found is None:
            name = self.names[key]
            again = self.siblings[parent, name] = self.siblings.get((parent, name), 0) + 1
            family = f"{self._family(parent)}/{name}" + (f"#{again}" if again > 1 else "")
            found = self.known[parent, key] = self._add(Group(name, "scope", parent, family))
        return found

    def _step(self, parent: int, step: int, where: str) -> int:
        turn = self.turns.get(parent)
        if turn is None or not turn.goes_on(step):
            number = turn.number + 1 if turn else 0
            family = f"{self._family(parent)}/{number}:"
            self.loops.setdefault(family, f"loop at {where}" if where else "loop")
            turn = self.turns[parent] = _Turn(number, self.all_turns, family)
            self.all_turns += 1
        turn.last = step
        found = self.known.get((turn.key, step))
        if found is None:
            loop = list(self.loops).index(turn.family)
            group = Group(f"step {step}", "step", parent, turn.family, loop, turn.key, step)
            found = self.known[turn.key, step] = self._add(group)
        return found

    def _family(self, group: int) -> str:
        return self.groups[group].family if group >= 0 else ""

    def _add(self, group: Group) -> int:
        self.groups.append(group)
        return len(self.groups) - 1

    def gather_runs(self) -> None:
        """Put groups around every hundred children, where there are too many."""
        children: dict[int, list[tuple[float, int, bool]]] = {}
        first = [float(len(self.nodes))] * len(self.groups)
        for number, group in enumerate(self.inside):
            read = min(self.readers[number], default=number)
            at = read - 0.5 if _is_given(self.nodes[number]) else number
            children.setdefault(group, []).append((at, number, False))
            while group >= 0:
                first[group] = min(first[group], at)
                group = self.groups[group].parent
        for number, group in enumerate(self.groups):
            if group.kind != "step":  # of a loop's steps only one is shown at a time
                children.setdefault(group.parent, []).append((first[number], number, True))
        for parent, members in children.items():
            self._gather(parent, sorted(members))

    def _gather(self, parent: int, members: list[tuple[float, int, bool]]) -> None:
        while len(members) > WIDEST:
            runs = []
            count = -(-len(members) // RUN)
            for number in range(count):
                start = number * len(members) // count
                part = members[start : (number + 1) * len(members) // count]
                family = f"{self._family(parent)}/{len(members)}:{start}"
                name = f"{self._name(part[0])} … {self._name(part[-1])}"
                run = self._add(Group(name, "run", parent, family))
                for _, member, is_group in part:
                    self._move(member, is_group, run)
                runs.append((part[0][0], run, True))
            members = runs

    def _name(self, member: tuple[float, int, bool]) -> str:
        _, number, is_group = member
        return self.groups[number].name if is_group else self.nodes[number]["name"]

    def _move(self, number: int, is_group: bool, parent: int) -> None:
        if is_group:
            self.groups[number] = replace(self.groups[number], parent=parent)
        else:
            self.inside[number] = parent


def _is_given(node: Mapping[str, Any]) -> bool:
    """Return whether a node is an argument or a constant, which no scope has made."""
    return node["kind"] in ("source", "constant") and not node["boxes"] and not node["steps"]


class _Turn:
    """One execution of a loop: its steps only ever rise, or only ever fall."""

    def __init__(self, number: int, key: int, family: str) -> None:
        self.number = number
        self.key = key
        self.family = family
        self.last: int | None = None
        self.direction = 0

    def goes_on(self, step: int) -> bool:
        change = step - self.last if self.last is not None else 0
        sign = (change > 0) - (change < 0)
        if sign and not self.direction:
            self.direction = sign
        return sign in (0, self.direction)


def _loops_around(nodes: Collection[Mapping[str, Any]]) -> dict[str, int]:
    """Return how many loops go around each scope: the steps that all nodes in it share."""
    shared: dict[str, list[int]] = {}
    for node in nodes:
        for key in node["boxes"]:
            steps = shared.setdefault(key, list(node["steps"]))
            same = [a == b for a, b in zip(steps, node["steps"], strict=False)] + [False]
            del steps[same.index(False) :]
    return {key: len(steps) for key, steps in shared.items()}
