"""Weekly retraining: a champion that is whole at every moment, challengers, and the history of both."""
