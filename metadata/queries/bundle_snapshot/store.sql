INSERT INTO tradewind.bundle_snapshot (bundle_name, version, bucket, prefix, manifest)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (bundle_name, version) DO UPDATE SET current_since = now()
