"""One file a job. A job has a `TITLE`, the `MARKS` that it should reach, and `rows(bench)`, which measures."""
