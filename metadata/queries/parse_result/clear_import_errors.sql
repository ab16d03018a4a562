-- $1 bundle, $2 the file or archive, $3 what in it has an error now.
DELETE FROM import_error
WHERE bundle_name = $1
    AND (filename = $2 OR starts_with(filename, $2 || '/'))
    AND filename <> ALL($3)
