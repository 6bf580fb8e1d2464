"""
The official SDKs' own test modules for batches and files, run against the fake. `.ci/sdk-suites` fetches and runs
them; what is written down here is what they need to find there (`tables.py`).
"""
