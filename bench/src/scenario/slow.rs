//! `slow`: a share of slow readers among fast ones.
