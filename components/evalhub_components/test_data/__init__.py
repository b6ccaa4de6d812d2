"""The test-data step: fetches what a benchmark's `test_data_ref` names, and records what arrived."""
