//! `storm`: clients that connect as fast as they are let, drop all at once and come back.
