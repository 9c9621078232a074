"""Repair with feedback beside a control without it: the records, the loop, the folder, the report."""
