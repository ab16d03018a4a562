"""Dynamic task mapping: one task instance for each item of a list that is known only when the Dag runs."""

from collections import Counter

import pendulum
from airflow.sdk import dag, get_current_context, task

TEXTS = {
    "sea": "the sea is calm tonight the tide is full",
    "rose": "a rose is a rose is a rose",
    "rain": "the rain it raineth every day",
    "wind": "blow blow thou winter wind",
}


@dag(
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    tags=["example", "mapping"],
    doc_md="""
    ### Word count
    `list_texts` finds the texts, `words` runs once for each of them, at the same time, and `most_common` counts the
    words of all. `map_index_template` gives every mapped task instance a name to show instead of its number.
    """,
)
def word_count():
    @task
    def list_texts() -> list[str]:
        return sorted(TEXTS)

    @task(map_index_template="{{ title }}", max_active_tis_per_dagrun=3)
    def words(name: str, minimum_length: int) -> list[str]:
        get_current_context()["title"] = name
        return [word for word in TEXTS[name].split() if len(word) >= minimum_length]

    @task
    def most_common(texts: list[list[str]]) -> str:
        counts = Counter(word for words in texts for word in words)
        return ", ".join(f"{word} ({count})" for word, count in counts.most_common(3))

    most_common(words.partial(minimum_length=3).expand(name=list_texts()))


word_count()
