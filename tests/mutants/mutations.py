"""Makes mutants: copies of a module with one small change each, by cosmic-ray's operators."""

from __future__ import annotations

import ast
import difflib
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import parso
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.keyword_replacer import KeywordReplacementOperator
from cosmic_ray.operators.number_replacer import NumberReplacer
from cosmic_ray.operators.operator import Operator
from cosmic_ray.plugins import get_operator

_PAIRS = {
    'Binary': 'Add_Sub Sub_Add Mul_Add Div_Mul FloorDiv_Mul Mod_Mul Pow_Mul LShift_RShift '
    'RShift_LShift BitOr_BitAnd BitAnd_BitOr BitXor_BitOr',
    # the opposite, and the boundary
    'Comparison': 'Eq_NotEq NotEq_Eq Is_IsNot IsNot_Is Lt_GtE Lt_LtE LtE_Gt LtE_Lt Gt_LtE Gt_GtE '
    'GtE_Lt GtE_Gt',
    'Unary': 'USub_UAdd Delete_Not Delete_Invert',
}
# The rest of cosmic-ray's 213 operators make much the same mutants again.
_NAMES = [
    *(f'Replace{kind}Operator_{pair}' for kind, pairs in _PAIRS.items() for pair in pairs.split()),
    'AddNot',
    'RemoveDecorator',
    'ReplaceAndWithOr',
    'ReplaceBreakWithContinue',
    'ReplaceContinueWithBreak',
    'ReplaceFalseWithTrue',
    'ReplaceOrWithAnd',
    'ReplaceTrueWithFalse',
    'ZeroIterationForLoop',
]


class _RemoveStatement(Operator):
    """Replaces a statement of a function by ``pass``."""

    def mutation_positions(self, node):
        if (
            node.parent is not None
            and node.parent.type == 'simple_stmt'
            and (
                node.type in ('expr_stmt', 'atom_expr', 'raise_stmt', 'return_stmt', 'del_stmt')
                or (node.type == 'keyword' and node.value == 'return')
            )
            and parso.python.tree.search_ancestor(node, 'funcdef') is not None
        ):
            yield node.start_pos, node.end_pos

    def mutate(self, node, index):
        prefix = node.get_first_leaf().prefix
        return parso.python.tree.Keyword('pass', node.start_pos, prefix)

    @classmethod
    def examples(cls):
        return ()


class _ChangeNumber(NumberReplacer):
    """Leaves the white space as it was."""

    def mutate(self, node, index):
        prefix, number = node.prefix, super().mutate(node, index)
        return parso.python.tree.Number(number.value.strip(), node.start_pos, prefix)


class _ReplaceException(Operator):
    """Replaces a class in an ``except`` clause by one that does not exist.

    cosmic-ray's own operator knows plain names only, and no ``except (*TRANSIENT, ssl.SSLError)``.
    """

    def mutation_positions(self, node):
        if node.type == 'except_clause':
            for one in self._classes(node):
                yield one.start_pos, one.end_pos

    def mutate(self, node, index):
        replaced = self._classes(node)[index]
        prefix = replaced.get_first_leaf().prefix
        siblings = replaced.parent.children
        siblings[siblings.index(replaced)] = parso.python.tree.Name(
            'CosmicRayTestingException', replaced.start_pos, prefix
        )
        return node

    @staticmethod
    def _classes(node):
        classes = node.children[1]
        if classes.type == 'atom':
            classes = classes.children[1]
        return classes.children[::2] if classes.type == 'testlist_comp' else [classes]

    @classmethod
    def examples(cls):
        return ()


class _NegateIn(KeywordReplacementOperator):
    from_keyword = 'in'
    to_keyword = 'not in'

    def mutation_positions(self, node):
        if node.parent is not None and node.parent.type == 'comparison':
            yield from super().mutation_positions(node)


class Mutant(NamedTuple):
    """One change to a module, which its scope and code identify wherever the lines move to."""

    scope: str
    was: str
    now: str
    line: int
    source: str


def mutants_of(source: str) -> Iterator[Mutant]:
    """Yield every mutant that is not the same program as the source or an earlier mutant."""
    scopes = _scopes(source)
    seen = {None, _meaning(source)}
    changes = Counter[tuple[str, str, str]]()
    operators = [get_operator(f'core/{name}') for name in _NAMES]
    for operator in [*operators, _ReplaceException, _ChangeNumber, _NegateIn, _RemoveStatement]:
        occurrence = 0
        while (mutated := mutate_code(source, operator(), occurrence)) is not None:
            occurrence += 1
            meaning = _meaning(mutated)
            if meaning not in seen:
                seen.add(meaning)
                mutant = _mutant(source, mutated, scopes)
                changes[mutant[:3]] += 1
                if (count := changes[mutant[:3]]) > 1:  # of the same line in the same function
                    mutant = mutant._replace(now=f'{mutant.now}  # {count}')
                yield mutant


def _mutant(source: str, mutated: str, scopes: list[tuple[range, str]]) -> Mutant:
    old, new = source.splitlines(), mutated.splitlines()
    changes = [
        change
        for change in difflib.SequenceMatcher(None, old, new, False).get_opcodes()
        if change[0] != 'equal'
    ]
    first, last = changes[0], changes[-1]
    was, now = old[first[1] : last[2]], new[first[3] : last[4]]
    line = first[1] + 1
    scope = next((name for lines, name in scopes if line in lines), '')
    return Mutant(scope, _one_line(was), _one_line(now), line, mutated)


def _one_line(lines: list[str]) -> str:
    """The code of these lines, with neither comments nor line breaks."""
    leaf, code = parso.parse('\n'.join(lines)).get_first_leaf(), ''
    while leaf is not None:
        code += ' ' * bool(leaf.prefix) + leaf.value
        leaf = leaf.get_next_leaf()
    return ' '.join(code.split())


def _scopes(source: str) -> list[tuple[range, str]]:
    """The lines and the qualified name of every function and class, the innermost first."""
    found = []

    def visit(node: ast.AST, name: str) -> None:
        for child in ast.iter_child_nodes(node):
            inner = name
            if isinstance(child, (ast.FunctionDef, ast.ClassDef)):
                inner = f'{name}.{child.name}'.lstrip('.')
                start = min([child.lineno, *(one.lineno for one in child.decorator_list)])
                found.append((range(start, child.end_lineno + 1), inner))
            visit(child, inner)

    visit(ast.parse(source), '')
    return sorted(found, key=lambda scope: len(scope[0]))


class _Simplified(ast.NodeTransformer):
    """Leaves out annotations, which nobody evaluates, and reads "not a < b" as "a >= b"."""

    def visit_arg(self, node):
        node.annotation = None
        return node

    def visit_FunctionDef(self, node):
        node.returns = None
        return self.generic_visit(node)

    def visit_AnnAssign(self, node):
        node.annotation = ast.Constant(None)
        return ast.Pass() if node.value is None else self.generic_visit(node)

    def visit_UnaryOp(self, node):
        self.generic_visit(node)
        inner = node.operand
        if not isinstance(node.op, ast.Not):
            return node
        if isinstance(inner, ast.Compare) and len(inner.ops) == 1:
            return ast.Compare(inner.left, [_OPPOSITES[type(inner.ops[0])]()], inner.comparators)
        if isinstance(inner, ast.UnaryOp) and isinstance(inner.op, ast.Not):
            return inner.operand
        return node


_OPPOSITES = {
    ast.Eq: ast.NotEq,
    ast.Lt: ast.GtE,
    ast.LtE: ast.Gt,
    ast.Is: ast.IsNot,
    ast.In: ast.NotIn,
}
_OPPOSITES |= {opposite: one for one, opposite in _OPPOSITES.items()}


def _meaning(source: str) -> str | None:
    try:
        return ast.dump(_Simplified().visit(ast.parse(source)))
    except SyntaxError:  # it is not a program
        return None
