//! The HTTP edge of pendings: a host with two replicas, asked as a service and over TCP.

mod counts;
mod edges;
mod failures;
mod host;
mod hostile;
mod journeys;
mod transports;
