"""What shows a study, one file each, registered in `innersight.study.hosts`."""
