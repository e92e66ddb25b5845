"""Tidemill and its peers on one topic and one broker, in turn. Called by `make bench`; the README beside says how."""
