"""NCI's Imaging Data Commons: its public S3 buckets."""
