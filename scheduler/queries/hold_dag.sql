-- Holds a Dag, unless another scheduler does.
SELECT dag_id FROM dag WHERE dag_id = $1 FOR NO KEY UPDATE SKIP LOCKED
