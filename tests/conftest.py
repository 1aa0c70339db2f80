"""What all tests share: hypothesis draws the same examples in every run and keeps no record of them."""

import hypothesis

hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
hypothesis.settings.load_profile("repeatable")
