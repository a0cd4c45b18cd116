"""What the claims of the studies measure without training: one file a study, named as the study is."""
