"""Theory: what the Hessian of a model predicts about its training, to be set beside what training did."""
