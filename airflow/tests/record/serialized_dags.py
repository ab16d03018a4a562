"""Writes serialized Dags as official Airflow serializes them, and the hash it gives each."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import airflow
from airflow.dag_processing.dagbag import DagBag
from airflow.models.serialized_dag import SerializedDagModel
from airflow.serialization.serialized_objects import DagSerialization

INSTALLED = Path(airflow.__file__).parent
EXAMPLES = [INSTALLED / "example_dags", INSTALLED / "providers/standard/example_dags"]
KEPT = {
    "every_setting",
    "mapping_shapes",
    "setups",
    "example_dynamic_task_mapping",
    "example_setup_teardown_taskflow",
    "example_short_circuit_operator",
    "example_task_group",
}


def documents(folder: Path):
    for dag_id, dag in DagBag(str(folder)).dags.items():
        try:
            document = DagSerialization.to_dict(dag)
        except Exception as error:  # an example whose plugin is not installed
            print(f"{dag_id}: {error}")
            continue
        # Where the recorder ran is nobody's business.
        document["dag"].update(
            fileloc=f"/dags/{dag_id}.py", relative_fileloc=f"{dag_id}.py", _processor_dags_folder="/dags"
        )
        yield dag_id, document


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--examples", action="store_true", help="every example Dag of the installed packages")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    hashes = {}
    for source in [Path(__file__).with_name("dags.py"), *EXAMPLES]:
        for dag_id, document in documents(source):
            if not arguments.examples and dag_id not in KEPT:
                continue
            text = json.dumps(document, indent=1, ensure_ascii=False)
            (arguments.folder / f"{dag_id}.json").write_text(text + "\n")
            hashes[dag_id] = SerializedDagModel.hash(json.loads(text))
    (arguments.folder / "hashes.json").write_text(json.dumps(hashes, indent=1, sort_keys=True) + "\n")
    print(f"{len(hashes)} Dags")


if __name__ == "__main__":
    main()
