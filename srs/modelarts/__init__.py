"""Runs on Huawei Cloud ModelArts: the job's request, its submission, and what the job runs on each node."""
