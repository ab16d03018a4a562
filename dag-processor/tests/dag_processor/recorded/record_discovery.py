"""Records which files official Airflow finds in trees with ignore files, into discovery.json beside this script.

Run it with the interpreter of an environment that has apache-airflow 3.3.2:  python record_discovery.py
"""

import json
import os
import tempfile
import warnings
from pathlib import Path

warnings.simplefilter("ignore")

from airflow._shared.module_loading.file_discovery import find_path_from_directory  # noqa: E402

TREE = [
    "dag_1.py",
    "dag_2.py",
    "not_a_dag.txt",
    "[x].py",
    "a b.py",
    "sub/dag_3.py",
    "sub/test_dag.py",
    "sub/deeper/dag_4.py",
    "sub/deeper/deepest/dag_5.py",
    "sub/deeper/test/dag_6.py",
    "test/dag_7.py",
    "test/keep/dag_8.py",
    "tests/dag_9.py",
    "other/dag_1.py",
    "other/.hidden/dag_10.py",
    "other/helper.py",
]

# Name, syntax, and ignore files by folder.
CASES = [
    ("nothing", "glob", {}),
    ("a name at any depth", "glob", {"": "dag_1.py\n"}),
    ("a folder at any depth", "glob", {"": "test/\n"}),
    ("anchored", "glob", {"": "/dag_1.py\n/test\n"}),
    ("a slash inside anchors", "glob", {"": "sub/deeper\n"}),
    ("wildcards", "glob", {"": "*_dag.py\ndag_?.py\n!dag_2.py\n"}),
    ("double wildcards", "glob", {"": "**/deepest/**\nsub/**/dag_6.py\n"}),
    ("everything but", "glob", {"": "*\n!dag_2.py\n"}),
    ("take back a folder", "glob", {"": "sub\n!sub\n"}),
    ("comments and blanks", "glob", {"": "# all of it\n\n   \ndag_1.py   # because\ntest # not a folder\n"}),
    ("brackets", "glob", {"": "dag_[1-3].py\n[!d]*.txt\n\\[x\\].py\n"}),
    ("an open bracket is dropped", "glob", {"": "dag_[1.py\ndag_2.py\n"}),
    ("a lone slash says nothing", "glob", {"": "/\n"}),
    ("files below take over", "glob", {"": "dag_*.py\n", "sub": "!dag_3.py\ntest_dag.py\n", "sub/deeper": "!dag_4.py\n"}),
    ("anchored below", "glob", {"sub": "/deeper/dag_4.py\n", "other": "/*.py\n!/helper.py\n"}),
    ("negated folder only", "glob", {"": "t*\n!tests/\n"}),
    ("all of it", "glob", {"": "**\n"}),
    ("all folders", "glob", {"": "*/\n"}),
    ("double wildcard at the start", "glob", {"": "**/dag_1.py\n"}),
    ("a space at the end", "glob", {"": "dag_1.py \na\\ b.py\n"}),
    ("windows line ends", "glob", {"": "dag_1.py\r\ndag_2.py\r\n"}),
    ("regexp", "regexp", {"": "test\nsub/deeper/.*_5\n"}),
    ("regexp is a search", "regexp", {"": "dag_\\d\n"}),
    ("regexp anchored", "regexp", {"": "^dag_1\\.py$\n"}),
    ("regexp with a look-ahead", "regexp", {"": "^(?!sub/).*dag\n"}),
    ("regexp that is none", "regexp", {"": "dag_(\ntests\n"}),
    ("regexp below is relative to the bundle", "regexp", {"sub": "^deeper\n^sub/deeper/deepest\n"}),
    ("regexp comments", "regexp", {"": "dag_1 # one\n#dag_2\n"}),
]


def record(syntax: str, ignore_files: dict[str, str]) -> list[str]:
    with tempfile.TemporaryDirectory() as root:
        for path in TREE:
            file = Path(root, path)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
        for folder, content in ignore_files.items():
            Path(root, folder, ".airflowignore").write_bytes(content.encode())
        found = find_path_from_directory(root, ".airflowignore", syntax)
        return sorted(os.path.relpath(path, root) for path in found)


if __name__ == "__main__":
    cases = [
        {"name": name, "syntax": syntax, "ignore_files": files, "found": record(syntax, files)}
        for name, syntax, files in CASES
    ]
    target = Path(__file__).with_name("discovery.json")
    target.write_text(json.dumps({"airflow": "3.3.2", "tree": TREE, "cases": cases}, indent=1) + "\n")
