"""The commands of the command line, one verb a module. Options here; what they do is in the verbs and the pipeline."""
