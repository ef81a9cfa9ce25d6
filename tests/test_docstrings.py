"""Public functions say what they take, give and raise, in numpydoc's form; files and functions stay small."""

import ast
import importlib
import inspect
from pathlib import Path

import pytest
from numpydoc.validate import validate

REPOSITORY = Path(__file__).resolve().parents[1]
MODULES = sorted(path for folder in ("general_code", "classifier_SVM", "classifier_VGG")
                 for path in (REPOSITORY / folder).glob("*.py"))
# no docstring or summary; parameters missing, unknown, in another order, without type or description; no returns
CHECKS = {"GL08", "SS01", "PR01", "PR02", "PR03", "PR04", "PR07", "RT01", "RT03", "YD01"}
CLASS_CHECKS = {"GL08", "SS01"}  # a record's fields are its Attributes; libraries document what they call
LONGEST_FILE, LONGEST_FUNCTION = 350, 40


def public_names(path):
    """Return dotted names of what a module defines for others, each with the checks that it has to pass."""
    module = f"{path.parent.name}.{path.stem}"
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            if node.name in ("main", "UserDefinitions"):  # described by the script's header and the settings' comments
                continue
            a_class = isinstance(node, ast.ClassDef)
            yield f"{module}.{node.name}", CLASS_CHECKS if a_class else CHECKS
            derived = a_class and bool(node.bases) and ast.unparse(node.bases[0]) not in ("NamedTuple", "Protocol")
            if a_class:
                yield from ((f"{module}.{node.name}.{method.name}", CLASS_CHECKS if derived else CHECKS)
                            for method in node.body
                            if isinstance(method, ast.FunctionDef) and not method.name.startswith("_"))


@pytest.mark.filterwarnings("ignore")  # what libraries warn of at import is not this test's matter
@pytest.mark.parametrize("path", MODULES, ids=lambda path: f"{path.parent.name}.{path.stem}")
def test_docstrings(path):
    assert ast.get_docstring(ast.parse(path.read_text())), "the module has no docstring"
    importlib.import_module(f"{path.parent.name}.{path.stem}")
    faults = [f"{name}: {code} {text}" for name, checks in public_names(path)
              for code, text in validate(name)["errors"] if code in checks]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: f"{path.parent.name}.{path.stem}")
def test_rooms_are_not_too_big(path):
    text = path.read_text()
    assert text.count("\n") <= LONGEST_FILE
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            length = body[-1].end_lineno - body[0].lineno + 1 if body else 0
            assert length <= LONGEST_FUNCTION, f"{node.name} has {length} lines"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: f"{path.parent.name}.{path.stem}")
def test_no_function_works_at_import_or_asserts_on_data(path):
    tree = ast.parse(path.read_text())
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Assert)]
    assert not [node for node in tree.body if isinstance(node, ast.For | ast.While | ast.With)]
    assert inspect.cleandoc(ast.get_docstring(tree))
