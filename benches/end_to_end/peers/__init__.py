"""One file a peer: another program that does a job, installed into the cache when asked for.

`install()` makes it ready, and `JOBS` has by job what measures it: a function of the bench that gives its row."""
