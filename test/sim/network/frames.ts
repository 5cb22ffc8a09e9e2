/** What travels between two programs: encoded bytes in frames, as gRPC has them on a connection. */
import type { Metadata, Status } from "nice-grpc-common";

export type ClientFrame = { kind: "open"; path: string; metadata: Metadata } | { kind: "message"; bytes: Uint8Array } | { kind: "half-close" } | { kind: "cancel" };
export type ServerFrame = { kind: "message"; bytes: Uint8Array } | { kind: "end"; code: Status; details: string; trailer: Metadata };

/** One side's ear for what the other one sends. */
export type Ear<F> = (frame: F) => void;
