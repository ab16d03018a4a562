-- Ends a callback ($1) for whom took it at attempt $2: its state ($3), and what it says ($4).
WITH ended AS (
    DELETE FROM tradewind.deadline_callback WHERE callback_id = $1 AND attempts = $2
    RETURNING callback_id
)
UPDATE callback SET state = $3, output = $4 FROM ended WHERE callback.id = ended.callback_id
