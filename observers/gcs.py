"""Runs in a bucket of Google Cloud Storage: Sacred's `GoogleCloudStorageObserver`, as a folder elsewhere."""

from __future__ import annotations

from capture.observers.s3 import BucketObserver


class GoogleCloudStorageObserver(BucketObserver):
    """Writes runs into a bucket of Google Cloud Storage, in the layout of the file store.

    Parameters
    ----------
    bucket : str
        It has to exist.
    basedir : str
        Path in the bucket.
    resource_dir, source_dir : str, optional
        Paths in the bucket where files that runs share are kept; ``_resources`` and ``_sources`` below `basedir`.
    priority : float
    storage_options : mapping, optional
        More for `gcsfs.GCSFileSystem`: ``project``, ``token``, ``endpoint_url``.
    metrics_json_limit : int, optional
        As in `capture.observers.remote.RemoteFolderObserver`.

    Raises
    ------
    BucketNameError
        If no bucket can have that name (also a ValueError).
    ObserverError
        If gcsfs is missing: ``pip install 'experiment-capture[gcs]'``.
    """

    VERSION = "GoogleCloudStorageObserver-0.1.0"  #: Sacred's name of the layout
    scheme = "gs"
