"""What stands for a Dag bundle in S3 where user code runs: a snapshot that Tradewind has put in place before.

Its place is Airflow's own for versions of bundles, so that nothing but the version has to be told.
"""

from airflow.dag_processing.bundles.base import BaseDagBundle, BundleVersion, get_bundle_version_path


class SnapshotBundle(BaseDagBundle):
    supports_versioning = True

    @property
    def path(self):
        if self.version is None:
            raise ValueError(f"Name a version of bundle {self.name!r}: each of its snapshots is a folder of its own")
        return get_bundle_version_path(bundle_name=self.name, version=self.version)

    def get_current_version(self):
        return self.version and BundleVersion(version=self.version)

    def refresh(self):
        """Do nothing: a snapshot never changes."""
