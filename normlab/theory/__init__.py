"""Theory: what the Hessian of a model predicts about its training, to compare with the training itself."""
