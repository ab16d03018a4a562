-- A local folder has no address to show and no parameters for one.
INSERT INTO dag_bundle (name, active, template_params)
SELECT name, true, '{}'
FROM unnest($1::text[]) AS name
ORDER BY name
ON CONFLICT (name) DO UPDATE SET active = true, signed_url_template = NULL, template_params = '{}'
WHERE dag_bundle.active IS NOT TRUE
    OR dag_bundle.signed_url_template IS NOT NULL
    OR dag_bundle.template_params::text IS DISTINCT FROM '{}'
