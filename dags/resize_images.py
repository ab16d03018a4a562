"""Params: a form in the trigger dialogue, whose values are checked before the run starts."""

import pendulum
from airflow.sdk import Param, dag, task


@dag(
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    render_template_as_native_obj=True,
    params={
        "widths": Param(
            [320, 1280],
            type="array",
            items={"type": "integer", "minimum": 16, "maximum": 8192},
            minItems=1,
            title="Widths",
            description="In pixels, one a line. Each becomes a task.",
        ),
        "format": Param("webp", type="string", enum=["webp", "avif", "jpeg"], title="Format"),
        "quality": Param(80, type="integer", minimum=1, maximum=100, title="Quality"),
        "dry_run": Param(True, type="boolean", title="Only say what would be done"),
    },
    tags=["example", "params"],
    doc_md="""
    ### Resize images
    Trigger it and the dialogue shows a form made from the Dag's params. A value that breaks a rule of its param, such
    as a quality of 200, is refused. `write` is skipped while *Only say what would be done* is ticked.
    """,
)
def resize_images():
    @task
    def plan(params: dict | None = None) -> list[dict]:
        return [
            {"width": width, "file": f"photo-{width}.{params['format']}", "quality": params["quality"]}
            for width in params["widths"]
        ]

    @task
    def resize(width: int, file: str, quality: int) -> str:
        print(f"{file}: {width} pixels wide, quality {quality}")
        return file

    @task.short_circuit
    def is_real(dry_run: bool) -> bool:
        return not dry_run

    @task
    def write(files: list[str]) -> None:
        print(f"Wrote {', '.join(files)}")

    files = resize.expand_kwargs(plan())
    is_real("{{ params.dry_run }}") >> write(files)


resize_images()
