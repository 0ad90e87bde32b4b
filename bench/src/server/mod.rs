//! The measured server: started or attached to, watched, stopped.
