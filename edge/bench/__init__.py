"""The benchmarks that an installed gateway runs on the box it is on: `outstation bench`."""
