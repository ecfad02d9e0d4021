//! Kinds of streams besides a question and its answer: sockets, gRPC in both directions, bodies that do not end, answers
//! that come early. What the filter and the router make of each, in a real Envoy, seen attempt by attempt.

#[path = "kinds/bodies.rs"]
mod bodies;
#[path = "kinds/breaking.rs"]
mod breaking;
#[path = "kinds/grpc.rs"]
mod grpc;
#[path = "kinds/odd.rs"]
mod odd;
#[path = "kinds/scene.rs"]
mod scene;
#[path = "kinds/socket.rs"]
mod socket;
