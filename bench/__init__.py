"""The numbers of docs/benchmarks.md: each program measures gotap beside a baseline, and peers, in one run.

`python -m bench [NAME…]` as root; `make bench` runs all. Nothing here is a test: a number out of bounds is only marked.
"""
