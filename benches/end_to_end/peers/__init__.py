"""One file a peer: another program that does a job, installed into the cache when asked for. `rows(bench, job)` gives
its rows beside those of a job, none where it has nothing to do there."""
