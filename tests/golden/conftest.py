"""Records of old, some with sources in them: data, not tests."""

collect_ignore_glob = ["*"]
