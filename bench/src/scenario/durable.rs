//! `durable`: appends a second and ack latency, in one hot conversation and in many cold ones.
