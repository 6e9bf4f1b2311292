"""Reader of parameters.yml: metaparameters, and rules for their combinations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from framework.configuration.metaparameter import read_dimension, read_values
from framework.configuration.yaml_nodes import (
    Entry,
    MappingNode,
    Node,
    Position,
    Problems,
    ScalarNode,
    SequenceNode,
    UnusableNode,
    entries_of,
    nearest,
    read_yaml,
)
from framework.space.expressions import Expression, parse_expression
from framework.space.product import Dimension, Space, WrongExpressionError, listed
from framework.space.sampling import SEED
from framework.space.values import Value, canonical, name_problem, options_with

RESERVED = ("zip", "exclude", "where", "include", "seeds")
_MOST_SHOWN = 8  # values in a message


def read_parameters(file: Path, problems: Problems, *, grid: bool = True) -> Space:
    """The space that `file` describes; each mistake in it is added to `problems`.

    `grid`: every combination runs, so that there have to be finitely many.
    """
    before = len(problems)
    node = read_yaml(file, problems)
    entries = entries_of(node, "C: [0.1, 1, 10]", problems)
    rules = {entry.name: entry.node for entry in entries if entry.name in RESERVED}
    if len(rules) == len(entries) and len(problems) == before:
        problems.add(Position(file, 1, 1), "no metaparameters; write lines as 'C: [0.1, 1, 10]'")
    return read_space(
        Position(file, 1, 1),
        [entry for entry in entries if entry.name not in RESERVED],
        rules,
        problems,
        grid=grid,
    )


def read_space(
    top: Position,
    entries: Sequence[Entry],
    rules: Mapping[str, Node],
    problems: Problems,
    *,
    grid: bool,
    is_wandb: bool = False,
) -> Space:
    """The space of the metaparameters in `entries`, and of `rules` by their names, which are in RESERVED.

    `top`: the beginning of the file. `problems` and `grid`: see read_parameters(). `is_wandb`: see
    read_values().
    """
    return _Reader(top, rules, grid, problems, is_wandb).read(entries)


@dataclass(frozen=True)
class _When:
    """A rule `when`; within `prefix`, a name may be written without it."""

    node: Node
    prefix: str


@dataclass(frozen=True)
class _Metaparameter:
    name: str
    position: Position  # of the name
    place: Position  # of the node
    dimension: Dimension | Expression
    when: tuple[_When, ...]  # the rules under which it exists, the outermost first
    path: tuple[str, ...]  # the names of the mappings around it, then its own
    is_drawn: bool  # whole numbers, given by their limits


class _Reader:
    def __init__(
        self, top: Position, rules: Mapping[str, Node], grid: bool, problems: Problems, is_wandb: bool
    ) -> None:
        self._top = top
        self._rules = rules
        self._grid = grid
        self._problems = problems
        self._is_wandb = is_wandb
        self._dimensions: dict[str, Dimension | Expression] = {}

    def read(self, entries: Sequence[Entry]) -> Space:
        """The space; an empty one if anything is wrong, which is then among the problems."""
        before = len(self._problems)
        groups = self._read_groups()
        found = self._read_all(entries, {name for group in groups for name in group})
        self._dimensions = {name: each.dimension for name, each in found.items()}
        conditions = self._read_conditions(found)
        self._check_computed(found)
        self._check_groups(groups, conditions)
        excluded = self._read_excluded()
        where = self._read_where()
        seeds = self._read_seeds()
        empty = any(isinstance(each, Sequence) and not each for each in self._dimensions.values())
        if empty or len(self._problems) > before:
            return Space({})  # rules on wrong metaparameters would add problems that are none
        try:
            space = Space(
                self._dimensions,
                conditions=conditions,
                zipped=list(groups),
                excluded=excluded,
                where=[expression for expression, _ in where],
                seeds=seeds,
                paths={name: each.path for name, each in found.items() if len(each.path) > 1},
                drawn=[name for name, each in found.items() if each.is_drawn],
            )
        except WrongExpressionError as error:
            places = [*where, *((each.dimension, each.place) for each in found.values())]
            self._add(next(place for each, place in places if each is error.expression), str(error))
            return Space({})
        except ValueError as error:
            self._add(self._place_of_rules(), str(error))
            return Space({})
        included = self._read_included(space)
        if not space.count and not included:
            self._add(self._place_of_rules(), "every combination is excluded; take out fewer")
        elif space.count and not space.mass:
            self._add(self._place_of_rules(), "only values of probability 0 are left; take out fewer")
        return space.including(included)

    def _read_all(self, entries: Sequence[Entry], zipped: set[str]) -> dict[str, _Metaparameter]:
        """All metaparameters by name; wrong names, and those that come twice, become problems."""
        found: dict[str, _Metaparameter] = {}
        for each in self._read_metaparameters(entries, (), (), zipped):
            problem = name_problem(each.name)
            if problem:
                self._add(each.position, problem)
            if each.name in found:
                line = found[each.name].position.line
                self._add(each.position, f"{each.name!r} is defined twice, first in line {line}; keep one")
            found.setdefault(each.name, each)
        return found

    def _place_of_rules(self) -> Position:
        """The place of the first rule that takes combinations out."""
        places = [node.position for rule, node in self._rules.items() if rule in ("exclude", "where")]
        return places[0] if places else self._top

    def _read_metaparameters(
        self, entries: Sequence[Entry], outer: tuple[str, ...], when: tuple[_When, ...], zipped: set[str]
    ) -> Iterator[_Metaparameter]:
        """The metaparameters of a mapping, and those of nested mappings, named outer.inner."""
        prefix = "".join(f"{each}." for each in outer)
        for entry in entries:
            path, own = (*outer, entry.name), entry.node
            name = ".".join(path)
            inner = {each.name: each for each in own.entries} if isinstance(own, MappingNode) else {}
            condition = inner.pop("when", None)
            both = when if condition is None else (*when, _When(condition.node, prefix))
            if "parameters" in inner:
                nested = inner.pop("parameters").node
                for other in inner.values():
                    self._add(other.position, f"{other.name} cannot be used with parameters; remove it")
                if isinstance(nested, MappingNode) and nested.entries:
                    yield from self._read_metaparameters(nested.entries, path, both, zipped)
                elif not isinstance(nested, UnusableNode):
                    self._add(nested.position, "parameters holds metaparameters; write them as 'C: …' lines")
                continue
            dimension = read_dimension(
                own, list(inner.values()), name in zipped, self._grid, self._problems, self._is_wandb
            )
            is_drawn = "min" in inner and isinstance(dimension, range)
            yield _Metaparameter(name, entry.position, own.position, dimension, both, path, is_drawn)

    def _read_groups(self) -> dict[tuple[str, ...], Position]:
        """The groups of names that are zipped, and the position of each group."""
        node = self._rules.get("zip")
        if node is None or isinstance(node, UnusableNode):
            return {}
        lists: list[Node] = [node]
        if isinstance(node, SequenceNode) and not all(isinstance(item, ScalarNode) for item in node.items):
            lists = list(node.items)
        groups: dict[tuple[str, ...], Position] = {}
        for each in lists:
            items = each.items if isinstance(each, SequenceNode) else ()
            names = tuple(item.text for item in items if isinstance(item, ScalarNode))
            if len(names) < 2 or len(names) < len(items):
                self._add(
                    each.position,
                    "zip takes two or more names that move together; write [a, b], or [[a, b], …]",
                )
                continue
            taken = {name for group in groups for name in group}
            twice = [name for number, name in enumerate(names) if name in taken or name in names[:number]]
            if twice:
                self._add(each.position, f"{twice[0]} is zipped twice; name it once")
                continue
            groups[names] = each.position
        return groups

    def _check_groups(
        self,
        groups: Mapping[tuple[str, ...], Position],
        conditions: Mapping[str, Mapping[str, Sequence[Value]]],
    ) -> None:
        for names, position in groups.items():
            known = [self._check_name(name, position) for name in names]
            if not all(known):
                continue
            dimensions = [self._dimensions[name] for name in names]
            if not all(isinstance(dimension, Sequence) for dimension in dimensions):
                self._add(
                    position,
                    "zip takes lists of values, not distributions or expressions; write values: […]",
                )
                continue
            lengths = [len(listed(dimension)) for dimension in dimensions]
            if 0 in lengths:
                continue  # already among the problems
            if len(set(lengths)) > 1:
                have = ", ".join(f"{name} has {length}" for name, length in zip(names, lengths, strict=True))
                self._add(position, f"zip takes lists of one length, but {have} values; make them agree")
            elif _have_repeats(dimensions):
                self._add(
                    position, f"{', '.join(names)} have the same values in two places; remove one of them"
                )
            if any(conditions.get(name) != conditions.get(names[0]) for name in names):
                self._add(position, f"{', '.join(names)} move together; give all of them the same when")

    def _read_conditions(self, found: Mapping[str, _Metaparameter]) -> dict[str, dict[str, list[Value]]]:
        conditions = {}
        for name, each in found.items():
            if not each.when:
                continue
            wanted: dict[str, list[Value]] = {}
            for when in each.when:
                self._check_order(name, when, found)
                for other, values in self._read_rule(when.node, "when", when.prefix).items():
                    wanted[other] = _common(wanted.get(other, values), values)
                    if values and not wanted[other]:
                        self._add(
                            when.node.position,
                            f"{name} never exists: the when around this wants another {other}; remove it",
                        )
            conditions[name] = wanted
        return conditions

    def _check_order(self, name: str, when: _When, found: Mapping[str, _Metaparameter]) -> None:
        """Add to the problems each metaparameter of a rule that comes after the one that the rule is of."""
        order = list(found)
        for entry in when.node.entries if isinstance(when.node, MappingNode) else ():
            other = self._full_name(entry.name, when.prefix)
            if other in found and order.index(other) >= order.index(name):
                self._add(entry.position, f"{other} has to be defined before {name}; move it up")

    def _full_name(self, name: str, prefix: str) -> str:
        """The metaparameter of that name, or of that name within the nested mappings of `prefix`."""
        while name not in self._dimensions and prefix:
            if prefix + name in self._dimensions:
                return prefix + name
            prefix = prefix[: prefix[:-1].rfind(".") + 1]
        return name

    def _check_computed(self, found: Mapping[str, _Metaparameter]) -> None:
        order = list(found)
        for name, each in found.items():
            for other in each.dimension.names if isinstance(each.dimension, Expression) else ():
                if other not in found:
                    self._add(
                        each.place,
                        f"no metaparameter {other!r}; {nearest(other, found)}; put text in quotes",
                    )
                elif order.index(other) >= order.index(name):
                    self._add(each.place, f"{other} has to be defined before {name}; move it up")

    def _read_where(self) -> list[tuple[Expression, Position]]:
        node = self._rules.get("where")
        if node is None or isinstance(node, UnusableNode):
            return []
        found = []
        for item in node.items if isinstance(node, SequenceNode) else [node]:
            if not isinstance(item, ScalarNode) or not isinstance(item.value, str) or not item.value:
                self._add(
                    item.position,
                    "where takes comparisons of metaparameters; write text, as in 'batch * steps <= 512'",
                )
                continue
            try:
                expression = parse_expression(item.text)
            except ValueError as error:
                self._add(item.position, str(error))
                continue
            if not expression.names:
                self._add(item.position, f"no metaparameter in {item.text!r}; write one, or remove the rule")
                continue
            unknown = [name for name in expression.names if not self._check_name(name, item.position)]
            if not unknown:
                found.append((expression, item.position))
        return found

    def _read_excluded(self) -> list[dict[str, list[Value]]]:
        rules = [self._read_rule(item, "exclude") for item in self._read_list("exclude")]
        return [rule for rule in rules if rule]  # an empty one was wrong

    def _read_included(self, space: Space) -> list[dict[str, Value]]:
        included: list[dict[str, Value]] = []
        for item in self._read_list("include"):
            before = len(self._problems)
            given = self._read_rule(item, "include")
            for name, values in given.items():
                if len(values) != 1:
                    self._add(item.position, f"{name} has {len(values)} values; write a combination for each")
            if len(self._problems) > before:
                continue
            combination = self._complete(item, {name: values[0] for name, values in given.items()}, space)
            number = space.index_of(combination)
            if len(self._problems) > before:
                continue
            if number is not None:
                self._add(
                    item.position, f"this is combination {number + 1} of the product already; remove it"
                )
            elif canonical(combination) in map(canonical, included):
                self._add(item.position, "this combination is included already; remove it")
            included.append(combination)
        return included

    def _complete(self, node: Node, given: Mapping[str, Value], space: Space) -> dict[str, Value]:
        """An included combination in the order of the file; metaparameters of one value are added to it."""
        combination: dict[str, Value] = {}
        for name in space.names:
            exists = space.exists(name, combination)
            dimension = space.dimensions.get(name, ())
            if name in space.computed:
                self._complete_computed(node, name, given, combination, space)
            elif name in given:
                combination[name] = given[name]
                if not exists:
                    self._add(
                        node.position, f"{name} does not exist in this combination, by its when; remove it"
                    )
            elif exists and len(listed(dimension)) == 1:
                combination[name] = listed(dimension)[0]
            elif exists:
                self._add(node.position, f"no {name}; write {name}: …, as each metaparameter needs a value")
        return combination

    def _complete_computed(
        self,
        node: Node,
        name: str,
        given: Mapping[str, Value],
        combination: dict[str, Value],
        space: Space,
    ) -> None:
        try:
            completed = space.complete(combination)
        except WrongExpressionError as error:
            self._add(node.position, str(error))
            return
        if name in given and (name not in completed or canonical(given[name]) != canonical(completed[name])):
            computed = f"is {completed[name]!r}" if name in completed else "does not exist"
            self._add(node.position, f"{name} is computed, and {computed} here; remove it")
        if name in completed:
            combination[name] = completed[name]

    def _read_seeds(self) -> int | None:
        node = self._rules.get("seeds")
        if node is None or isinstance(node, UnusableNode):
            return None
        value = node.value if isinstance(node, ScalarNode) else None
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            self._add(
                node.position,
                "seeds is the number of runs of each combination; write a whole number, as in seeds: 3",
            )
            return None
        if SEED in self._dimensions:
            self._add(
                node.position,
                f"seeds adds a metaparameter {SEED}, which is defined already; remove one of them",
            )
        return value

    def _read_list(self, rule: str) -> Sequence[Node]:
        node = self._rules.get(rule)
        match node:
            case None | UnusableNode():
                return ()
            case SequenceNode(items=items, is_tuple=False) if items:
                return items
        self._add(
            node.position,
            f"{rule} is reserved for a list of combinations; write it as [{{C: 1, kernel: rbf}}]",
        )
        return ()

    def _read_rule(self, node: Node, rule: str, prefix: str = "") -> dict[str, list[Value]]:
        """A rule as the values of each metaparameter in it; unknown metaparameters become problems.

        Within nested mappings, whose names begin with `prefix`, names may be written without it.
        """
        wanted: dict[str, list[Value]] = {}
        if isinstance(node, UnusableNode):
            return wanted
        if not isinstance(node, MappingNode) or not node.entries:
            self._add(node.position, f"{rule} takes metaparameters and values; write it as {{kernel: rbf}}")
            return wanted
        for each in node.entries:
            entry = replace(each, name=self._full_name(each.name, prefix))
            if not self._check_name(entry.name, entry.position):
                continue
            nodes: Sequence[Node] = [entry.node]
            if isinstance(entry.node, SequenceNode) and not self._is_one_value(entry.name, entry.node):
                nodes = entry.node.items
            wanted[entry.name] = read_values(nodes, self._problems, is_wandb=self._is_wandb)
            if not nodes:
                self._add(entry.node.position, f"no value of {entry.name}; write one, or remove the name")
            if rule != "include":
                self._check_values(entry, wanted[entry.name])
        return wanted

    def _is_one_value(self, name: str, node: SequenceNode) -> bool:
        """True if a list in a rule is a value of the metaparameter itself, and not several of them."""
        known = listed(self._dimensions[name])
        if not isinstance(known, list | tuple) or not any(isinstance(each, list) for each in known):
            return False
        if any(isinstance(item, SequenceNode) for item in node.items):
            return False
        values = read_values([node], Problems(), is_wandb=self._is_wandb)
        return all(isinstance(each, list) for each in known) or any(
            options_with(known, value) for value in values
        )

    def _check_values(self, entry: Entry, values: Sequence[Value]) -> None:
        dimension = self._dimensions[entry.name]
        known = listed(dimension)
        if not known:
            if not isinstance(dimension, Sequence):
                how = "computed" if isinstance(dimension, Expression) else "drawn from a distribution"
                self._add(entry.position, f"{entry.name} is {how}; use a metaparameter with a list of values")
            return
        for value in values:
            if not options_with(known, value):
                shown = ", ".join(repr(each) for each in known[:_MOST_SHOWN])
                more = ", …" if len(known) > _MOST_SHOWN else ""
                self._add(entry.node.position, f"{entry.name} is never {value!r}; it is one of {shown}{more}")

    def _check_name(self, name: str, position: Position) -> bool:
        """True for the name of a metaparameter; any other name becomes a problem."""
        if name not in self._dimensions:
            self._add(position, f"no metaparameter {name!r}; {nearest(name, self._dimensions)}")
        return name in self._dimensions

    def _add(self, position: Position, problem: str) -> None:
        self._problems.add(position, problem)


def _common(some: Sequence[Value], others: Sequence[Value]) -> list[Value]:
    return [value for value in some if options_with(others, value)]


def _have_repeats(dimensions: Sequence[Dimension | Expression]) -> bool:
    rows = list(zip(*(listed(dimension) for dimension in dimensions), strict=True))
    return len(set(map(canonical, rows))) < len(rows)
