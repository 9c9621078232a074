"""Templates of the files of an Ianvs job; `evaluator.ianvs_job` writes them out. Not imported here."""
