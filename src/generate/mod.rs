//! Realistic results for `publish --generate`, `demo`, the benchmarks and the torture checker.
