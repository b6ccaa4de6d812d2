"""The collect step: the results of several tasks in one folder, because KFP hands no list of artifacts to a task."""
