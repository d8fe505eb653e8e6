//! Black-box tests: every file is a topic, every test a behaviour seen through SQL.
