//! Logs, metrics, probes: what an operator sees of a running writer.
